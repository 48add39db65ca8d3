//! Task switches. The `tasks` guest has more of them, with a second opinion.

use super::*;
use crate::x86::cpu::{RAX, cr, flag};
use crate::x86::fault::vector;
use crate::x86::testing::DATA;

const OTHER: u64 = 0xB000;

/// A guest with a second 32-bit TSS at `FREE`, whose task begins at `DATA`.
fn two_tasks(code: &[u8], rights: u8, limit: u32) -> Box<Cpu> {
    let cpu = guest_32(code);
    describe(&cpu, FREE, OTHER as u32, limit, rights);
    let words = [(0x20, DATA as u32), (0x24, 2), (0x28, 0xAAAA), (0x38, STACK as u32 - 0x1000)];
    for (at, value) in words {
        poke(&cpu, OTHER + at, &value.to_le_bytes());
    }
    for i in 0..6 {
        let selector = if i == 1 { KERNEL_CODE } else { KERNEL_DATA };
        poke(&cpu, OTHER + 0x48 + 4 * i, &selector.to_le_bytes());
    }
    cpu
}

const CALL: [u8; 7] = [0x9A, 0, 0, 0, 0, FREE as u8, 0];
const JUMP: [u8; 7] = [0xEA, 0, 0, 0, 0, FREE as u8, 0];

#[test]
fn a_call_nests_and_iret_returns() {
    let mut cpu = two_tasks(&CALL, 0x89, 0x67);
    poke(&cpu, DATA, &[0xCF]); // iret
    cpu.regs[RAX] = 0x1111;
    assert_eq!(stop(&mut cpu), None);
    assert_eq!((cpu.rip(), cpu.regs[RAX], cpu.tr.selector), (CODE + 8, 0x1111, TSS_SELECTOR));
    assert_eq!(cpu.rflags & flag::NT, 0);
    assert_eq!(cpu.cr0 & cr::CR0_TS, cr::CR0_TS);
    assert_eq!(peek(&cpu, OTHER), TSS_SELECTOR.to_le_bytes());
    assert_eq!(peek(&cpu, GDT + u64::from(FREE) + 5), [0x89]);
    assert_eq!(peek(&cpu, GDT + u64::from(TSS_SELECTOR) + 5), [0x8B]);
}

#[test]
fn a_jump_leaves_the_old_task_idle() {
    let mut cpu = two_tasks(&JUMP, 0x89, 0x67);
    poke(&cpu, DATA, &[0xF4]);
    assert_eq!(stop(&mut cpu), None);
    assert_eq!((cpu.rip(), cpu.regs[RAX], cpu.rflags & flag::NT), (DATA + 1, 0xAAAA, 0));
    assert_eq!(peek(&cpu, GDT + u64::from(TSS_SELECTOR) + 5), [0x89]);
    assert_eq!(u32::from_le_bytes(peek(&cpu, TSS + 0x20)), CODE as u32 + 7);
}

#[test]
fn a_task_that_is_busy_absent_or_too_short_is_refused_in_the_old_one() {
    for (rights, limit, expected) in [
        (0x8B, 0x67, vector::GP),
        (0x09, 0x67, vector::NP),
        (0x89, 0x66, vector::TS),
        (0x82, 0x67, vector::GP),
    ] {
        let mut cpu = two_tasks(&CALL, rights, limit);
        assert_eq!(stop(&mut cpu), Some(expected), "{rights:#x}");
        assert_eq!((stacked_32(&cpu, 0), stacked_32(&cpu, 1)), (FREE.into(), CODE as u32));
        assert_eq!(cpu.tr.selector, TSS_SELECTOR);
    }
}

#[test]
fn a_bad_segment_faults_in_the_new_task() {
    let mut cpu = two_tasks(&JUMP, 0x89, 0x67);
    poke(&cpu, OTHER + 0x54, &0x100u16.to_le_bytes()); // DS
    assert_eq!(stop(&mut cpu), Some(vector::TS));
    assert_eq!(cpu.tr.selector, FREE);
    assert_eq!((stacked_32(&cpu, 0), stacked_32(&cpu, 1)), (0x100, DATA as u32));
}

#[test]
fn a_fault_through_a_task_gate_pushes_its_error_code_there() {
    let mut cpu = two_tasks(&[0x8E, 0xD8], 0x89, 0x67); // mov ds, eax
    poke(&cpu, DATA, &[0xF4]);
    gate_32(&cpu, vector::GP, FREE, 0, 0x85);
    cpu.regs[RAX] = 0x100;
    assert_eq!(stop(&mut cpu), None);
    assert_eq!((cpu.tr.selector, stacked_32(&cpu, 0)), (FREE, 0x100));
    assert_eq!(cpu.regs[RSP], STACK - 0x1004);
    assert_eq!(cpu.rflags & flag::NT, flag::NT);
    assert_eq!(u32::from_le_bytes(peek(&cpu, TSS + 0x20)), CODE as u32);
}

#[test]
fn the_trap_flag_of_a_tss_raises_a_debug_trap() {
    let mut cpu = two_tasks(&JUMP, 0x89, 0x67);
    poke(&cpu, OTHER + 0x64, &[1]);
    assert_eq!(stop(&mut cpu), Some(vector::DB));
    assert_eq!((cpu.dr[6] & 1 << 15, stacked_32(&cpu, 0)), (1 << 15, DATA as u32));
}

#[test]
fn a_16_bit_task_has_16_bit_registers() {
    let mut cpu = guest_32(&JUMP);
    describe(&cpu, FREE, OTHER as u32, 0x2B, 0x81);
    describe(&cpu, FREE + 8, 0x2_0000, 0xFFFF, 0x9B);
    for (at, value) in [(0xE, 4u16), (0x10, 2), (0x12, 0x7777), (0x1A, 0x100)] {
        poke(&cpu, OTHER + at, &value.to_le_bytes());
    }
    for i in 0..4 {
        let selector = if i == 1 { FREE + 8 } else { KERNEL_DATA };
        poke(&cpu, OTHER + 0x22 + 2 * i, &selector.to_le_bytes());
    }
    poke(&cpu, DATA + 4, &[0xF4]);
    assert_eq!(stop(&mut cpu), None);
    assert_eq!((cpu.rip(), cpu.regs[RAX], cpu.bitness), (5, 0x7777, 16));
    assert_eq!(u32::from_le_bytes(peek(&cpu, TSS + 0x20)), CODE as u32 + 7);
}

#[test]
fn a_task_may_be_a_virtual_8086_one() {
    let mut cpu = two_tasks(&JUMP, 0x89, 0x67);
    poke(&cpu, OTHER + 0x20, &[0, 0, 0, 0, 2, 0, 2, 0]);
    for i in 0..6 {
        poke(&cpu, OTHER + 0x48 + 4 * i, &0x2000u16.to_le_bytes());
    }
    poke(&cpu, OTHER + 4, &(RING0_STACK as u32).to_le_bytes());
    poke(&cpu, OTHER + 8, &KERNEL_DATA.to_le_bytes());
    poke(&cpu, DATA, &[0x0F, 0x0B]);
    assert_eq!(stop(&mut cpu), Some(vector::UD));
    assert_eq!((stacked_32(&cpu, 1), u64::from(stacked_32(&cpu, 2)) & flag::VM), (0x2000, flag::VM));
}
