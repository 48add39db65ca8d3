//! `CpuStateV1` as the dictionaries of `_core.pyi`.

use innkeeper_core::state::{Activity, CpuStateV1, SegmentState, TableState};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

#[derive(FromPyObject, IntoPyObject)]
#[pyo3(from_item_all)]
struct Segment {
    selector: u16,
    attributes: u32,
    limit: u32,
    base: u64,
}

#[derive(FromPyObject, IntoPyObject)]
#[pyo3(from_item_all)]
struct Table {
    base: u64,
    limit: u16,
}

#[derive(FromPyObject, IntoPyObject)]
#[pyo3(from_item_all)]
pub struct CpuState {
    gpr: [u64; 16],
    rip: u64,
    rflags: u64,
    segments: [Segment; 6],
    ldtr: Segment,
    tr: Segment,
    gdtr: Table,
    idtr: Table,
    cr0: u64,
    cr2: u64,
    cr3: u64,
    cr4: u64,
    cr8: u64,
    xcr0: u64,
    efer: u64,
    dr: [u64; 8],
    msrs: Vec<(u32, u64)>,
    xsave: Vec<u8>,
    activity: String,
}

impl From<SegmentState> for Segment {
    fn from(of: SegmentState) -> Self {
        Self { selector: of.selector, attributes: of.attributes, limit: of.limit, base: of.base }
    }
}

impl From<Segment> for SegmentState {
    fn from(of: Segment) -> Self {
        Self { selector: of.selector, attributes: of.attributes, limit: of.limit, base: of.base }
    }
}

impl From<TableState> for Table {
    fn from(of: TableState) -> Self {
        Self { base: of.base, limit: of.limit }
    }
}

impl From<Table> for TableState {
    fn from(of: Table) -> Self {
        Self { base: of.base, limit: of.limit }
    }
}

impl From<CpuStateV1> for CpuState {
    fn from(of: CpuStateV1) -> Self {
        let activity = match of.activity {
            Activity::Runnable => "runnable",
            Activity::Halted => "halted",
            Activity::WaitForSipi => "wait-for-sipi",
        };
        Self {
            gpr: of.gpr,
            rip: of.rip,
            rflags: of.rflags,
            segments: of.segments.map(Segment::from),
            ldtr: of.ldtr.into(),
            tr: of.tr.into(),
            gdtr: of.gdtr.into(),
            idtr: of.idtr.into(),
            cr0: of.cr0,
            cr2: of.cr2,
            cr3: of.cr3,
            cr4: of.cr4,
            cr8: of.cr8,
            xcr0: of.xcr0,
            efer: of.efer,
            dr: of.dr,
            msrs: of.msrs,
            xsave: of.xsave,
            activity: activity.into(),
        }
    }
}

impl TryFrom<CpuState> for CpuStateV1 {
    type Error = PyErr;

    fn try_from(of: CpuState) -> PyResult<Self> {
        let activity = match of.activity.as_str() {
            "runnable" => Activity::Runnable,
            "halted" => Activity::Halted,
            "wait-for-sipi" => Activity::WaitForSipi,
            other => {
                let known = "\"runnable\", \"halted\" or \"wait-for-sipi\"";
                return Err(PyValueError::new_err(format!("activity is {other:?}; it must be {known}")));
            }
        };
        Ok(Self {
            gpr: of.gpr,
            rip: of.rip,
            rflags: of.rflags,
            segments: of.segments.map(SegmentState::from),
            ldtr: of.ldtr.into(),
            tr: of.tr.into(),
            gdtr: of.gdtr.into(),
            idtr: of.idtr.into(),
            cr0: of.cr0,
            cr2: of.cr2,
            cr3: of.cr3,
            cr4: of.cr4,
            cr8: of.cr8,
            xcr0: of.xcr0,
            efer: of.efer,
            dr: of.dr,
            msrs: of.msrs,
            xsave: of.xsave,
            activity,
        })
    }
}
