//! Whole-processor tests of the system families: a guest with descriptor tables whose every handler
//! is a HLT, so that where it stops says which vector was delivered.

mod control;
mod debug;
mod events;
mod legacy;
mod tasks;

use crate::exit::Exit;
use crate::state::{SegmentState, TableState};
use crate::x86::cpu::{Cpu, RIP, RSP};
use crate::x86::op::seg;
use crate::x86::segment as attr;
use crate::x86::testing::{CODE, STACK, machine, machine_32, peek, poke};

pub const GDT: u64 = 0x8000;
pub const IDT: u64 = 0x9000;
pub const TSS: u64 = 0xA000;
/// One HLT per vector.
pub const HANDLERS: u64 = 0xC000;
/// The stack that the TSS names for ring 0, and interrupt stack 1.
pub const RING0_STACK: u64 = 0x7000;
pub const IST1_STACK: u64 = 0x7800;

// Selectors of the test GDT.
pub const KERNEL_CODE: u16 = 0x08;
pub const KERNEL_DATA: u16 = 0x10;
pub const USER_CODE_32: u16 = 0x1B;
pub const USER_DATA: u16 = 0x23;
pub const USER_CODE: u16 = 0x2B;
pub const TSS_SELECTOR: u16 = 0x30;
/// Free for a test; the TSS takes 16 bytes.
pub const FREE: u16 = 0x40;

pub const INTERRUPT_GATE: u8 = 0x8E;
pub const DPL_3: u8 = 0x60;

/// A 64-bit guest with GDT, IDT and TSS.
pub fn guest(code: &[u8]) -> Box<Cpu> {
    let mut cpu = machine(code);
    let entries = [
        0,
        0x00AF_9B00_0000_FFFF,
        0x00CF_9300_0000_FFFF,
        0x00CF_FB00_0000_FFFF,
        0x00CF_F300_0000_FFFF,
        0x00AF_FB00_0000_FFFF,
    ];
    tables(&mut cpu, &entries);
    for vector in 0..=255 {
        gate_64(&cpu, vector, KERNEL_CODE, HANDLERS + u64::from(vector), INTERRUPT_GATE, 0);
    }
    poke(&cpu, TSS + 4, &RING0_STACK.to_le_bytes());
    poke(&cpu, TSS + 0x24, &IST1_STACK.to_le_bytes());
    cpu
}

/// A 32-bit guest with GDT, IDT and TSS, no paging.
pub fn guest_32(code: &[u8]) -> Box<Cpu> {
    let mut cpu = machine_32(code);
    let entries = [
        0,
        0x00CF_9B00_0000_FFFF,
        0x00CF_9300_0000_FFFF,
        0x00CF_FB00_0000_FFFF,
        0x00CF_F300_0000_FFFF,
        0x00CF_FB00_0000_FFFF,
    ];
    tables(&mut cpu, &entries);
    for vector in 0..=255 {
        gate_32(&cpu, vector, KERNEL_CODE, (HANDLERS + u64::from(vector)) as u32, INTERRUPT_GATE);
    }
    poke(&cpu, TSS + 4, &(RING0_STACK as u32).to_le_bytes());
    poke(&cpu, TSS + 8, &KERNEL_DATA.to_le_bytes());
    cpu
}

fn tables(cpu: &mut Cpu, entries: &[u64]) {
    for (i, entry) in entries.iter().enumerate() {
        poke(cpu, GDT + 8 * i as u64, &entry.to_le_bytes());
    }
    describe(cpu, TSS_SELECTOR, TSS as u32, 0x67, 0x8B);
    poke(cpu, HANDLERS, &[0xF4; 256]);
    cpu.gdtr = TableState { base: GDT, limit: 0xFF };
    cpu.idtr = TableState { base: IDT, limit: 0xFFF };
    cpu.tr = SegmentState { selector: TSS_SELECTOR, attributes: 0x8B, limit: 0x67, base: TSS };
    cpu.ldtr = SegmentState { attributes: attr::UNUSABLE, ..SegmentState::default() };
}

