//! Two outcomes of one case, less what the manuals leave undefined.

use iced_x86::{Mnemonic, OpKind, RflagsBits};

use crate::operands::image_size;
use crate::state::{Case, DATA, DATA_SIZE, Outcome, State, WINDOW_AT};
use crate::vendor;

/// Status flags and DF; RF is set in the image of a fault and says nothing about the instruction.
const COMPARED: u64 = 0x0CD5;
const BREAKPOINT: u8 = 3;
const PAGE_FAULT: u8 = 14;
/// x87 pointers are as wide as linear addresses: 48 bits for the guest, perhaps more for the host.
const POINTER: u64 = 0xFFFF_FFFF_FFFF;

/// What differs, as one reproducible line, or `None`.
pub fn difference(case: &Case, native: &Outcome, ours: &Outcome) -> Option<String> {
    let mut parts = Vec::new();
    let mut ours = *ours;
    if vendor::is_amd() {
        if vendor::has_another_answer(case, native) {
            return None;
        }
        vendor::forgive(case, native, &mut ours);
    }
    tolerate(case, native, &mut ours);
    let ours = &ours;
    let (n, o) = (&native.state, &ours.state);
    let address =
        |outcome: &Outcome| if outcome.trap.vector == PAGE_FAULT { outcome.trap.address } else { 0 };
    // Away from the pages that both have, the host may have others.
    let present = |outcome: &Outcome| u32::from(address(outcome) & !(DATA_SIZE - 1) != DATA);
    let trap =
        |outcome: &Outcome| (outcome.trap.vector, outcome.trap.error & !present(outcome), address(outcome));
    if trap(native) != trap(ours) {
        parts.push(format!("trap {:x?} not {:x?}", trap(ours), trap(native)));
    }
    let mut word = |name: String, native: u64, ours: u64| {
        if native != ours {
            parts.push(format!("{name} {ours:x} not {native:x}"));
        }
    };
    word("rip".into(), n.rip, o.rip);
    for i in 0..16 {
        if case.bitness == 64 || i < 8 {
            word(format!("r{i}"), n.gpr[i], o.gpr[i]);
        }
    }
    let (flags, x87) = undefined(case);
    word("rflags".into(), n.rflags & COMPARED & !flags, o.rflags & COMPARED & !flags);
    word("mxcsr".into(), n.mxcsr.into(), o.mxcsr.into());
    if !clobbers_top(case, native) {
        word("fcw".into(), n.fcw.into(), o.fcw.into());
        word("fsw".into(), (n.fsw & !x87).into(), (o.fsw & !x87).into());
        word("ftw".into(), n.ftw.into(), o.ftw.into());
        if alike_in_pointers() {
            word("fop".into(), n.fop.into(), o.fop.into());
            word("fip".into(), n.fip & POINTER, o.fip & POINTER);
            word("fdp".into(), n.fdp & POINTER, o.fdp & POINTER);
        }
        for i in 0..8 {
            if n.st[i] != o.st[i] {
                parts.push(format!("st{i} {:02x?} not {:02x?}", o.st[i], n.st[i]));
            }
        }
    }
    for i in 0..16 {
        if n.ymm[i] != o.ymm[i] {
            parts.push(format!("ymm{i} {:x?} not {:x?}", o.ymm[i], n.ymm[i]));
        }
    }
    if let Some(at) = (0..n.window.len()).find(|&at| n.window[at] != o.window[at]) {
        let end = (at + 8).min(n.window.len());
        parts.push(format!("memory+{at:#x} {:02x?} not {:02x?}", &o.window[at..end], &n.window[at..end]));
    }
    if parts.is_empty() {
        return None;
    }
    let bytes: String = case.bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let (bits, name) = (case.bitness, &case.name);
    Some(format!("--bits {bits} --repro {name} {bytes} [{}]: {}", case.instruction(), parts.join("; ")))
}

