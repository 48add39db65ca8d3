//! KVM's failures in words (api.rst, "KVM_EXIT_INTERNAL_ERROR" and its neighbours).

use kvm_bindings::{
    KVM_INTERNAL_ERROR_DELIVERY_EV, KVM_INTERNAL_ERROR_EMULATION,
    KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES, KVM_INTERNAL_ERROR_SIMUL_EX,
    KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON,
};
use kvm_ioctls::VcpuFd;

use crate::memory::{GuestMemory, PAGE_SIZE};

/// The longest instruction (Intel SDM vol. 2, 2.3.11).
const LONGEST: u64 = 15;

/// What KVM_EXIT_INTERNAL_ERROR says, with the instruction that it happened at.
pub fn internal_error(fd: &mut VcpuFd, memory: &GuestMemory) -> String {
    let (rip, mut bytes) = code_at_rip(fd, memory);
    // SAFETY: the exit reason says that this is the valid member of the union; plain integers.
    let internal = unsafe { fd.get_kvm_run().__bindgen_anon_1.internal };
    if internal.suberror == KVM_INTERNAL_ERROR_EMULATION {
        // SAFETY: as above, for this suberror.
        let failure = unsafe { fd.get_kvm_run().__bindgen_anon_1.emulation_failure };
        let has_bytes = u64::from(KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES);
        if failure.ndata >= 3 && failure.flags & has_bytes != 0 {
            // SAFETY: all members of the inner union are plain bytes.
            let given = unsafe { failure.__bindgen_anon_1.__bindgen_anon_1 };
            bytes = given.insn_bytes.into_iter().take(usize::from(given.insn_size)).collect();
        }
        return format!("KVM cannot emulate the instruction at {rip:#x}: {} (suberror 1)", hex(&bytes));
    }
    let what = match internal.suberror {
        KVM_INTERNAL_ERROR_SIMUL_EX => "two exceptions at once",
        KVM_INTERNAL_ERROR_DELIVERY_EV => "an exit while it delivered an event",
        KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON => "an exit of the processor that it does not know",
        _ => "an error that it does not explain",
    };
    let data = internal.data.iter().take(internal.ndata as usize).map(|word| format!(" {word:#x}"));
    let (number, data) = (internal.suberror, data.collect::<String>());
    format!("KVM met {what} at {rip:#x}: {} (suberror {number}, data{data})", hex(&bytes))
}

/// RIP, and the bytes there as far as they are RAM on one page.
fn code_at_rip(fd: &VcpuFd, memory: &GuestMemory) -> (u64, Vec<u8>) {
    let (Ok(regs), Ok(sregs)) = (fd.get_regs(), fd.get_sregs()) else { return (0, Vec::new()) };
    let linear = if sregs.cs.l != 0 { regs.rip } else { sregs.cs.base.wrapping_add(regs.rip) };
    let in_page = LONGEST.min(PAGE_SIZE - linear % PAGE_SIZE) as usize;
    let mut bytes = vec![0; in_page];
    let readable = match fd.translate_gva(linear) {
        Ok(place) if place.valid != 0 => memory.read(place.physical_address, &mut bytes).is_ok(),
        _ => false,
    };
    (regs.rip, if readable { bytes } else { Vec::new() })
}

fn hex(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "bytes unknown".into();
    }
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}
