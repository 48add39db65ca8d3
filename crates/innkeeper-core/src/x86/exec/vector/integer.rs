//! Packed integers: arithmetic, logic, comparison, packing and shifts (SSE2 to SSE4.2, AVX, AVX2), and
//! the bitwise floating-point instructions, which are the same.
//!
//! Intel SDM vol. 2, under each mnemonic.

use iced_x86::{Code, Mnemonic, OpCodeOperandKind as Kind};

use super::form::{Form, Operation, form};
use super::operand::{X, x_from, x_words};
use crate::x86::cpu::{Cpu, Ymm};
use crate::x86::fault::Stop;
use crate::x86::op::{Handler, Op};

lanes! {
    [16 32 inlined] "{a}, {b}", "ymm0, ymm0, ymm1":
        Paddb Vpaddb, Paddw Vpaddw, Paddd Vpaddd, Paddq Vpaddq,
        Psubb Vpsubb, Psubw Vpsubw, Psubd Vpsubd, Psubq Vpsubq,
        Pand Vpand, Pandn Vpandn, Por Vpor, Pxor Vpxor,
        Andps Vandps, Andpd Vandpd, Andnps Vandnps, Andnpd Vandnpd,
        Orps Vorps, Orpd Vorpd, Xorps Vxorps, Xorpd Vxorpd,
        Pcmpeqb Vpcmpeqb, Pcmpeqw Vpcmpeqw, Pcmpeqd Vpcmpeqd,
        Pcmpgtb Vpcmpgtb, Pminub Vpminub, Pshufb Vpshufb;
    [16 32 called] "{a}, {b}", "ymm0, ymm0, ymm1":
        Paddsb Vpaddsb, Paddsw Vpaddsw, Paddusb Vpaddusb, Paddusw Vpaddusw,
        Psubsb Vpsubsb, Psubsw Vpsubsw, Psubusb Vpsubusb, Psubusw Vpsubusw,
        Pcmpgtw Vpcmpgtw, Pcmpgtd Vpcmpgtd, Pcmpeqq Vpcmpeqq, Pcmpgtq Vpcmpgtq,
        Pminsb Vpminsb, Pminsw Vpminsw, Pminsd Vpminsd, Pminuw Vpminuw, Pminud Vpminud,
        Pmaxsb Vpmaxsb, Pmaxsw Vpmaxsw, Pmaxsd Vpmaxsd, Pmaxub Vpmaxub, Pmaxuw Vpmaxuw, Pmaxud Vpmaxud,
        Pmullw Vpmullw, Pmulld Vpmulld, Pmulhw Vpmulhw, Pmulhuw Vpmulhuw, Pmulhrsw Vpmulhrsw,
        Pmuludq Vpmuludq, Pmuldq Vpmuldq, Pmaddwd Vpmaddwd, Pmaddubsw Vpmaddubsw, Psadbw Vpsadbw,
        Pavgb Vpavgb, Pavgw Vpavgw, Psignb Vpsignb, Psignw Vpsignw, Psignd Vpsignd,
        Phaddw Vphaddw, Phaddd Vphaddd, Phaddsw Vphaddsw,
        Phsubw Vphsubw, Phsubd Vphsubd, Phsubsw Vphsubsw,
        Packsswb Vpacksswb, Packssdw Vpackssdw, Packuswb Vpackuswb, Packusdw Vpackusdw;
    [16 32 called] "{a}, {b}", "ymm0, ymm1": Pabsb Vpabsb, Pabsw Vpabsw, Pabsd Vpabsd;
    [16 16 called] "{a}, {b}", none: Phminposuw Vphminposuw;
    // Approximations, which heed no MXCSR and raise nothing.
    [16 32 called] "{a}, {b}", "ymm0, ymm1": Rcpps Vrcpps, Rsqrtps Vrsqrtps;
    [4 4 called] "{a}, {b}", none: Rcpss Vrcpss, Rsqrtss Vrsqrtss;
    // The count is one quadword of an XMM register, whatever the width.
    [16 16 called] "{a}, {b}", "ymm0, ymm0, xmm1":
        Psllw Vpsllw, Pslld Vpslld, Psllq Vpsllq, Psrlw Vpsrlw, Psrld Vpsrld, Psrlq Vpsrlq,
        Psraw Vpsraw, Psrad Vpsrad;
    [16 32 called] "{a}, {a}, {b}", "ymm0, ymm0, ymm1":
        Vpsllvd Vpsllvd, Vpsllvq Vpsllvq, Vpsrlvd Vpsrlvd, Vpsrlvq Vpsrlvq, Vpsravd Vpsravd;
}