/// Copies over what the manuals leave to the processor beyond flags.
fn tolerate(case: &Case, native: &Outcome, ours: &mut Outcome) {
    let instruction = case.instruction();
    let faulted = native.trap.vector != BREAKPOINT;
    match instruction.mnemonic() {
        // Which components are loaded already, and which byte is touched first, when a restore faults.
        Mnemonic::Xrstor | Mnemonic::Xrstor64 | Mnemonic::Fxrstor | Mnemonic::Fxrstor64 if faulted => {
            let (window, address) = (ours.state.window, native.trap.address);
            let kept = (ours.state.gpr, ours.state.rip, ours.state.rflags);
            ours.state = State { window, ..native.state };
            (ours.state.gpr, ours.state.rip, ours.state.rflags) = kept;
            ours.trap.address = address;
        }
        // Which byte of a large operand is touched first.
        mnemonic if image_size(mnemonic).is_some() => ours.trap.address = native.trap.address,
        Mnemonic::Maskmovdqu | Mnemonic::Vmaskmovdqu | Mnemonic::Maskmovq => {
            ours.trap.address = native.trap.address;
        }
        // Whether the return address is already on the stack when the target turns out bad.
        Mnemonic::Call if faulted => copy_below(case, native, ours, 8, 8),
        // Whether 32-bit PUSH of a segment register writes its upper half (Intel SDM vol. 2, PUSH).
        Mnemonic::Push if instruction.op0_register().is_segment_register() => {
            copy_below(case, native, ours, 2, 2)
        }
        _ => {}
    }
}

/// Copies `count` bytes of memory that end `distance` below the stack pointer of the case's start.
fn copy_below(case: &Case, native: &Outcome, ours: &mut Outcome, distance: u64, count: usize) {
    let at = case.state.gpr[4].wrapping_sub(distance + DATA + WINDOW_AT) as usize;
    if let Some(slot) = ours.state.window.get_mut(at..at.saturating_add(count)) {
        slot.copy_from_slice(&native.state.window[at..at + count]);
    }
}

/// RFLAGS and FSW bits that are undefined after the instruction.
fn undefined(case: &Case) -> (u64, u16) {
    let instruction = case.instruction();
    let bits = instruction.rflags_undefined();
    let pick =
        |pairs: &[(u32, u64)]| pairs.iter().filter(|pair| bits & pair.0 != 0).fold(0, |m, pair| m | pair.1);
    let mut flags = pick(&[
        (RflagsBits::CF, 0x001),
        (RflagsBits::PF, 0x004),
        (RflagsBits::AF, 0x010),
        (RflagsBits::ZF, 0x040),
        (RflagsBits::SF, 0x080),
        (RflagsBits::OF, 0x800),
    ]);
    if matches!(instruction.mnemonic(), Mnemonic::Shld | Mnemonic::Shrd) {
        flags |= 0x810; // AF always; OF for counts other than 1
    }
    if matches!(instruction.mnemonic(), Mnemonic::Rcl | Mnemonic::Rcr) {
        // OF is defined for rotates by one only, also where the count wraps to none.
        flags |= if instruction.op_kind(1) == OpKind::Immediate8 && instruction.immediate8() & 31 == 1 {
            0
        } else {
            0x800
        };
    }
    let x87 = pick(&[
        (RflagsBits::C0, 0x0100),
        (RflagsBits::C1, 0x0200),
        (RflagsBits::C2, 0x0400),
        (RflagsBits::C3, 0x4000),
    ]);
    (flags, x87 as u16)
}

/// Whether the host records the x87 pointers as the guest's processor does: CPUID leaf 7 EBX, bits 6
/// (data pointer for exceptions only) and 13 (no selectors).
fn alike_in_pointers() -> bool {
    const BOTH: u32 = 1 << 6 | 1 << 13;
    std::arch::x86_64::__cpuid_count(7, 0).ebx & BOTH == BOTH
}

/// Intel processors have set TOP to 0 already when an MMX store faults; it will be 0 anyway once the
/// store is tried again, so this is not worth imitating.
fn clobbers_top(case: &Case, native: &Outcome) -> bool {
    use Mnemonic::{Maskmovq, Movd, Movntq, Movq};
    native.trap.vector != BREAKPOINT
        && matches!(case.instruction().mnemonic(), Movd | Movq | Movntq | Maskmovq)
}
