//! Delivery of events in IA-32e mode.

use super::*;
use crate::x86::cpu::{RAX, flag};
use crate::x86::fault::vector;
use crate::x86::testing::{ABSENT, DATA};

const UD2: [u8; 2] = [0x0F, 0x0B];

#[test]
fn a_fault_pushes_an_aligned_frame_with_rf() {
    let mut cpu = guest(&UD2);
    cpu.regs[RSP] = STACK - 3;
    assert_eq!(stop(&mut cpu), Some(vector::UD));
    assert_eq!(cpu.regs[RSP], ((STACK - 3) & !15) - 40);
    assert_eq!(stacked(&cpu, 0), CODE);
    assert_eq!(stacked(&cpu, 1), u64::from(KERNEL_CODE));
    assert_eq!(stacked(&cpu, 2), flag::FIXED | flag::RF);
    assert_eq!(stacked(&cpu, 3), STACK - 3);
    assert_eq!(stacked(&cpu, 4), u64::from(KERNEL_DATA));
}

#[test]
fn a_page_fault_tells_its_address_and_rights() {
    let mut cpu = guest(&[0x88, 0x00]); // mov [rax], al
    cpu.regs[RAX] = ABSENT + 5;
    assert_eq!(stop(&mut cpu), Some(vector::PF));
    assert_eq!((cpu.cr2, stacked(&cpu, 0), stacked(&cpu, 1)), (ABSENT + 5, 2, CODE));
}

#[test]
fn a_software_interrupt_returns_behind_itself_and_has_no_error_code() {
    let mut cpu = guest(&[0xCD, 0x0D]); // int 13
    assert_eq!(stop(&mut cpu), Some(13));
    assert_eq!((stacked(&cpu, 0), stacked(&cpu, 1)), (CODE + 2, u64::from(KERNEL_CODE)));
}

#[test]
fn an_interrupt_stack_is_used_without_a_change_of_privilege() {
    let mut cpu = guest(&UD2);
    gate_64(&cpu, vector::UD, KERNEL_CODE, HANDLERS + 6, INTERRUPT_GATE, 1);
    assert_eq!(stop(&mut cpu), Some(vector::UD));
    assert_eq!((cpu.regs[RSP], stacked(&cpu, 3)), (IST1_STACK - 40, STACK));
    assert_eq!(cpu.segments[2].selector, KERNEL_DATA);
}

#[test]
fn from_ring_3_the_stack_switches_and_ss_becomes_null() {
    let mut cpu = guest(&UD2);
    to_user(&mut cpu);
    assert_eq!(stop(&mut cpu), Some(vector::UD));
    assert_eq!((cpu.cpl, cpu.segments[2].selector), (0, 0));
    assert_eq!(cpu.regs[RSP], RING0_STACK - 40);
    assert_eq!((stacked(&cpu, 1), stacked(&cpu, 4)), (u64::from(USER_CODE), u64::from(USER_DATA)));
}

#[test]
fn ring_3_needs_the_gates_dpl() {
    let mut cpu = guest(&[0xCD, 0x80]);
    to_user(&mut cpu);
    assert_eq!(stop(&mut cpu), Some(vector::GP));
    assert_eq!((stacked(&cpu, 0), stacked(&cpu, 1)), (0x80 << 3 | 2, CODE));
    let mut cpu = guest(&[0xCD, 0x80]);
    to_user(&mut cpu);
    gate_64(&cpu, 0x80, KERNEL_CODE, HANDLERS + 0x80, INTERRUPT_GATE | DPL_3, 0);
    assert_eq!(stop(&mut cpu), Some(0x80));
}

#[test]
fn a_gate_that_is_absent_or_of_a_wrong_type_is_named_by_the_error_code() {
    for (rights, expected) in [(0x0E, vector::NP), (0x85, vector::GP), (0x86, vector::GP)] {
        let mut cpu = guest(&UD2);
        gate_64(&cpu, vector::UD, KERNEL_CODE, HANDLERS, rights, 0);
        assert_eq!(stop(&mut cpu), Some(expected), "{rights:#x}");
        assert_eq!(stacked(&cpu, 0), 6 << 3 | 2 | 1);
    }
}

#[test]
fn a_contributory_fault_during_another_is_a_double_fault() {
    let mut cpu = guest(&[0x8E, 0xD8]); // mov ds, eax
    cpu.regs[RAX] = 0xFFF0;
    gate_64(&cpu, vector::GP, USER_DATA, HANDLERS, INTERRUPT_GATE, 0);
    assert_eq!(stop(&mut cpu), Some(vector::DF));
    assert_eq!((stacked(&cpu, 0), stacked(&cpu, 1)), (0, CODE));
}

#[test]
fn a_contributory_fault_during_a_benign_one_is_served_by_itself() {
    let mut cpu = guest(&UD2);
    gate_64(&cpu, vector::UD, USER_DATA, HANDLERS, INTERRUPT_GATE, 0);
    assert_eq!(stop(&mut cpu), Some(vector::GP));
    assert_eq!(stacked(&cpu, 0), u64::from(USER_DATA & !3) | 1);
}

#[test]
fn a_page_fault_on_the_new_stack_doubles_a_page_fault_but_not_a_general_protection() {
    for (code, expected) in [(&[0x88, 0x00][..], vector::DF), (&[0x8E, 0xD8], vector::PF)] {
        let mut cpu = guest(code);
        cpu.regs[RAX] = ABSENT + 0xFF0; // a selector beyond the GDT, too
        cpu.regs[RSP] = ABSENT + 0x800;
        for vector in [vector::DF, vector::PF] {
            gate_64(&cpu, vector, KERNEL_CODE, HANDLERS + u64::from(vector), INTERRUPT_GATE, 0);
        }
        gate_64(&cpu, expected, KERNEL_CODE, HANDLERS + u64::from(expected), INTERRUPT_GATE, 1);
        assert_eq!(stop(&mut cpu), Some(expected));
    }
}