/// Writes a segment descriptor with byte granularity.
pub fn describe(cpu: &Cpu, selector: u16, base: u32, limit: u32, rights: u8) {
    let (base, limit) = (u64::from(base), u64::from(limit));
    let raw = limit & 0xFFFF
        | (base & 0xFF_FFFF) << 16
        | u64::from(rights) << 40
        | (limit >> 16 & 0xF) << 48
        | (base >> 24) << 56;
    poke(cpu, GDT + u64::from(selector & !7), &raw.to_le_bytes());
}

pub fn gate_64(cpu: &Cpu, vector: u8, selector: u16, offset: u64, rights: u8, ist: u8) {
    let at = IDT + 16 * u64::from(vector);
    poke(cpu, at, &gate(selector, offset as u32, rights, ist).to_le_bytes());
    poke(cpu, at + 8, &(offset >> 32).to_le_bytes());
}

pub fn gate_32(cpu: &Cpu, vector: u8, selector: u16, offset: u32, rights: u8) {
    poke(cpu, IDT + 8 * u64::from(vector), &gate(selector, offset, rights, 0).to_le_bytes());
}

/// A gate: `low` is the byte below the rights (IST or parameter count).
pub fn gate(selector: u16, offset: u32, rights: u8, low: u8) -> u64 {
    let offset = u64::from(offset);
    offset & 0xFFFF
        | u64::from(selector) << 16
        | u64::from(low) << 32
        | u64::from(rights) << 40
        | offset >> 16 << 48
}

/// Drops to ring 3 in 64-bit code, as if a kernel had started a program.
pub fn to_user(cpu: &mut Cpu) {
    let flat = |selector, attributes| SegmentState { selector, attributes, limit: u32::MAX, base: 0 };
    for number in [seg::ES, seg::SS, seg::DS] {
        cpu.segments[number as usize] = flat(USER_DATA, 0xC0F3);
    }
    let code = if cpu.lma() { flat(USER_CODE, 0xA0FB) } else { flat(USER_CODE_32, 0xC0FB) };
    cpu.segments[seg::CS as usize] = code;
    for page in 0..0x80u64 {
        // All pages are the user's too; only 64-bit guests have tables here.
        if cpu.lma() {
            let entry = u64::from_le_bytes(peek(cpu, 0x4000 + 8 * page)) | 4;
            poke(cpu, 0x4000 + 8 * page, &entry.to_le_bytes());
        }
    }
    if cpu.lma() {
        for table in [0x1000, 0x2000, 0x3000] {
            let entry = u64::from_le_bytes(peek(cpu, table)) | 4;
            poke(cpu, table, &entry.to_le_bytes());
        }
    }
    cpu.flush_tlb();
    cpu.refresh_mode();
}

/// Runs until a HLT with interrupts off; tells whether it was a handler's, and whose.
pub fn stop(cpu: &mut Cpu) -> Option<u8> {
    assert_eq!(cpu.run(), Exit::Halt);
    let at = cpu.rip().wrapping_sub(1);
    cpu.activity = crate::state::Activity::Runnable;
    (HANDLERS..HANDLERS + 256).contains(&at).then(|| (at - HANDLERS) as u8)
}

/// The quadword `index` above the stack's top.
pub fn stacked(cpu: &Cpu, index: u64) -> u64 {
    u64::from_le_bytes(peek(cpu, cpu.regs[RSP] + 8 * index))
}

pub fn stacked_32(cpu: &Cpu, index: u64) -> u32 {
    u32::from_le_bytes(peek(cpu, cpu.regs[RSP] + 4 * index))
}

/// Starts over at `CODE` on the usual stack, at ring 0.
pub fn restart(cpu: &mut Cpu) {
    cpu.regs[RIP] = CODE;
    cpu.regs[RSP] = STACK;
}
