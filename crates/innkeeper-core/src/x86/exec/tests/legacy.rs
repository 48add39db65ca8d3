//! Real mode, virtual-8086 mode, call gates and segment checks.

use super::*;
use crate::x86::cpu::{RAX, RCX, flag};
use crate::x86::fault::{Fault, vector};
use crate::x86::testing::{DATA, machine_16, run};

fn fault(vector: u8, error: u32) -> Result<(), Fault> {
    Err(Fault { vector, error, address: 0 })
}

#[test]
fn a_real_mode_interrupt_goes_through_the_vector_table_and_back() {
    let mut cpu = machine_16(&[0xCD, 0x10]); // int 0x10
    poke(&cpu, 0x40, &[0x34, 0x12, 0x00, 0x20]);
    poke(&cpu, 0x2_1234, &[0xCF]); // iret
    cpu.rflags |= flag::IF | flag::CF;
    assert_eq!(run(&mut cpu), Ok(()));
    assert_eq!((cpu.rip(), cpu.regs[RSP], cpu.rflags), (2, 0x8000, flag::FIXED | flag::IF | flag::CF));
    assert_eq!(peek(&cpu, STACK - 6), [2, 0, 0x00, 0x10, 0x03, 0x02]);
}

#[test]
fn real_mode_keeps_limits_beyond_64_kib() {
    let mut cpu = machine_16(&[0x8E, 0xD8, 0x67, 0x8A, 0x01]); // mov ds, ax; mov al, [ecx]
    cpu.segments[3].limit = u32::MAX;
    (cpu.regs[RAX], cpu.regs[RCX]) = (0x2000, 0x1_0004);
    poke(&cpu, 0x3_0004, &[0x77]);
    assert_eq!(run(&mut cpu), Ok(()));
    assert_eq!(cpu.regs[RAX] & 0xFF, 0x77);
    cpu.segments[3].limit = 0xFFFF;
    cpu.regs[RIP] = 0;
    assert_eq!(run(&mut cpu), fault(vector::GP, 0));
}

#[test]
fn a_far_jump_leaves_real_mode() {
    let mut cpu = machine_16(&[0x0F, 0x01, 0xF0, 0x66, 0xEA, 0x10, 0, 1, 0, 8, 0]); // lmsw ax; jmp 8:CODE+10
    poke(&cpu, GDT + 8, &0x00CF_9B00_0000_FFFFu64.to_le_bytes());
    poke(&cpu, CODE + 0x10, &[0xB8, 1, 0, 0, 0, 0xF4]); // mov eax, 1: 5 bytes only in 32-bit code
    cpu.gdtr = TableState { base: GDT, limit: 0xF };
    cpu.regs[RAX] = 1;
    assert_eq!(run(&mut cpu), Ok(()));
    assert_eq!((cpu.rip(), cpu.bitness, cpu.regs[RAX]), (CODE + 0x15, 32, 1));
}

/// Ring-0 code that enters virtual-8086 mode at 1000:0 by IRET.
fn v86(code: &[u8], iopl: u64) -> Box<Cpu> {
    let mut cpu = guest_32(&[0xCF]);
    let words = [0, 0x2000, flag::VM | flag::FIXED | iopl << 12, 0x800, 0x3000, 0x11, 0x12, 0x13, 0x14];
    for (i, word) in words.iter().enumerate() {
        poke(&cpu, STACK - 36 + 4 * i as u64, &(*word as u32).to_le_bytes());
    }
    cpu.regs[RSP] = STACK - 36;
    poke(&cpu, DATA, code);
    cpu
}

#[test]
fn virtual_8086_mode_begins_by_iret_and_ends_by_an_interrupt() {
    let mut cpu = v86(&[0x0F, 0x0B], 0);
    assert_eq!(stop(&mut cpu), Some(vector::UD));
    assert_eq!((cpu.cpl, cpu.v86(), cpu.segments[3].selector), (0, false, 0));
    let frame: Vec<u32> = (0..9).map(|i| stacked_32(&cpu, i)).collect();
    let flags = (flag::VM | flag::FIXED | flag::RF) as u32;
    assert_eq!(frame, [0, 0x2000, flags, 0x800, 0x3000, 0x11, 0x12, 0x13, 0x14]);
    assert_eq!(cpu.regs[RSP], RING0_STACK - 36);
}

