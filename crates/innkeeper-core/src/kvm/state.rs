//! KVM's register structures and [`CpuStateV1`], each as the other.
//!
//! Not carried yet: pending events, interrupt shadows, the local APIC beyond its base.

use kvm_bindings::{
    KVM_MP_STATE_HALTED, KVM_MP_STATE_INIT_RECEIVED, KVM_MP_STATE_RUNNABLE, KVM_MP_STATE_UNINITIALIZED,
    kvm_debugregs, kvm_dtable, kvm_mp_state, kvm_regs, kvm_segment, kvm_sregs, kvm_xcr, kvm_xcrs, kvm_xsave,
};
use kvm_ioctls::VcpuFd;

use super::msrs;
use super::vm::host;
use crate::engine::EngineError;
use crate::state::{Activity, CpuStateV1, SegmentState, TableState};

const XSAVE_BYTES: usize = 4096;

/// Reads a vCPU's state. `list`: the MSRs that belong to it.
pub fn get(fd: &VcpuFd, list: &[u32]) -> Result<CpuStateV1, EngineError> {
    let regs = fd.get_regs().map_err(host("read registers"))?;
    let sregs = fd.get_sregs().map_err(host("read system registers"))?;
    let debug = fd.get_debug_regs().map_err(host("read debug registers"))?;
    let xsave = fd.get_xsave().map_err(host("read the FPU"))?;
    let xcrs = fd.get_xcrs().map_err(host("read XCR0"))?;
    let xcr0 = xcrs.xcrs.iter().take(xcrs.nr_xcrs as usize).find(|xcr| xcr.xcr == 0);
    let segments = [sregs.es, sregs.cs, sregs.ss, sregs.ds, sregs.fs, sregs.gs];
    Ok(CpuStateV1 {
        gpr: general(&regs),
        rip: regs.rip,
        rflags: regs.rflags,
        segments: segments.map(|segment| segment_state(&segment)),
        ldtr: segment_state(&sregs.ldt),
        tr: segment_state(&sregs.tr),
        gdtr: TableState { base: sregs.gdt.base, limit: sregs.gdt.limit },
        idtr: TableState { base: sregs.idt.base, limit: sregs.idt.limit },
        cr0: sregs.cr0,
        cr2: sregs.cr2,
        cr3: sregs.cr3,
        cr4: sregs.cr4,
        cr8: sregs.cr8,
        xcr0: xcr0.map_or(1, |xcr| xcr.value),
        efer: sregs.efer,
        dr: [debug.db[0], debug.db[1], debug.db[2], debug.db[3], 0, 0, debug.dr6, debug.dr7],
        msrs: msrs::get(fd, list)?,
        xsave: xsave.region.iter().flat_map(|word| word.to_le_bytes()).collect(),
        activity: activity(fd)?,
    })
}

/// Replaces a vCPU's state. Everything that KVM refuses is an error that names it.
pub fn set(fd: &VcpuFd, state: &CpuStateV1) -> Result<(), EngineError> {
    let kept = fd.get_sregs().map_err(host("read system registers"))?;
    fd.set_sregs(&system(state, &kept)).map_err(host("write system registers"))?;
    let mut xcrs = kvm_xcrs { nr_xcrs: 1, ..Default::default() };
    xcrs.xcrs[0] = kvm_xcr { xcr: 0, value: state.xcr0, ..Default::default() };
    fd.set_xcrs(&xcrs).map_err(host(format!("write {:#x} to XCR0", state.xcr0)))?;
    // SAFETY: the structure is of the full size that KVM reads for a guest without dynamic features.
    unsafe { fd.set_xsave(&xsave_image(&state.xsave)?) }.map_err(host("write the FPU"))?;
    msrs::set(fd, &state.msrs)?;
    fd.set_regs(&registers(state)).map_err(host("write registers"))?;
    let [d0, d1, d2, d3, _, _, dr6, dr7] = state.dr;
    let debug = kvm_debugregs { db: [d0, d1, d2, d3], dr6, dr7, ..Default::default() };
    fd.set_debug_regs(&debug).map_err(host("write debug registers"))?;
    let mp_state = match state.activity {
        Activity::Runnable => KVM_MP_STATE_RUNNABLE,
        Activity::Halted => KVM_MP_STATE_HALTED,
        Activity::WaitForSipi => KVM_MP_STATE_UNINITIALIZED,
    };
    fd.set_mp_state(kvm_mp_state { mp_state }).map_err(host(format!("make the vCPU {:?}", state.activity)))
}

