//! #DB in its many forms.

use super::*;
use crate::x86::cpu::{RAX, cr, flag};
use crate::x86::fault::vector;
use crate::x86::testing::DATA;

const BS: u64 = 1 << 14;
const BD: u64 = 1 << 13;
const DR6: u64 = 0xFFFF_0FF0;

#[test]
fn a_single_step_traps_behind_one_instruction() {
    let mut cpu = guest(&[0x90, 0x90]);
    cpu.rflags |= flag::TF;
    assert_eq!(stop(&mut cpu), Some(vector::DB));
    assert_eq!((cpu.dr[6], stacked(&cpu, 0)), (DR6 | BS, CODE + 1));
    assert_eq!(stacked(&cpu, 2), flag::FIXED | flag::TF);
}

#[test]
fn a_load_of_ss_holds_the_trap_back() {
    let mut cpu = guest(&[0x8E, 0xD0, 0x90, 0x90]); // mov ss, eax
    cpu.regs[RAX] = u64::from(KERNEL_DATA);
    cpu.rflags |= flag::TF;
    assert_eq!(stop(&mut cpu), Some(vector::DB));
    assert_eq!(stacked(&cpu, 0), CODE + 3);
}

#[test]
fn a_software_interrupt_does_not_trap_and_its_handler_runs_free() {
    let mut cpu = guest(&[0xCD, 0x20]);
    cpu.rflags |= flag::TF;
    assert_eq!(stop(&mut cpu), Some(0x20));
    assert_eq!(stacked(&cpu, 2), flag::FIXED | flag::TF);
}

#[test]
fn a_system_call_that_masks_tf_does_not_trap() {
    for (mask, expected) in [(flag::TF, None), (0, Some(vector::DB))] {
        let mut cpu = guest(&[0x0F, 0x05]);
        cpu.msrs.star = u64::from(KERNEL_CODE) << 32;
        cpu.msrs.lstar = DATA;
        cpu.msrs.sfmask = mask;
        poke(&cpu, DATA, &[0xF4]);
        cpu.rflags |= flag::TF;
        assert_eq!(stop(&mut cpu), expected);
    }
}

#[test]
fn an_instruction_breakpoint_is_a_fault_that_rf_suppresses() {
    let mut cpu = guest(&[0x90, 0x90]);
    (cpu.dr[0], cpu.dr[7]) = (CODE + 1, 0x402);
    assert_eq!(stop(&mut cpu), Some(vector::DB));
    assert_eq!((cpu.dr[6], stacked(&cpu, 0)), (DR6 | 1, CODE + 1));
    restart(&mut cpu);
    cpu.regs[RIP] = CODE + 1;
    cpu.rflags |= flag::RF;
    assert_eq!(stop(&mut cpu), None);
    assert_eq!(cpu.rflags & flag::RF, 0);
}

#[test]
fn a_data_breakpoint_traps_behind_the_access() {
    for (kind, code, hits) in [(1, 0x88, true), (1, 0x8A, false), (3, 0x8A, true)] {
        let mut cpu = guest(&[code, 0x00, 0x90]); // mov [rax], al; or the reverse
        cpu.regs[RAX] = DATA + 1;
        (cpu.dr[1], cpu.dr[7]) = (DATA, 0x408 | kind << 20 | 3 << 22);
        assert_eq!(stop(&mut cpu), hits.then_some(vector::DB));
        if hits {
            assert_eq!((cpu.dr[6], stacked(&cpu, 0)), (DR6 | 2, CODE + 2));
        }
    }
}

#[test]
fn an_io_breakpoint_needs_cr4_de() {
    for de in [0, cr::CR4_DE] {
        let mut cpu = guest(&[0xE6, 0x80, 0x90]); // out 0x80, al
        cpu.cr4 |= de;
        (cpu.dr[0], cpu.dr[7]) = (0x80, 0x402 | 2 << 16);
        assert_eq!(stop(&mut cpu), (de != 0).then_some(vector::DB));
    }
}

#[test]
fn guarded_debug_registers_fault_once() {
    let mut cpu = guest(&[0x0F, 0x21, 0xC0]); // mov rax, dr0
    cpu.dr[7] |= BD;
    assert_eq!(stop(&mut cpu), Some(vector::DB));
    assert_eq!((cpu.dr[6] & BD, cpu.dr[7] & BD, stacked(&cpu, 0)), (BD, 0, CODE));
    restart(&mut cpu);
    assert_eq!(stop(&mut cpu), None);
}

#[test]
fn dr4_is_dr6_unless_cr4_de() {
    let mut cpu = guest(&[0x0F, 0x21, 0xE0]); // mov rax, dr4
    cpu.dr[6] |= BS;
    assert_eq!(stop(&mut cpu), None);
    assert_eq!(cpu.regs[RAX], DR6 | BS);
    restart(&mut cpu);
    cpu.cr4 |= cr::CR4_DE;
    assert_eq!(stop(&mut cpu), Some(vector::UD));
}

#[test]
fn debug_registers_keep_their_fixed_bits() {
    let mut cpu = guest(&[0x0F, 0x23, 0xF0, 0x0F, 0x23, 0xF9]); // mov dr6, rax; mov dr7, rcx
    (cpu.regs[0], cpu.regs[1]) = (0, 0xFFFF_DC00);
    assert_eq!(stop(&mut cpu), None);
    assert_eq!((cpu.dr[6], cpu.dr[7]), (DR6, 0xFFFF_0400));
    restart(&mut cpu);
    cpu.regs[0] = 1 << 32;
    assert_eq!(stop(&mut cpu), Some(vector::GP));
}

#[test]
fn int1_is_a_trap_that_asks_no_privilege_and_leaves_dr6() {
    let mut cpu = guest(&[0xF1]);
    to_user(&mut cpu);
    assert_eq!(stop(&mut cpu), Some(vector::DB));
    assert_eq!((cpu.dr[6], stacked(&cpu, 0)), (DR6, CODE + 1));
}