#[test]
fn virtual_8086_mode_traps_what_iopl_guards() {
    for code in [&[0xCD, 0x20][..], &[0xFA], &[0xFB], &[0xCF], &[0xF4], &[0x0F, 0x20, 0xC0]] {
        let mut cpu = v86(code, 0);
        assert_eq!(stop(&mut cpu), Some(vector::GP), "{code:x?}");
        assert_eq!((stacked_32(&cpu, 0), stacked_32(&cpu, 1)), (0, 0));
    }
    let mut cpu = v86(&[0xCD, 0x20], 3);
    gate_32(&cpu, 0x20, KERNEL_CODE, HANDLERS as u32 + 0x20, INTERRUPT_GATE | DPL_3);
    assert_eq!(stop(&mut cpu), Some(0x20));
    assert_eq!(stacked_32(&cpu, 0), 2);
    // LLDT and its like do not exist there.
    let mut cpu = v86(&[0x0F, 0x00, 0xD0], 3);
    assert_eq!(stop(&mut cpu), Some(vector::UD));
}

#[test]
fn a_call_gate_switches_stacks_and_copies_parameters() {
    // ring 3: call FREE:0; handler: retf 8, back to hlt-by-int.
    let code = [0x9A, 0, 0, 0, 0, FREE as u8 | 3, 0, 0xCD, 0x80];
    let mut cpu = guest_32(&code);
    to_user(&mut cpu);
    gate_32(&cpu, 0x80, KERNEL_CODE, HANDLERS as u32 + 0x80, INTERRUPT_GATE | DPL_3);
    let gate = gate(KERNEL_CODE, DATA as u32, 0xEC, 2);
    poke(&cpu, GDT + u64::from(FREE), &gate.to_le_bytes());
    // mov eax, [esp+8]; mov ecx, [esp+12]; retf 8
    poke(&cpu, DATA, &[0x8B, 0x44, 0x24, 8, 0x8B, 0x4C, 0x24, 12, 0xCA, 8, 0]);
    poke(&cpu, STACK - 8, &[0x11, 0, 0, 0, 0x22, 0, 0, 0]);
    cpu.regs[RSP] = STACK - 8;
    assert_eq!(stop(&mut cpu), Some(0x80));
    assert_eq!((cpu.regs[RAX], cpu.regs[RCX]), (0x11, 0x22));
    assert_eq!((stacked_32(&cpu, 1), stacked_32(&cpu, 3)), (u32::from(USER_CODE_32), STACK as u32));
}

#[test]
fn a_64_bit_call_gate_enters_ring_0_with_a_null_stack_segment() {
    let mut cpu = guest(&[0xFF, 0x18]); // call far [rax]
    to_user(&mut cpu);
    poke(&cpu, DATA, &[0, 0, 0, 0, FREE as u8 | 3, 0]);
    poke(&cpu, GDT + u64::from(FREE), &gate(KERNEL_CODE, HANDLERS as u32 + 0x77, 0xEC, 0).to_le_bytes());
    cpu.regs[RAX] = DATA;
    assert_eq!(stop(&mut cpu), Some(0x77));
    assert_eq!((cpu.cpl, cpu.segments[2].selector, cpu.regs[RSP]), (0, 0, RING0_STACK - 32));
    assert_eq!((stacked(&cpu, 0), stacked(&cpu, 1)), (CODE + 2, u64::from(USER_CODE)));
    assert_eq!((stacked(&cpu, 2), stacked(&cpu, 3)), (STACK, u64::from(USER_DATA)));
}

