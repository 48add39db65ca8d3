//! Tests of the vector families that hold for every encoding, and of single instructions' rules. That
//! results equal the host's is for the differential fuzzer; here are the things around them.

mod coverage;
mod exceptions;
mod values;

use iced_x86::{Code, CpuidFeature, EncodingKind};

use super::form::form;
use crate::x86::cpu::{Cpu, RSI};
use crate::x86::exec;
use crate::x86::op::{self, Op, seg};

/// The instruction sets whose vector instructions are in this folder.
const FEATURES: &[CpuidFeature] = &[
    CpuidFeature::SSE,
    CpuidFeature::SSE2,
    CpuidFeature::SSE3,
    CpuidFeature::SSSE3,
    CpuidFeature::SSE4_1,
    CpuidFeature::SSE4_2,
    CpuidFeature::AVX,
    CpuidFeature::AVX2,
    CpuidFeature::F16C,
    CpuidFeature::FMA,
    CpuidFeature::AES,
    CpuidFeature::PCLMULQDQ,
    CpuidFeature::SHA,
];

/// Every encoding of those instruction sets.
fn codes() -> impl Iterator<Item = Code> {
    Code::values().filter(|code| {
        let encoding = code.op_code().encoding();
        matches!(encoding, EncodingKind::Legacy | EncodingKind::VEX)
            && code.cpuid_features().iter().all(|feature| FEATURES.contains(feature))
    })
}

/// Those with their kinds of r/m operand (register, memory), as far as the host has them.
fn runnable(cpu: &Cpu) -> Vec<(Code, bool)> {
    let forms = |code| operand_kinds(code).into_iter().map(move |memory| (code, memory));
    codes().filter(|&code| vector(code) && cpu.platform.cpuid.allows(code)).flat_map(forms).collect()
}

fn vex(code: Code) -> bool {
    code.op_code().encoding() == EncodingKind::VEX
}

/// Whether the r/m operand can be a register, and whether it can be memory.
fn operand_kinds(code: Code) -> Vec<bool> {
    let kinds = code.op_code().op_kinds();
    if kinds.iter().any(|kind| format!("{kind:?}").ends_with("_or_mem")) {
        return vec![false, true];
    }
    vec![kinds.iter().any(|kind| format!("{kind:?}").starts_with("mem"))]
}

/// Whether the encoding has XMM or YMM operands and none in MMX registers.
fn vector(code: Code) -> bool {
    form(code).is_some()
}

/// An instruction with ModRM.reg = 1, r/m = 2 or memory at RSI, VEX.vvvv = 3, the register in an
/// immediate (or the index of VSIB) = 4.
fn instruction(code: Code, memory: bool) -> Op {
    let handler = exec::handler(code, memory).unwrap_or_else(|| panic!("no handler for {code:?}"));
    Op {
        handler,
        imm: 0,
        disp: 0,
        address_mask: u64::MAX,
        code,
        imm2: 0,
        length: 5,
        reg: 1,
        rm: 2,
        base: if memory { RSI as u8 } else { op::ZERO },
        index: op::ZERO,
        scale: 0,
        segment: seg::DS,
        prefixes: 0,
        vvvv: 3,
        is4: 4,
        memory,
        size: 0,
    }
}

fn execute(cpu: &mut Cpu, op: &Op) -> Result<(), u8> {
    (op.handler)(cpu, op).map_err(|_| cpu.fault.vector)
}
