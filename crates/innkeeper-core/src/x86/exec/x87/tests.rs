//! The x87 rules that are not arithmetic: tags, stack faults, deferred exceptions, images. (Results
//! are compared with the host's by the differential fuzzer.)

use super::*;
use crate::x86::exec::xsave::{load_xsave_image, xsave_image};
use crate::x86::testing::{self, DATA, machine, peek, poke, run};

fn ran(code: &[u8]) -> Box<Cpu> {
    let mut cpu = machine(code);
    cpu.regs[3] = DATA;
    run(&mut cpu).expect("no fault");
    cpu
}

#[test]
fn one_third_is_rounded_to_64_bits() {
    // fninit; fld1; fld1; fld1; faddp; fld1; faddp; fdivp
    let cpu = ran(&[
        0xDB, 0xE3, 0xD9, 0xE8, 0xD9, 0xE8, 0xD9, 0xE8, 0xDE, 0xC1, 0xD9, 0xE8, 0xDE, 0xC1, 0xDE, 0xF9,
    ]);
    assert_eq!(cpu.x87.st(0), 0x3FFD_AAAA_AAAA_AAAA_AAAB);
    assert_eq!((cpu.x87.top, cpu.x87.valid), (7, 0x80));
    assert_eq!(cpu.x87.status_word(), 7 << 11 | C1 | 1 << 5); // inexact, rounded up
}

#[test]
fn the_ninth_push_overflows_the_stack() {
    let mut code = vec![0xDB, 0xE3];
    code.extend([0xD9, 0xEE].repeat(9)); // fldz
    let cpu = ran(&code);
    assert_eq!(cpu.x87.st(0), INDEFINITE);
    assert_eq!(cpu.x87.status_word(), 7 << 11 | C1 | SF | IE);
    assert_eq!(cpu.x87.valid, 0xFF);
}

#[test]
fn an_unmasked_exception_is_delivered_at_the_next_waiting_instruction() {
    // fninit; fldcw [rbx]; fldz; fld1; fdivrp (0 into 1); fnstsw ax; fwait
    let code = [0xDB, 0xE3, 0xD9, 0x2B, 0xD9, 0xEE, 0xD9, 0xE8, 0xDE, 0xF1, 0xDF, 0xE0, 0x9B];
    let mut cpu = machine(&code);
    cpu.regs[3] = DATA;
    poke(&cpu, DATA, &[0x7B, 0x03]); // divide by zero unmasked
    let fault = run(&mut cpu).expect_err("#MF");
    assert_eq!(fault.vector, vector::MF);
    assert_eq!(cpu.rip(), testing::CODE + 12);
    assert_eq!(cpu.regs[0] as u16, BUSY | ES | ZE | 6 << 11); // both operands still there
    assert_eq!(cpu.x87.opcode, 0x6F1);
    assert_eq!(cpu.x87.instruction_pointer, testing::CODE + 8);
}

#[test]
fn without_cr0_ne_a_pending_exception_waits_unnoticed() {
    let mut cpu = machine(&[0x9B]);
    cpu.cr0 &= !cr::CR0_NE;
    (cpu.x87.control, cpu.x87.status) = (0x340, ZE);
    run(&mut cpu).expect("no fault");
}

#[test]
fn task_switched_makes_the_fpu_unavailable() {
    for code in [&[0xD9, 0xE8][..], &[0xDB, 0xE3], &[0x9B], &[0x0F, 0xAE, 0x03]] {
        let mut cpu = machine(code);
        cpu.regs[3] = DATA;
        cpu.cr0 |= cr::CR0_TS;
        assert_eq!(run(&mut cpu).expect_err("#NM").vector, vector::NM);
    }
}

#[test]
fn fnsave_and_frstor_keep_everything() {
    // fld1; fldpi; fnsave [rbx]; frstor [rbx]
    let cpu = ran(&[0xDB, 0xE3, 0xD9, 0xE8, 0xD9, 0xEB, 0xDD, 0x33, 0xDD, 0x23]);
    assert_eq!(peek::<12>(&cpu, DATA), [0x7F, 3, 0xFF, 0xFF, 0, 0x30, 0xFF, 0xFF, 0xFF, 0x0F, 0xFF, 0xFF]);
    assert_eq!((cpu.x87.top, cpu.x87.valid), (6, 0xC0));
    assert_eq!(cpu.x87.st(0), 0x4000_C90F_DAA2_2168_C235);
    assert_eq!(cpu.x87.st(1), 0x3FFF_8000_0000_0000_0000);
}

#[test]
fn an_image_restores_what_it_was_made_of() {
    let mut cpu = ran(&[0xDB, 0xE3, 0xD9, 0xE8, 0xD9, 0xEB]);
    (cpu.ymm[3].0, cpu.mxcsr) = ([1, 2, 3, 4], 0x1FA0);
    let image = xsave_image(&cpu);
    let mut other = machine(&[]);
    load_xsave_image(&mut other, &image);
    assert_eq!(xsave_image(&other), image);
    assert_eq!((other.ymm[3].0, other.mxcsr), ([1, 2, 3, 4], 0x1FA0));
    load_xsave_image(&mut other, &[]);
    assert_eq!((other.ymm[3].0, other.mxcsr, other.x87.control), ([0; 4], 0x1F80, 0x37F));
}
