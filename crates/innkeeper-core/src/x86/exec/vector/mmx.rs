//! Packed integers on MMX registers, for the instructions whose MMX forms differ from their SSE2 forms
//! in nothing but width (Intel SDM vol. 1, chapter 9). What an MMX instruction does to the x87 state
//! is in [`crate::x86::exec::mmx`].

use iced_x86::{Code, Mnemonic, OpCodeOperandKind};

use crate::x86::exec::mmx::{Lane, packed, packed_by_immediate, packed_m32};
use crate::x86::op::Handler;

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
    ($($name:ident),+; $($low_half:ident),+; $($shift:ident),+; $($with_immediate:ident),+ $(,)?) => {
        $(mmx_lanes!(@plain $name);)+
        $(mmx_lanes!(@plain $low_half);)+
        $(mmx_lanes!(@plain $shift);)+
        $(
            struct $with_immediate;
            impl Lane for $with_immediate {
                fn run(a: u64, b: u64, imm: u8) -> u64 {
                    run_immediate!(run_mmx, a, b, imm, 256, concat!(stringify!($with_immediate), " mm0, mm1"))
                }
            }
        )+

        /// The handler of a packed operation on MM registers.
        pub fn select(code: Code, memory: bool) -> Option<Handler> {
            if code.op_code().op_kind(0) != OpCodeOperandKind::mm_reg {
                return None;
            }
            Some(match code.mnemonic() {
                $(Mnemonic::$name => packed::<$name>,)+
                $(Mnemonic::$low_half if memory => packed_m32::<$low_half>,)+
                $(Mnemonic::$low_half => packed::<$low_half>,)+
                $(Mnemonic::$shift => packed::<$shift>,)+
                $(Mnemonic::$with_immediate => packed::<$with_immediate>,)+
                _ => return None,
            })
        }

        /// The handler of a shift whose count is an immediate.
        pub fn shift_by_immediate(mnemonic: Mnemonic) -> Option<Handler> {
            Some(match mnemonic {
                $(Mnemonic::$shift => packed_by_immediate::<$shift>,)+
                _ => return None,
            })
        }
    };
    (@plain $name:ident) => {
        struct $name;
        impl Lane for $name {
            fn run(a: u64, b: u64, _: u8) -> u64 {
                run_mmx!(a, b, [concat!(stringify!($name), " mm0, mm1")])
            }
        }
    };
}

// Plain ones; those that read half of a memory operand; shifts, which take their count from 64 bits (an
// immediate count is the same with that number); those with an immediate.
mmx_lanes! {
    Paddb, Paddw, Paddd, Paddq, Paddsb, Paddsw, Paddusb, Paddusw,
    Psubb, Psubw, Psubd, Psubq, Psubsb, Psubsw, Psubusb, Psubusw,
    Pand, Pandn, Por, Pxor, Pcmpeqb, Pcmpeqw, Pcmpeqd, Pcmpgtb, Pcmpgtw, Pcmpgtd,
    Pminub, Pminsw, Pmaxub, Pmaxsw, Pmullw, Pmulhw, Pmulhuw, Pmulhrsw, Pmuludq, Pmaddwd, Pmaddubsw,
    Psadbw, Pavgb, Pavgw, Psignb, Psignw, Psignd, Pabsb, Pabsw, Pabsd,
    Phaddw, Phaddd, Phaddsw, Phsubw, Phsubd, Phsubsw, Packsswb, Packssdw, Packuswb, Pshufb,
    Punpckhbw, Punpckhwd, Punpckhdq;
    Punpcklbw, Punpcklwd, Punpckldq;
    Psllw, Pslld, Psllq, Psrlw, Psrld, Psrlq, Psraw, Psrad;
    Pshufw, Palignr
}
