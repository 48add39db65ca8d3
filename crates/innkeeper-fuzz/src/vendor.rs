//! Where AMD's processors have other answers than the guest's, which follows Intel's: what a host of AMD's
//! cannot be asked, or has to be forgiven.
//! Sources: AMD64 Architecture Programmer's Manual, vol. 3, and what such a host did.

use std::sync::OnceLock;

use iced_x86::{Code, FlowControl, Mnemonic, OpKind};

use crate::operands::image_size;
use crate::state::{Case, DATA, Outcome, WINDOW_AT};

const BREAKPOINT: u8 = 3;
const GENERAL_PROTECTION: u8 = 13;
const PAGE_FAULT: u8 = 14;
/// A bit of MXCSR.
const MISALIGNED: u32 = 1 << 17;

pub fn is_amd() -> bool {
    static AMD: OnceLock<bool> = OnceLock::new();
    *AMD.get_or_init(|| std::arch::x86_64::__cpuid(0).ebx == u32::from_le_bytes(*b"Auth"))
}

/// Whether a host of AMD's has no answer that says anything about the guest's processor.
pub fn has_another_answer(case: &Case, native: &Outcome) -> bool {
    let instruction = case.instruction();
    let faulted = native.trap.vector != BREAKPOINT;
    let prefixes = || case.bytes.iter().take_while(|byte| is_prefix(case.bitness, **byte));
    let has = |wanted: u8| prefixes().any(|&byte| byte == wanted);
    let branch = instruction.flow_control() != FlowControl::Next;
    match instruction.mnemonic() {
        _ if native.state.mxcsr & MISALIGNED != 0 => true,
        // The operand size of near branches is not fixed in 64-bit mode.
        _ if branch && case.bitness == 64 && has(0x66) => true,
        // A REP prefix chooses the condition.
        Mnemonic::Loope | Mnemonic::Loopne => has(0xF2) || has(0xF3),
        // Both bounds are read; and four bytes, whatever the operand size.
        Mnemonic::Bound => native.trap.vector == PAGE_FAULT,
        Mnemonic::Movsxd => has(0x66),
        // REX.B makes an exchange of it.
        Mnemonic::Pause => prefixes().any(|&byte| byte & 0xF1 == 0x41),
        // 0F 0D is undefined with registers. LOCK MOV CR0 is MOV CR8.
        Mnemonic::Nop | Mnemonic::Reservednop => is_reserved_nop(instruction.code()),
        Mnemonic::INVALID => case.bytes.windows(2).any(|bytes| matches!(bytes, [0x0F, 0x20 | 0x22])),
        // Misaligned operands of these are allowed.
        mnemonic if format!("{mnemonic:?}").starts_with("Sha") => true,
        // Memory is looked at before an unmasked exception forbids the store.
        mnemonic if format!("{mnemonic:?}").starts_with('F') && faulted => case.state.fcw & 0x3F != 0x3F,
        // The mask of a gather that faults is not spread.
        mnemonic if format!("{mnemonic:?}").contains("gather") => faulted,
        // Misalignment comes before what is wrong with the address.
        mnemonic if image_size(mnemonic).is_some() && native.trap.vector == GENERAL_PROTECTION => true,
        // No access wraps around at the end of a segment.
        _ if case.bitness == 32 && wraps_around(case) => true,
        // Underflow and inexactness are told apart otherwise.
        Mnemonic::Vcvtps2ph => true,
        _ => false,
    }
}

/// Copies over what is the host's own way in an answer that counts otherwise.
pub fn forgive(case: &Case, native: &Outcome, ours: &mut Outcome) {
    let instruction = case.instruction();
    match instruction.mnemonic() {
        // Which of two bad operands, and which byte of one, is touched first.
        Mnemonic::Cmpsb | Mnemonic::Cmpsw | Mnemonic::Cmpsd | Mnemonic::Cmpsq => {
            ours.trap.address = native.trap.address;
        }
        Mnemonic::Vmaskmovps | Mnemonic::Vmaskmovpd | Mnemonic::Vpmaskmovd | Mnemonic::Vpmaskmovq => {
            ours.trap.address = native.trap.address;
        }
        mnemonic if image_size(mnemonic).is_some() && instruction.op0_kind() == OpKind::Memory => {
            // Pointers of x87 instructions are saved only with an exception pending; MXCSR has one bit more;
            // SSE state counts as used.
            let differs = |&at: &usize| native.state.window[at] != ours.state.window[at];
            let Some(first) = (0..native.state.window.len()).find(differs) else { return };
            let start = operand(case).map_or(first, |start| start as usize);
            for at in (start + 6..start + 24).chain(start + 28..start + 32).chain(start + 512..start + 513) {
                if let Some(byte) = ours.state.window.get_mut(at) {
                    *byte = native.state.window[at];
                }
            }
        }
        _ => {}
    }
}

fn is_prefix(bitness: u32, byte: u8) -> bool {
    matches!(byte, 0x66 | 0x67 | 0xF2 | 0xF3 | 0xF0 | 0x2E | 0x36 | 0x3E | 0x26)
        || (bitness == 64 && byte & 0xF0 == 0x40)
}

fn is_reserved_nop(code: Code) -> bool {
    matches!(
        code,
        Code::Reservednop_rm16_r16_0F0D | Code::Reservednop_rm32_r32_0F0D | Code::Reservednop_rm64_r64_0F0D
    )
}

fn wraps_around(case: &Case) -> bool {
    let beyond = |address: u64, size: u64| address + size > 1 << 32;
    let size = case.instruction().memory_size().size() as u64;
    let stack = case.state.gpr[4].wrapping_sub(8) & 0xFFFF_FFFF;
    address(case).is_some_and(|address| beyond(address, size)) || beyond(stack, 16)
}

/// Where the memory operand begins in the window.
fn operand(case: &Case) -> Option<u64> {
    address(case).map(|address| address.wrapping_sub(DATA + WINDOW_AT))
}

/// The linear address of the memory operand.
fn address(case: &Case) -> Option<u64> {
    let value = |register: iced_x86::Register, _: usize, _: usize| {
        if register.is_segment_register() {
            return Some(0);
        }
        let whole = case.state.gpr[register.full_register().number()];
        Some(if register.size() == 4 { whole & 0xFFFF_FFFF } else { whole })
    };
    let instruction = case.instruction();
    let address = instruction.virtual_address(0, 0, value)?;
    Some(if case.bitness == 32 { address & 0xFFFF_FFFF } else { address })
}
