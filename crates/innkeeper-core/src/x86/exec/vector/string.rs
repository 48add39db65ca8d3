//! The SSE4.2 string comparisons: PCMPESTRI, PCMPESTRM, PCMPISTRI, PCMPISTRM.
//!
//! Intel SDM vol. 1, 12.9.5 and vol. 2, 4.1. Memory operands need no alignment.

use iced_x86::{Code, Mnemonic as M};

use super::form::{Form, form};
use super::operand::X;
use crate::x86::cpu::{Cpu, RAX, RCX, RDX, Ymm, flag};
use crate::x86::fault::Stop;
use crate::x86::op::{Handler, Op};

pub fn select(code: Code, _memory: bool) -> Option<Handler> {
    let vex = form(code)? != Form::Legacy;
    let wide = matches!(
        code,
        Code::Pcmpestrm64_xmm_xmmm128_imm8
            | Code::Pcmpestri64_xmm_xmmm128_imm8
            | Code::VEX_Vpcmpestrm64_xmm_xmmm128_imm8
            | Code::VEX_Vpcmpestri64_xmm_xmmm128_imm8
    );
    Some(match (code.mnemonic(), wide) {
        (M::Pcmpestri | M::Pcmpestri64 | M::Vpcmpestri | M::Vpcmpestri64, false) => {
            pick::<Pcmpestri, false>(vex)
        }
        (M::Pcmpestri | M::Pcmpestri64 | M::Vpcmpestri | M::Vpcmpestri64, true) => {
            pick::<Pcmpestri, true>(vex)
        }
        (M::Pcmpestrm | M::Pcmpestrm64 | M::Vpcmpestrm | M::Vpcmpestrm64, false) => {
            pick::<Pcmpestrm, false>(vex)
        }
        (M::Pcmpestrm | M::Pcmpestrm64 | M::Vpcmpestrm | M::Vpcmpestrm64, true) => {
            pick::<Pcmpestrm, true>(vex)
        }
        (M::Pcmpistri | M::Vpcmpistri, _) => pick::<Pcmpistri, false>(vex),
        (M::Pcmpistrm | M::Vpcmpistrm, _) => pick::<Pcmpistrm, false>(vex),
        _ => return None,
    })
}

/// What a comparison finds.
struct Found {
    index: u32,
    mask: X,
    status: u64,
}

trait Search {
    /// The result is the mask (in XMM0) and not the index (in ECX).
    const MASK: bool;
    fn search(a: X, b: X, imm: u8, lengths: [i32; 2]) -> Found;
}

macro_rules! searches {
    ($($name:ident $mask:literal),+) => {
        $(
            struct $name;
            impl Search for $name {
                const MASK: bool = $mask;
                fn search(a: X, b: X, imm: u8, [a_length, b_length]: [i32; 2]) -> Found {
                    let (ax, index, mask): (u64, u64, X);
                    // Implied operands: lengths in EAX and EDX, results in ECX or XMM0. AH gets the low
                    // flags, AL OF.
                    run_immediate!(
                        run_x, a, b, imm, 128, concat!(stringify!($name), " {a}, {b}");
                        ["lahf", "seto al"],
                        inout("rax") u64::from(a_length as u32) => ax,
                        in("rdx") u64::from(b_length as u32),
                        out("rcx") index,
                        out("xmm0") mask
                    );
                    let overflow = if ax & 1 != 0 { flag::OF } else { 0 };
                    Found { index: index as u32, mask, status: ax >> 8 & flag::STATUS & 0xFF | overflow }
                }
            }
        )+
    };
}

searches!(Pcmpestri false, Pcmpestrm true, Pcmpistri false, Pcmpistrm true);

fn pick<S: Search, const WIDE: bool>(vex: bool) -> Handler {
    if vex { string::<S, true, WIDE> } else { string::<S, false, WIDE> }
}

fn string<S: Search, const VEX: bool, const WIDE: bool>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    if VEX {
        cpu.need_avx()?
    } else {
        cpu.need_sse()?
    }
    let b = if op.memory { cpu.load_x::<16>(op, false)? } else { cpu.ymm(op.rm).low() };
    // Lengths count by their absolute value and saturate at 16, so 64-bit ones may be brought near.
    let length = |value: u64| if WIDE { (value as i64).clamp(-64, 64) as i32 } else { value as i32 };
    let lengths = [length(cpu.regs[RAX]), length(cpu.regs[RDX])];
    let found = S::search(cpu.ymm(op.reg).low(), b, op.imm as u8, lengths);
    cpu.set_status(found.status);
    if !S::MASK {
        cpu.regs[RCX] = found.index.into();
    } else if VEX {
        *cpu.ymm_mut(0) = Ymm::from_low(found.mask);
    } else {
        cpu.ymm_mut(0).set_low(found.mask);
    }
    Ok(())
}
