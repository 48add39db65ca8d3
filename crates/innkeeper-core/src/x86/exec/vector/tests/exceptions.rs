//! SIMD floating-point exceptions and MXCSR.

use iced_x86::Code;

use super::{execute, instruction};
use crate::x86::cpu::{Cpu, RSI, Ymm, cr};
use crate::x86::fault::vector::{GP, UD, XM};
use crate::x86::testing::{DATA, machine, peek, poke};

const IE: u32 = 1;
const DE: u32 = 2;
const ZE: u32 = 4;
const OE: u32 = 8;
const UE: u32 = 16;
const PE: u32 = 32;
const ALL_MASKED: u32 = 0x1F80;
const FTZ: u32 = 1 << 15;

/// MXCSR with these exceptions unmasked.
fn unmasking(flags: u32) -> u32 {
    ALL_MASKED & !(flags << 7)
}

fn doubles(low: f64, high: f64) -> Ymm {
    Ymm([low.to_bits(), high.to_bits(), 0, 0])
}

fn singles(values: [f32; 4]) -> Ymm {
    let [a, b, c, d] = values.map(|value| u64::from(value.to_bits()));
    Ymm([a | b << 32, c | d << 32, 0, 0])
}

/// Executes `code` on registers 1 (destination, for legacy encodings) and 2.
fn compute(code: Code, mxcsr: u32, a: Ymm, b: Ymm) -> (Box<Cpu>, Result<(), u8>) {
    let mut cpu = machine(&[]);
    cpu.mxcsr = mxcsr;
    (cpu.ymm[1], cpu.ymm[2]) = (a, b);
    let result = execute(&mut cpu, &instruction(code, false));
    (cpu, result)
}

/// The flags that `code` leaves when it must trap.
fn trapped(code: Code, unmasked: u32, a: Ymm, b: Ymm) -> u32 {
    let (cpu, result) = compute(code, unmasking(unmasked), a, b);
    assert_eq!((result, cpu.ymm[1]), (Err(XM), a), "{code:?}");
    cpu.mxcsr & 0x3F
}

#[test]
fn masked_exceptions_leave_flags_that_stick() {
    let (mut cpu, result) = compute(Code::Divsd_xmm_xmmm64, ALL_MASKED, doubles(1.0, 5.0), doubles(0.0, 0.0));
    assert_eq!((result, cpu.mxcsr), (Ok(()), ALL_MASKED | ZE));
    assert_eq!(cpu.ymm[1], doubles(f64::INFINITY, 5.0));
    cpu.ymm[1] = doubles(1.0, 0.0);
    cpu.ymm[2] = doubles(3.0, 0.0);
    execute(&mut cpu, &instruction(Code::Divsd_xmm_xmmm64, false)).expect("all is masked");
    assert_eq!(cpu.mxcsr, ALL_MASKED | ZE | PE);
}

#[test]
fn an_unmasked_exception_is_reported_and_writes_nothing() {
    let (max, one) = (doubles(f64::MAX, 1.0), doubles(1.0, 1.0));
    assert_eq!(trapped(Code::Divsd_xmm_xmmm64, ZE, one, doubles(0.0, 1.0)), ZE);
    assert_eq!(trapped(Code::Divsd_xmm_xmmm64, PE, one, doubles(3.0, 1.0)), PE);
    assert_eq!(trapped(Code::Sqrtsd_xmm_xmmm64, IE, one, doubles(-1.0, 1.0)), IE);
    assert_eq!(trapped(Code::Addsd_xmm_xmmm64, DE, one, doubles(f64::from_bits(1), 1.0)), DE);
    // Twice the largest number is exact but for its exponent.
    assert_eq!(trapped(Code::Addsd_xmm_xmmm64, OE, max, max), OE);
    assert_eq!(trapped(Code::Mulsd_xmm_xmmm64, OE, max, doubles(1.5, 1.0)), OE | PE);
}

#[test]
fn a_flag_that_is_set_already_does_not_trap() {
    let mxcsr = unmasking(ZE) | ZE;
    let (cpu, result) = compute(Code::Divsd_xmm_xmmm64, mxcsr, doubles(1.0, 0.0), doubles(2.0, 0.0));
    assert_eq!((result, cpu.mxcsr), (Ok(()), mxcsr));
}

#[test]
fn without_osxmmexcpt_it_is_undefined_opcode() {
    let mut cpu = machine(&[]);
    cpu.cr4 &= !cr::CR4_OSXMMEXCPT;
    cpu.mxcsr = unmasking(ZE);
    (cpu.ymm[1], cpu.ymm[2]) = (doubles(1.0, 0.0), doubles(0.0, 0.0));
    let result = execute(&mut cpu, &instruction(Code::Divsd_xmm_xmmm64, false));
    assert_eq!((result, cpu.mxcsr), (Err(UD), unmasking(ZE) | ZE));
}

