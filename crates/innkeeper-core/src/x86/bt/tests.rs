//! Translated code in small guests that run to a HLT.

use super::Settings;
use crate::exit::Exit;
use crate::memory::PAGE_SIZE;
use crate::state::Activity;
use crate::x86::cpu::{RAX, RBX, RIP};
use crate::x86::testing::{CODE, translating};

/// Found by a kernel that patched itself on two vCPUs: cutting the chain of a forgotten block's first jump
/// damaged the jump that had been put over it.
#[test]
fn a_forgotten_block_that_begins_with_a_chained_jump_leads_out() {
    // lea rbx,[rip+f]; mov ecx,3; again: xor eax,eax; call rbx; sub ecx,1; jnz again
    let calls =
        [0x48, 0x8D, 0x1D, 21, 0, 0, 0, 0xB9, 3, 0, 0, 0, 0x31, 0xC0, 0xFF, 0xD3, 0x83, 0xE9, 1, 0x75, 0xF7];
    // mov byte [rbx],0x84; call rbx; jmp end
    let change = [0xC6, 3, 0x84, 0xFF, 0xD3, 0xEB, 6];
    // f: test al,al; jz over; ret; over: ret; end:
    let f = [0x84, 0xC0, 0x74, 1, 0xC3, 0xC3];
    let Some(mut cpu) = translating(&[&calls[..], &change, &f].concat(), Settings::default()) else { return };
    assert!(matches!(cpu.run(), Exit::Halt));
    assert_eq!(cpu.stats.code_invalidations.get(), 1);
}

/// Found by kvm-unit-tests (eventinj, apic): no block ran while an NMI was held back.
#[test]
fn an_nmi_that_is_held_back_stops_nobody() {
    let Some(mut cpu) = translating(&[0xFF, 0xC0], Settings::default()) else { return }; // inc eax
    cpu.nmi_blocked = true;
    cpu.platform.fabric.signal_msi(0xFEE0_0000, 0x400);
    assert!(matches!(cpu.run(), Exit::Halt));
    assert_eq!(cpu.regs[RAX], 1);
}

/// Found by a kernel that traced itself on two vCPUs: one had met a breakpoint's INT3 when the other wrote the
/// first byte of a longer instruction over it, and took that one byte for the instruction.
#[test]
fn an_instruction_for_the_interpreter_is_what_was_translated() {
    // xor ebx,ebx; test eax,eax; jz end; str ebx; inc ebx; end:
    let code = [0x31, 0xDB, 0x85, 0xC0, 0x74, 5, 0x0F, 0, 0xCB, 0xFF, 0xC3];
    let Some(mut cpu) = translating(&code, Settings::default()) else { return };
    assert!(matches!(cpu.run(), Exit::Halt));
    // As another vCPU does in the moment before this one is told.
    let memory = &cpu.platform.memory;
    let page = memory.page_pointer(memory.page_index(CODE).unwrap());
    // SAFETY: within the page that holds the snippet.
    unsafe { page.add((CODE % PAGE_SIZE) as usize + 7).write(0x0B) };
    (cpu.regs[RIP], cpu.regs[RAX], cpu.activity) = (CODE, 1, Activity::Runnable);
    assert!(matches!(cpu.run(), Exit::Halt));
    assert_eq!(cpu.regs[RBX], 1);
}

/// What is beside code is written without leaving, but not what the block itself is made of.
#[test]
fn a_block_that_changes_itself_is_left() {
    // movl $5,[rip+1]; mov eax,1
    let store = [0xC7, 5, 1, 0, 0, 0, 5, 0, 0, 0, 0xB8, 1, 0, 0, 0];
    // mov bl,al; lea rdi,[rip+9]; mov al,0x90; mov ecx,2; rep stosb; inc ebx
    let fill =
        [0x88, 0xC3, 0x48, 0x8D, 0x3D, 9, 0, 0, 0, 0xB0, 0x90, 0xB9, 2, 0, 0, 0, 0xF3, 0xAA, 0xFF, 0xC3];
    let Some(mut cpu) = translating(&[&store[..], &fill].concat(), Settings::default()) else { return };
    assert!(matches!(cpu.run(), Exit::Halt));
    assert_eq!(cpu.regs[RBX], 5);
}

/// Found by GRUB's printf, as Debian builds it for UEFI: a comparison that all cases of a switch begin with is moved by the compiler to before
/// the jump through the table.
#[test]
fn flags_go_with_a_jump_through_a_table() {
    // lea rdx,[rip+target]; lea rdi,[rip+512]; mov [rdi],rdx; xor esi,esi; xor ebx,ebx; mov ecx,3; again: cmp ecx,100
    let before = |jump: u8| {
        [
            [0x48, 0x8D, 0x15, 22 + jump, 0, 0, 0, 0x48, 0x8D, 0x3D, 0, 2, 0, 0, 0x48, 0x89, 0x17].as_slice(),
            &[0x31, 0xF6, 0x31, 0xDB, 0xB9, 3, 0, 0, 0, 0x83, 0xF9, 100],
        ]
        .concat()
    };
    for jump in [&[0xFF, 0xE2][..], &[0xFF, 0x24, 0xF7], &[0xFF, 0x27], &[0x48, 0x8B, 7, 0xFF, 0xE0]] {
        let again = 0xF5 - jump.len() as u8;
        // target: jnb over; inc ebx; over: dec ecx; jnz again
        let target = [0x73, 2, 0xFF, 0xC3, 0xFF, 0xC9, 0x75, again];
        let code = [&before(jump.len() as u8)[..], jump, &target].concat();
        let Some(mut cpu) = translating(&code, Settings::default()) else { return };
        assert!(matches!(cpu.run(), Exit::Halt));
        assert_eq!(cpu.regs[RBX], 3, "{jump:02X?}");
    }
}