pub fn select(code: Code, _memory: bool) -> Option<Handler> {
    let info = code.op_code();
    let last = info.op_count().checked_sub(1)?;
    if info.op_kind(last) == Kind::imm8 { select_shift(code) } else { select_lanes(code) }
}

/// Shifts by an immediate.
fn select_shift(code: Code) -> Option<Handler> {
    match code.mnemonic() {
        Mnemonic::Psllw | Mnemonic::Vpsllw => pick_shift::<Psllw>(code),
        Mnemonic::Pslld | Mnemonic::Vpslld => pick_shift::<Pslld>(code),
        Mnemonic::Psllq | Mnemonic::Vpsllq => pick_shift::<Psllq>(code),
        Mnemonic::Psrlw | Mnemonic::Vpsrlw => pick_shift::<Psrlw>(code),
        Mnemonic::Psrld | Mnemonic::Vpsrld => pick_shift::<Psrld>(code),
        Mnemonic::Psrlq | Mnemonic::Vpsrlq => pick_shift::<Psrlq>(code),
        Mnemonic::Psraw | Mnemonic::Vpsraw => pick_shift::<Psraw>(code),
        Mnemonic::Psrad | Mnemonic::Vpsrad => pick_shift::<Psrad>(code),
        Mnemonic::Pslldq | Mnemonic::Vpslldq => pick_shift::<Bytes<true>>(code),
        Mnemonic::Psrldq | Mnemonic::Vpsrldq => pick_shift::<Bytes<false>>(code),
        _ => None,
    }
}

/// PSLLDQ and PSRLDQ: shifts whole XMM registers by bytes.
struct Bytes<const LEFT: bool>;

impl<const LEFT: bool> Bytes<LEFT> {
    fn shift(x: X, count: X) -> X {
        let [low, high] = x_words(x);
        let (value, bits) = (u128::from(high) << 64 | u128::from(low), 8 * x_words(count)[0] as u32);
        let shifted = if LEFT { value.checked_shl(bits) } else { value.checked_shr(bits) };
        let shifted = shifted.unwrap_or(0);
        x_from([shifted as u64, (shifted >> 64) as u64])
    }
}

impl<const LEFT: bool> Operation for Bytes<LEFT> {
    const BYTES: [usize; 2] = [16, 16];
    fn x(_: &mut Cpu, a: X, b: X, _: u8) -> Result<X, Stop> {
        Ok(Self::shift(a, b))
    }
    fn y(_: &mut Cpu, a: &Ymm, b: &Ymm, _: u8) -> Result<Ymm, Stop> {
        Ok(Ymm::from_halves(Self::shift(a.low(), b.low()), Self::shift(a.high(), b.low())))
    }
}

/// The destination is the r/m register itself for legacy encodings, VEX.vvvv otherwise.
fn pick_shift<L: Operation>(code: Code) -> Option<Handler> {
    Some(match form(code)? {
        Form::Legacy => shift_legacy::<L>,
        Form::Vex128 => shift_vex128::<L>,
        Form::Vex256 => shift_vex256::<L>,
    })
}

fn shift_legacy<L: Operation>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    cpu.need_sse()?;
    let result = L::x(cpu, cpu.ymm(op.rm).low(), x_from([op.imm & 0xFF, 0]), 0)?;
    cpu.ymm_mut(op.rm).set_low(result);
    Ok(())
}

fn shift_vex128<L: Operation>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    cpu.need_avx()?;
    let result = L::x(cpu, cpu.ymm(op.rm).low(), x_from([op.imm & 0xFF, 0]), 0)?;
    *cpu.ymm_mut(op.vvvv) = Ymm::from_low(result);
    Ok(())
}

fn shift_vex256<L: Operation>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    cpu.need_avx()?;
    let source = *cpu.ymm(op.rm);
    *cpu.ymm_mut(op.vvvv) = L::y(cpu, &source, &Ymm([op.imm & 0xFF, 0, 0, 0]), 0)?;
    Ok(())
}