#[test]
fn what_is_found_before_computing_hides_what_comes_of_it() {
    let (a, b) = (singles([1.0, 1.0, f32::MAX, 1.0]), singles([0.0, 3.0, 0.1, 1.0]));
    assert_eq!(trapped(Code::Divps_xmm_xmmm128, ZE, a, b), ZE);
    let all = trapped(Code::Divps_xmm_xmmm128, OE, a, b);
    assert_eq!(all, ZE | OE | PE);
}

#[test]
fn unmasked_underflow_is_raised_by_exact_tiny_results_and_knows_no_flush_to_zero() {
    let (a, b) = (doubles(f64::MIN_POSITIVE, 0.0), doubles(0.5, 0.0));
    let (cpu, result) = compute(Code::Mulsd_xmm_xmmm64, ALL_MASKED, a, b);
    assert_eq!((result, cpu.mxcsr), (Ok(()), ALL_MASKED));
    let (cpu, result) = compute(Code::Mulsd_xmm_xmmm64, ALL_MASKED | FTZ, a, b);
    assert_eq!((result, cpu.mxcsr & 0x3F, cpu.ymm[1]), (Ok(()), UE | PE, doubles(0.0, 0.0)));
    assert_eq!(trapped(Code::Mulsd_xmm_xmmm64, UE, a, b), UE);
    let (cpu, result) = compute(Code::Mulsd_xmm_xmmm64, unmasking(UE) | FTZ, a, b);
    assert_eq!((result, cpu.mxcsr & 0x3F), (Err(XM), UE));
}

#[test]
fn a_dot_product_traps_at_the_stage_that_fails() {
    // The products overflow, so the sums, which would be invalid, are not formed.
    let (a, b) = (doubles(f64::MAX, f64::MAX), doubles(2.0, -2.0));
    let run = |unmasked| {
        let mut cpu = machine(&[]);
        cpu.mxcsr = unmasking(unmasked);
        (cpu.ymm[1], cpu.ymm[2]) = (a, b);
        let mut op = instruction(Code::Dppd_xmm_xmmm128_imm8, false);
        op.imm = 0x33;
        (execute(&mut cpu, &op), cpu.mxcsr & 0x3F)
    };
    assert_eq!(run(0), (Ok(()), IE | OE | PE));
    assert_eq!(run(OE), (Err(XM), OE));
    assert_eq!(run(IE), (Err(XM), IE | OE | PE));
}

#[test]
fn a_comparison_that_traps_leaves_rflags_alone() {
    let signaling = Ymm([0x7FF0_0000_0000_0001, 0, 0, 0]);
    let mut cpu = machine(&[]);
    cpu.mxcsr = unmasking(IE);
    (cpu.ymm[1], cpu.ymm[2]) = (signaling, doubles(1.0, 0.0));
    let before = cpu.rflags;
    let result = execute(&mut cpu, &instruction(Code::Ucomisd_xmm_xmmm64, false));
    assert_eq!((result, cpu.rflags), (Err(XM), before));
}

#[test]
fn rounding_without_precision_exceptions_raises_none() {
    for (imm, flags) in [(0, PE), (8, 0)] {
        let mut cpu = machine(&[]);
        cpu.ymm[2] = doubles(2.5, 0.0);
        let mut op = instruction(Code::Roundsd_xmm_xmmm64_imm8, false);
        op.imm = imm;
        execute(&mut cpu, &op).expect("all is masked");
        assert_eq!((cpu.ymm[1], cpu.mxcsr & 0x3F), (doubles(2.0, 0.0), flags));
    }
}

#[test]
fn mxcsr_is_loaded_and_stored_whole_and_its_reserved_bits_are_refused() {
    let mut cpu = machine(&[]);
    cpu.regs[RSI] = DATA;
    poke(&cpu, DATA, &0xFFFF_u32.to_le_bytes());
    assert_eq!(execute(&mut cpu, &instruction(Code::Ldmxcsr_m32, true)), Ok(()));
    assert_eq!(cpu.mxcsr, 0xFFFF);
    poke(&cpu, DATA, &0x1_1F80_u32.to_le_bytes());
    assert_eq!(execute(&mut cpu, &instruction(Code::Ldmxcsr_m32, true)), Err(GP));
    assert_eq!(cpu.mxcsr, 0xFFFF);
    assert_eq!(execute(&mut cpu, &instruction(Code::Stmxcsr_m32, true)), Ok(()));
    assert_eq!(peek::<4>(&cpu, DATA), 0xFFFF_u32.to_le_bytes());
}

#[test]
fn fused_mnemonics_are_read_right() {
    use super::super::unmasked::{Fused, Order};
    let parts = |name| {
        let Fused { order, negate_product, negate_addend } = Fused::from_name(name);
        (order, negate_product, negate_addend)
    };
    assert_eq!(parts("Vfmadd132ps"), (Order::O132, false, [false; 2]));
    assert_eq!(parts("Vfnmadd213sd"), (Order::O213, true, [false; 2]));
    assert_eq!(parts("Vfnmsub231ss"), (Order::O231, true, [true; 2]));
    assert_eq!(parts("Vfmaddsub231pd"), (Order::O231, false, [true, false]));
    assert_eq!(parts("Vfmsubadd132ps"), (Order::O132, false, [false, true]));
}