#[test]
fn data_segments_are_checked_when_loaded() {
    let cases = [
        (0, Ok(())),
        (3, Ok(())),
        (KERNEL_DATA | 3, fault(vector::GP, KERNEL_DATA.into())),
        (USER_DATA, Ok(())),
        (TSS_SELECTOR, fault(vector::GP, TSS_SELECTOR.into())),
        (0x100, fault(vector::GP, 0x100)),
        (4, fault(vector::GP, 4)), // no LDT
        (FREE, fault(vector::NP, FREE.into())),
    ];
    for (selector, expected) in cases {
        let mut cpu = guest_32(&[0x8E, 0xC0]); // mov es, eax
        describe(&cpu, FREE, 0, 0xFFFF, 0x13);
        cpu.regs[RAX] = selector.into();
        assert_eq!(run(&mut cpu), expected, "{selector:#x}");
    }
}

#[test]
fn stack_segments_are_checked_when_loaded() {
    let cases = [
        (0, fault(vector::GP, 0)),
        (KERNEL_CODE, fault(vector::GP, KERNEL_CODE.into())),
        (USER_DATA, fault(vector::GP, (USER_DATA & !3).into())),
        (FREE, fault(vector::SS, FREE.into())),
        (KERNEL_DATA, Ok(())),
    ];
    for (selector, expected) in cases {
        let mut cpu = guest_32(&[0x8E, 0xD0]); // mov ss, eax
        describe(&cpu, FREE, 0, 0xFFFF, 0x13);
        cpu.regs[RAX] = selector.into();
        assert_eq!(run(&mut cpu), expected, "{selector:#x}");
    }
    // In 64-bit code ring 0 may have a null one.
    let mut cpu = guest(&[0x8E, 0xD0]);
    assert_eq!(run(&mut cpu), Ok(()));
    assert_eq!(cpu.cpl, 0);
}

#[test]
fn loading_a_segment_sets_its_accessed_flag() {
    let mut cpu = guest_32(&[0x8E, 0xC0]);
    describe(&cpu, FREE, 0, 0xFFFF, 0x92);
    cpu.regs[RAX] = FREE.into();
    assert_eq!(run(&mut cpu), Ok(()));
    assert_eq!(peek(&cpu, GDT + u64::from(FREE) + 5), [0x93]);
}

#[test]
fn lar_lsl_and_verr_see_what_the_level_may() {
    // lar ebx, eax; lsl ecx, eax; verw ax; setz dl
    let code = [0x0F, 0x02, 0xD8, 0x0F, 0x03, 0xC8, 0x0F, 0x00, 0xE8, 0x0F, 0x94, 0xC2];
    let cases = [
        (KERNEL_DATA, 0x00CF_9300, 0xFFFF_FFFF, 1),
        (KERNEL_CODE, 0x00AF_9B00, 0xFFFF_FFFF, 0),
        (TSS_SELECTOR, 0x0000_8B00, 0x67, 0),
        (0, 0, 0, 0),
        (KERNEL_DATA | 3, 0, 0, 0),
    ];
    for (selector, rights, limit, writable) in cases {
        let mut cpu = guest(&code);
        cpu.regs[RAX] = selector.into();
        assert_eq!(run(&mut cpu), Ok(()));
        assert_eq!((cpu.regs[3], cpu.regs[1], cpu.regs[2]), (rights, limit, writable), "{selector:#x}");
    }
}

#[test]
fn ltr_marks_the_tss_busy_and_refuses_it_then() {
    let mut cpu = guest(&[0x0F, 0x00, 0xD8]); // ltr ax
    describe(&cpu, TSS_SELECTOR, TSS as u32, 0x67, 0x89);
    cpu.regs[RAX] = TSS_SELECTOR.into();
    assert_eq!(run(&mut cpu), Ok(()));
    assert_eq!(peek(&cpu, GDT + u64::from(TSS_SELECTOR) + 5), [0x8B]);
    restart(&mut cpu);
    assert_eq!(run(&mut cpu), fault(vector::GP, TSS_SELECTOR.into()));
}
