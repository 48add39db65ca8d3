//! Packed integers on MMX registers, for the instructions whose MMX forms differ from their SSE2 forms
//! in nothing but width (Intel SDM vol. 1, chapter 9). What an MMX instruction does to the x87 state
//! is not here.

use iced_x86::Mnemonic;

/// What an instruction makes of its destination, its source and its immediate.
pub type Lane = fn(u64, u64, u8) -> u64;

/// Runs instructions on the host's `mm0` (first source, then result) and `mm1` (second source).
macro_rules! run_mmx {
    ($a:expr, $b:expr, [$($line:expr),+ $(,)?] $(, $($operand:tt)+)?) => {{
        let result: u64;
        // SAFETY: computes on registers; declares all x87 and MMX registers clobbered and leaves the
        // x87 stack empty. The host has the instruction, since the guest sees it.
        unsafe {
            core::arch::asm!(
                "movq mm0, {a}", "movq mm1, {b}", $($line,)+ "movq {a}, mm0", "emms",
                a = inout(reg) $a => result, b = in(reg) $b,
                $($($operand)+ ,)?
                out("mm0") _, out("mm1") _, out("mm2") _, out("mm3") _,
                out("mm4") _, out("mm5") _, out("mm6") _, out("mm7") _,
                out("st(0)") _, out("st(1)") _, out("st(2)") _, out("st(3)") _,
                out("st(4)") _, out("st(5)") _, out("st(6)") _, out("st(7)") _,
                options(nostack),
            );
        }
        result
    }};
}

macro_rules! mmx_lanes {
    ($($name:ident),+; $($with_immediate:ident),+) => {
        /// The lane function of a two-operand MMX instruction.
        pub fn lane(mnemonic: Mnemonic) -> Option<Lane> {
            Some(match mnemonic {
                $(Mnemonic::$name => |a, b, _| run_mmx!(a, b, [concat!(stringify!($name), " mm0, mm1")]),)+
                $(Mnemonic::$with_immediate => |a, b, imm| {
                    run_immediate!(run_mmx, a, b, imm, 256, concat!(stringify!($with_immediate), " mm0, mm1"))
                },)+
                _ => return None,
            })
        }
    };
}

// PSLLW and so on take their count from 64 bits: an immediate count is the same with that number.
mmx_lanes! {
    Paddb, Paddw, Paddd, Paddq, Paddsb, Paddsw, Paddusb, Paddusw,
    Psubb, Psubw, Psubd, Psubq, Psubsb, Psubsw, Psubusb, Psubusw,
    Pand, Pandn, Por, Pxor, Pcmpeqb, Pcmpeqw, Pcmpeqd, Pcmpgtb, Pcmpgtw, Pcmpgtd,
    Pminub, Pminsw, Pmaxub, Pmaxsw, Pmullw, Pmulhw, Pmulhuw, Pmulhrsw, Pmuludq, Pmaddwd, Pmaddubsw,
    Psadbw, Pavgb, Pavgw, Psignb, Psignw, Psignd, Pabsb, Pabsw, Pabsd,
    Phaddw, Phaddd, Phaddsw, Phsubw, Phsubd, Phsubsw, Packsswb, Packssdw, Packuswb, Pshufb,
    Punpcklbw, Punpcklwd, Punpckldq, Punpckhbw, Punpckhwd, Punpckhdq,
    Psllw, Pslld, Psllq, Psrlw, Psrld, Psrlq, Psraw, Psrad;
    Pshufw, Palignr
}
