//! The MSRs that make up a vCPU's state under KVM.
//!
//! KVM lists the MSRs it keeps; those that describe the host rather than the guest are left out, and
//! so are back ends' private ones, which are not ours to write.

use kvm_bindings::{Msrs, kvm_msr_entry};
use kvm_ioctls::{Kvm, VcpuFd};

use super::vm::host;
use crate::engine::EngineError;

const IA32_APIC_BASE: u32 = 0x1B;
const IA32_SMBASE: u32 = 0x9E;
const SMI_COUNT: u32 = 0x34;
const MTRR_VARIABLE: std::ops::RangeInclusive<u32> = 0x200..=0x20F;
const MTRR_FIXED: [u32; 11] = [0x250, 0x258, 0x259, 0x268, 0x269, 0x26A, 0x26B, 0x26C, 0x26D, 0x26E, 0x26F];
const MTRR_DEF_TYPE: u32 = 0x2FF;
/// KVM's own, by number: the range belongs to it, but only the first few are public
/// (Documentation/virt/kvm/x86/msr.rst).
const KVM_PRIVATE: std::ops::RangeInclusive<u32> = 0x4B56_4D09..=0x4B56_4DFF;
/// In `CpuStateV1` under its own name.
const EFER: u32 = 0xC000_0080;

/// Those of KVM's MSRs that this vCPU has, and that are the guest's to change.
pub fn of_guest(kvm: &Kvm, vcpu: &VcpuFd) -> Result<Vec<u32>, EngineError> {
    let features = kvm.get_msr_feature_index_list().map_err(host("ask KVM for its feature MSRs"))?;
    let listed = kvm.get_msr_index_list().map_err(host("ask KVM for its MSRs"))?;
    let mut wanted: Vec<u32> = listed.as_slice().to_vec();
    wanted.push(IA32_APIC_BASE);
    wanted.extend(MTRR_VARIABLE);
    wanted.extend(MTRR_FIXED);
    wanted.push(MTRR_DEF_TYPE);
    wanted.sort_unstable();
    wanted.dedup();
    wanted.retain(|msr| {
        !features.as_slice().contains(msr)
            && !KVM_PRIVATE.contains(msr)
            && ![IA32_SMBASE, SMI_COUNT, EFER].contains(msr)
    });
    // KVM stops at the first MSR that it refuses. It lists some that it gives but will not take back,
    // not even unchanged, when a feature behind them is off: those are no state.
    let readable = accepted(&wanted, |part| {
        vcpu.get_msrs(&mut buffer(part.iter().map(|&msr| (msr, 0)))?).map_err(host("read MSRs"))
    })?;
    let values = get(vcpu, &readable)?;
    let restorable = accepted(&values, |part| {
        vcpu.set_msrs(&buffer(part.iter().copied())?).map_err(host("write MSRs back"))
    })?;
    Ok(restorable.into_iter().map(|(msr, _)| msr).collect())
}

/// Those of `list` that `attempt`, which tells how many from the start went well, does not stop at.
fn accepted<T: Copy>(
    list: &[T],
    mut attempt: impl FnMut(&[T]) -> Result<usize, EngineError>,
) -> Result<Vec<T>, EngineError> {
    let (mut rest, mut accepted) = (list, Vec::new());
    while !rest.is_empty() {
        let done = attempt(rest)?.min(rest.len());
        accepted.extend_from_slice(&rest[..done]);
        rest = rest.get(done + 1..).unwrap_or_default();
    }
    Ok(accepted)
}

pub fn get(vcpu: &VcpuFd, list: &[u32]) -> Result<Vec<(u32, u64)>, EngineError> {
    let mut buffer = buffer(list.iter().map(|&msr| (msr, 0)))?;
    let done = vcpu.get_msrs(&mut buffer).map_err(host("read MSRs"))?;
    if let Some(msr) = list.get(done) {
        return Err(EngineError::Refused(format!("KVM no longer lets MSR {msr:#x} be read")));
    }
    Ok(buffer.as_slice().iter().map(|entry| (entry.index, entry.data)).collect())
}

pub fn set(vcpu: &VcpuFd, values: &[(u32, u64)]) -> Result<(), EngineError> {
    let buffer = buffer(values.iter().copied())?;
    let done = vcpu.set_msrs(&buffer).map_err(host("write MSRs"))?;
    match values.get(done) {
        None => Ok(()),
        Some((msr, value)) => Err(EngineError::Refused(format!("KVM refuses {value:#x} for MSR {msr:#x}"))),
    }
}

fn buffer(values: impl Iterator<Item = (u32, u64)>) -> Result<Msrs, EngineError> {
    let entry = |(index, data)| kvm_msr_entry { index, data, ..Default::default() };
    let entries: Vec<_> = values.map(entry).collect();
    Msrs::from_entries(&entries)
        .map_err(|_| EngineError::Refused(format!("{} MSRs are too many", entries.len())))
}