#[test]
fn a_fault_that_cannot_be_delivered_at_all_shuts_the_processor_down() {
    let mut cpu = guest(&UD2);
    cpu.idtr.limit = 0;
    assert_eq!(cpu.run(), Exit::Shutdown);
}

#[test]
fn delivery_that_faults_leaves_no_trace() {
    let mut cpu = guest(&[0xCD, 0x20]);
    gate_64(&cpu, 0x20, KERNEL_CODE, 1 << 47, INTERRUPT_GATE, 0); // not canonical
    cpu.rflags |= flag::IF | flag::NT;
    assert_eq!(stop(&mut cpu), Some(vector::GP));
    assert_eq!((stacked(&cpu, 0), stacked(&cpu, 1)), (0, CODE));
    assert_eq!(stacked(&cpu, 3), flag::FIXED | flag::RF | flag::IF | flag::NT);
    assert_eq!(stacked(&cpu, 4), STACK);
}

#[test]
fn iret_to_ring_3_and_back_keeps_everything() {
    // iretq, and in ring 3 at DATA: int 0x80
    let mut cpu = guest(&[0x48, 0xCF]);
    to_user(&mut cpu);
    let kernel = |selector, attributes| SegmentState { selector, attributes, limit: u32::MAX, base: 0 };
    cpu.segments[1] = kernel(KERNEL_CODE, 0xA09B);
    cpu.segments[2] = kernel(KERNEL_DATA, 0xC093);
    cpu.refresh_mode();
    poke(&cpu, DATA, &[0xCD, 0x80]);
    gate_64(&cpu, 0x80, KERNEL_CODE, HANDLERS + 0x80, INTERRUPT_GATE | DPL_3, 0);
    let frame = [DATA, u64::from(USER_CODE), 0x202 | flag::DF, STACK - 0x100, u64::from(USER_DATA)];
    for (i, word) in frame.iter().enumerate() {
        poke(&cpu, STACK - 40 + 8 * i as u64, &word.to_le_bytes());
    }
    cpu.regs[RSP] = STACK - 40;
    assert_eq!(stop(&mut cpu), Some(0x80));
    for (i, word) in frame.iter().enumerate() {
        assert_eq!(stacked(&cpu, i as u64), if i == 0 { DATA + 2 } else { *word });
    }
}

#[test]
fn iret_refuses_what_no_return_may_load() {
    let bad = [
        (1 << 47, KERNEL_CODE, KERNEL_DATA, 0),    // not canonical
        (CODE, 0, KERNEL_DATA, 0),                 // null CS
        (CODE, KERNEL_DATA, KERNEL_DATA, 0x10),    // not code
        (CODE, USER_CODE & !3, KERNEL_DATA, 0x28), // DPL is not RPL
        (CODE, USER_CODE, KERNEL_DATA, 0x10),      // SS of another level
        (CODE, KERNEL_CODE, 0x100, 0x100),         // SS beyond the GDT
    ];
    for (rip, cs, ss, error) in bad {
        let mut cpu = guest(&[0x48, 0xCF]);
        for (i, word) in [rip, u64::from(cs), 2, STACK, u64::from(ss)].iter().enumerate() {
            poke(&cpu, STACK - 40 + 8 * i as u64, &word.to_le_bytes());
        }
        cpu.regs[RSP] = STACK - 40;
        assert_eq!(stop(&mut cpu), Some(vector::GP), "{cs:#x} {ss:#x}");
        assert_eq!((stacked(&cpu, 0), stacked(&cpu, 1)), (error, CODE), "{cs:#x} {ss:#x}");
        assert_eq!(stacked(&cpu, 4), STACK - 40);
    }
}

#[test]
fn a_32_bit_program_has_no_upper_half_of_rsp() {
    let mut cpu = guest(&[0x48, 0xCF]); // iretq
    to_user(&mut cpu);
    let kernel = |selector, attributes| SegmentState { selector, attributes, limit: u32::MAX, base: 0 };
    cpu.segments[1] = kernel(KERNEL_CODE, 0xA09B);
    cpu.segments[2] = kernel(KERNEL_DATA, 0xC093);
    cpu.refresh_mode();
    poke(&cpu, DATA, &[0x50, 0xCD, 0x80]); // push eax; int 0x80
    gate_64(&cpu, 0x80, KERNEL_CODE, HANDLERS + 0x80, INTERRUPT_GATE | DPL_3, 0);
    let frame =
        [DATA, u64::from(USER_CODE_32), 2, 0xFFFF_FFFF_0000_0000 | (STACK - 0x100), u64::from(USER_DATA)];
    for (i, word) in frame.iter().enumerate() {
        poke(&cpu, STACK - 40 + 8 * i as u64, &word.to_le_bytes());
    }
    cpu.regs[RSP] = STACK - 40;
    assert_eq!(stop(&mut cpu), Some(0x80));
    assert_eq!(stacked(&cpu, 3), STACK - 0x104);
}

#[test]
fn nmis_are_blocked_until_iret() {
    let mut cpu = guest(&[0x90]);
    assert_eq!(cpu.deliver_nmi(), None);
    assert!(cpu.nmi_blocked);
    poke(&cpu, HANDLERS + 2, &[0x48, 0xCF]);
    assert_eq!(stop(&mut cpu), None);
    assert!(!cpu.nmi_blocked);
}
