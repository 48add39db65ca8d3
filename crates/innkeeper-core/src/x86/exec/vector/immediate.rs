//! Shuffles, blends and the rest of the packed integers whose control is an immediate.
//!
//! Intel SDM vol. 2, under each mnemonic.

use iced_x86::{Code, Mnemonic, OpCodeOperandKind as Kind};

use super::form::{Operation, pick};
use super::operand::X;
use crate::x86::cpu::{Cpu, Ymm};
use crate::x86::fault::Stop;
use crate::x86::op::Handler;

lanes! {
    [16 32 256] "{a}, {b}", "ymm0, ymm1": Pshufd Vpshufd, Pshufhw Vpshufhw, Pshuflw Vpshuflw;
    [16 32 256] "{a}, {b}", "ymm0, ymm0, ymm1": Shufps Vshufps, Palignr Vpalignr, Blendps Vblendps, Pblendw Vpblendw;
    [16 32 16] "{a}, {b}", "ymm0, ymm0, ymm1": Shufpd Vshufpd, Blendpd Vblendpd;
    [16 32 64] "{a}, {b}", "ymm0, ymm0, ymm1": Mpsadbw Vmpsadbw;
    [16 32 256] "{a}, {a}, {b}", "ymm0, ymm0, ymm1": Vpblendd Vpblendd;
    [16 32 256] "{a}, {b}", "ymm0, ymm1": Vpermilps Vpermilps;
    [16 32 16] "{a}, {b}", "ymm0, ymm1": Vpermilpd Vpermilpd;
    [16 32 256] none, "ymm0, ymm1": Vpermq Vpermq, Vpermpd Vpermpd;
    [16 32 256] none, "ymm0, ymm0, ymm1": Vperm2f128 Vperm2f128, Vperm2i128 Vperm2i128;
    [16 16 2] none, "ymm0, ymm0, xmm1": Vinsertf128 Vinsertf128, Vinserti128 Vinserti128;
    [4 4 256] "{a}, {b}", none: Insertps Vinsertps;
    [16 16 32] "{a}, {b}", none: Pclmulqdq Vpclmulqdq;
    [16 16 256] "{a}, {b}", none: Aeskeygenassist Vaeskeygenassist;
    [16 16 4] "{a}, {b}", none: Sha1rnds4 Sha1rnds4;
}

pub fn select(code: Code, memory: bool) -> Option<Handler> {
    match code.op_code().op_kinds().last() {
        Some(Kind::imm8) if memory && matches!(code.mnemonic(), Mnemonic::Insertps | Mnemonic::Vinsertps) => {
            pick::<InsertpsMemory>(code)
        }
        Some(Kind::imm8) => select_lanes(code),
        _ => None,
    }
}

/// INSERTPS from memory, where bits 7:6 of the immediate choose no source element.
struct InsertpsMemory;

impl Operation for InsertpsMemory {
    const BYTES: [usize; 2] = [4, 4];
    fn x(cpu: &mut Cpu, a: X, b: X, imm: u8) -> Result<X, Stop> {
        Insertps::x(cpu, a, b, imm & 0x3F)
    }
}