pub fn activity(fd: &VcpuFd) -> Result<Activity, EngineError> {
    Ok(match fd.get_mp_state().map_err(host("read the vCPU's activity"))?.mp_state {
        KVM_MP_STATE_UNINITIALIZED | KVM_MP_STATE_INIT_RECEIVED => Activity::WaitForSipi,
        KVM_MP_STATE_HALTED => Activity::Halted,
        _ => Activity::Runnable,
    })
}

fn general(r: &kvm_regs) -> [u64; 16] {
    [
        r.rax, r.rcx, r.rdx, r.rbx, r.rsp, r.rbp, r.rsi, r.rdi, r.r8, r.r9, r.r10, r.r11, r.r12, r.r13,
        r.r14, r.r15,
    ]
}

fn registers(state: &CpuStateV1) -> kvm_regs {
    let [rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15] = state.gpr;
    let (rip, rflags) = (state.rip, state.rflags);
    kvm_regs { rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15, rip, rflags }
}

/// The APIC base is an MSR of the state; KVM_SET_SREGS must not change it before that.
fn system(state: &CpuStateV1, kept: &kvm_sregs) -> kvm_sregs {
    let [es, cs, ss, ds, fs, gs] = state.segments.map(|segment| kvm_segment_of(&segment));
    let table = |table: TableState| kvm_dtable { base: table.base, limit: table.limit, ..Default::default() };
    kvm_sregs {
        cs,
        ds,
        es,
        fs,
        gs,
        ss,
        tr: kvm_segment_of(&state.tr),
        ldt: kvm_segment_of(&state.ldtr),
        gdt: table(state.gdtr),
        idt: table(state.idtr),
        cr0: state.cr0,
        cr2: state.cr2,
        cr3: state.cr3,
        cr4: state.cr4,
        cr8: state.cr8,
        efer: state.efer,
        apic_base: kept.apic_base,
        interrupt_bitmap: [0; 4],
    }
}

fn segment_state(segment: &kvm_segment) -> SegmentState {
    let bit = |value: u8, place: u32| u32::from(value & 1) << place;
    let attributes = u32::from(segment.type_ & 0xF)
        | bit(segment.s, 4)
        | u32::from(segment.dpl & 3) << 5
        | bit(segment.present, 7)
        | bit(segment.avl, 12)
        | bit(segment.l, 13)
        | bit(segment.db, 14)
        | bit(segment.g, 15)
        | bit(segment.unusable, 16);
    SegmentState { selector: segment.selector, attributes, limit: segment.limit, base: segment.base }
}

fn kvm_segment_of(segment: &SegmentState) -> kvm_segment {
    let field = |place: u32, mask: u32| (segment.attributes >> place & mask) as u8;
    kvm_segment {
        base: segment.base,
        limit: segment.limit,
        selector: segment.selector,
        type_: field(0, 0xF),
        s: field(4, 1),
        dpl: field(5, 3),
        present: field(7, 1),
        avl: field(12, 1),
        l: field(13, 1),
        db: field(14, 1),
        g: field(15, 1),
        unusable: field(16, 1),
        padding: 0,
    }
}

fn xsave_image(bytes: &[u8]) -> Result<kvm_xsave, EngineError> {
    if bytes.len() > XSAVE_BYTES {
        let length = bytes.len();
        return Err(EngineError::Refused(format!(
            "the XSAVE image has {length} bytes; KVM takes at most {XSAVE_BYTES}"
        )));
    }
    let mut padded = [0; XSAVE_BYTES];
    padded[..bytes.len()].copy_from_slice(bytes);
    let mut image = kvm_xsave::default();
    for (word, bytes) in image.region.iter_mut().zip(padded.chunks_exact(4)) {
        *word = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    }
    Ok(image)
}
