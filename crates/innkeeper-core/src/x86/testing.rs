//! A bare machine for unit tests of handlers: one vCPU, some RAM, no devices and no IDT. A snippet
//! is executed instruction by instruction through the decoder and the handler table until it
//! reaches the HLT that is put behind it; a fault ends it and is handed to the test.
//!
//! Left out: blocks, interrupts and delivery of exceptions; tests of those use `Cpu::run`.

pub mod native;

use std::sync::Arc;

use iced_x86::Code;

use super::attention::{Attention, WRITTEN};
use super::bt::{self, Translator};
use super::cpu::{Cpu, Platform, RIP, RSP, cr};
use super::cpuid::CpuidTable;
use super::fault::{Fault, Stop};
use super::op::seg;
use super::run::CodeGuard;
use super::segment as attr;
use crate::bus::Bus;
use crate::clock::Clock;
use crate::irq::Fabric;
use crate::memory::{CodeWrites, GuestMemory};
use crate::state::SegmentState;

/// Where snippets begin.
pub const CODE: u64 = 0x1_0000;
/// RAM for a snippet's data, all zeroes.
pub const DATA: u64 = 0x2_0000;
/// The stack's top; below it are 32 KiB.
pub const STACK: u64 = 0x3_8000;
/// A page that is not present (64-bit mode only).
pub const ABSENT: u64 = 0x4_0000;
/// A page that is read-only (64-bit mode only).
pub const READ_ONLY: u64 = 0x5_0000;

const RAM: u64 = 4 << 20;
/// Page tables: PML4, PDPT, page directory, page table, at one page each.
const TABLES: u64 = 0x1000;
const PRESENT: u64 = 1;
const WRITABLE: u64 = 2;
const USER: u64 = 4;
const LARGE: u64 = 1 << 7;
/// More instructions than any snippet should take.
const PATIENCE: u32 = 10_000_000;

/// A vCPU in flat 64-bit mode at CPL 0, about to execute `code`. The first 1 GiB of linear addresses
/// maps to itself, but for `ABSENT` and `READ_ONLY`.
pub fn machine(code: &[u8]) -> Box<Cpu> {
    let mut cpu = bare(code);
    map_identity(&cpu.platform.memory);
    cpu.cr0 |= cr::CR0_PE | cr::CR0_PG | cr::CR0_WP | cr::CR0_NE | cr::CR0_MP;
    cpu.cr4 |= cr::CR4_PAE | cr::CR4_OSFXSR | cr::CR4_OSXMMEXCPT;
    if cpu.platform.cpuid.cr4_mask() & cr::CR4_OSXSAVE != 0 {
        cpu.cr4 |= cr::CR4_OSXSAVE;
        cpu.xcr0 = cpu.platform.cpuid.xcr0_mask();
    }
    cpu.cr3 = TABLES;
    cpu.efer = cr::EFER_LME | cr::EFER_LMA | cr::EFER_NXE | cr::EFER_SCE;
    flat(&mut cpu, attr::LONG);
    cpu
}

/// A `machine` that translates; `None` where this host cannot.
pub fn translating(code: &[u8], settings: bt::Settings) -> Option<Box<Cpu>> {
    if bt::unavailable().is_some() {
        return None;
    }
    let mut cpu = machine(code);
    let attention = Arc::clone(&cpu.attention);
    let writes = CodeWrites::new(Box::new(move || attention.raise_quietly(WRITTEN)));
    cpu.platform.memory.watch_code(vec![Arc::clone(&writes)]);
    cpu.translator = Some(Box::new(Translator::new(settings, writes).expect("memory for code")));
    Some(cpu)
}

/// A vCPU in flat 32-bit protected mode at CPL 0, without paging.
pub fn machine_32(code: &[u8]) -> Box<Cpu> {
    let mut cpu = bare(code);
    cpu.cr0 |= cr::CR0_PE | cr::CR0_NE | cr::CR0_MP;
    cpu.cr4 |= cr::CR4_OSFXSR | cr::CR4_OSXMMEXCPT;
    flat(&mut cpu, attr::BIG);
    cpu
}

/// A vCPU in real mode. CS, DS and ES are based at `CODE`, SS at the stack's 32 KiB; so the snippet
/// is at 0 and `DATA` at 0 of a segment that the test loads.
pub fn machine_16(code: &[u8]) -> Box<Cpu> {
    let mut cpu = bare(code);
    for number in [seg::CS, seg::DS, seg::ES] {
        cpu.segments[number as usize] = SegmentState::real((CODE >> 4) as u16, 0);
    }
    cpu.segments[seg::SS as usize] = SegmentState::real(((STACK - 0x8000) >> 4) as u16, 0);
    cpu.regs[RIP] = 0;
    cpu.regs[RSP] = 0x8000;
    cpu.refresh_mode();
    cpu
}

/// Puts the vCPU at CPL 3.
pub fn enter_user_mode(cpu: &mut Cpu) {
    for segment in &mut cpu.segments {
        segment.attributes |= 3 << attr::DPL_SHIFT;
        segment.selector |= 3;
    }
    cpu.refresh_mode();
}

/// Executes until the HLT behind the snippet, or to the first fault, whose details come back; RIP is
/// then at the faulting instruction.
pub fn run(cpu: &mut Cpu) -> Result<(), Fault> {
    for _ in 0..PATIENCE {
        let linear = cpu.code_linear().map_err(|_| cpu.fault)?;
        let (op, length) = cpu.fetch_one(linear).map_err(|_| cpu.fault)?;
        if op.code == Code::Hlt {
            return Ok(());
        }
        cpu.regs[RIP] = cpu.regs[RIP].wrapping_add(length as u64);
        cpu.leave = false;
        match (op.handler)(cpu, &op) {
            Ok(()) | Err(Stop::Leave) => {}
            Err(Stop::Fault) => {
                cpu.regs[RIP] = cpu.regs[RIP].wrapping_sub(length as u64);
                return Err(cpu.fault);
            }
            Err(Stop::Exit) => panic!("{:?} left the guest: {:?}", op.code, cpu.exit),
        }
    }
    panic!("the snippet does not end");
}

/// Puts a new snippet in place and RIP at its start.
pub fn load(cpu: &mut Cpu, code: &[u8]) {
    place(&cpu.platform.memory, code);
    cpu.regs[RIP] = CODE - cpu.segments[seg::CS as usize].base;
}

fn place(memory: &GuestMemory, code: &[u8]) {
    memory.write(CODE, code).expect("RAM");
    memory.write(CODE + code.len() as u64, &[0xF4]).expect("RAM");
}

/// Reads RAM.
pub fn peek<const N: usize>(cpu: &Cpu, address: u64) -> [u8; N] {
    let mut bytes = [0; N];
    cpu.platform.memory.read(address, &mut bytes).expect("RAM");
    bytes
}

/// Writes RAM.
pub fn poke(cpu: &Cpu, address: u64, bytes: &[u8]) {
    cpu.platform.memory.write(address, bytes).expect("RAM");
}

/// A reset vCPU with the snippet in RAM.
fn bare(code: &[u8]) -> Box<Cpu> {
    let attention = [Arc::new(Attention::default())];
    let clock = Arc::new(Clock::new());
    let fabric = Fabric::new(Arc::clone(&clock), &attention);
    let lapic = fabric.lapic(0);
    let cpuid = CpuidTable::new(1, clock.khz());
    let platform = Platform {
        memory: Arc::new(GuestMemory::new(&[(0, RAM)]).expect("RAM")),
        ports: Arc::new(Bus::default()),
        mmio: Arc::new(Bus::default()),
        fabric,
        clock,
        cpuid,
        code_guard: CodeGuard::new(&attention),
    };
    let [attention] = attention;
    let cpu = Cpu::new(0, Arc::new(platform), lapic, attention);
    cpu.attention.take(u32::MAX);
    place(&cpu.platform.memory, code);
    cpu
}

fn map_identity(memory: &GuestMemory) {
    let table = |level: u64| TABLES + level * 0x1000;
    let entry = |address: u64, value: u64| memory.write(address, &value.to_le_bytes()).expect("RAM");
    entry(table(0), table(1) | PRESENT | WRITABLE | USER);
    entry(table(1), table(2) | PRESENT | WRITABLE | USER);
    entry(table(2), table(3) | PRESENT | WRITABLE | USER);
    for i in 1..512 {
        entry(table(2) + 8 * i, i << 21 | PRESENT | WRITABLE | USER | LARGE);
    }
    for i in 0..512 {
        let page = i << 12;
        let rights = match page {
            ABSENT => 0,
            READ_ONLY => PRESENT | USER,
            _ => PRESENT | WRITABLE | USER,
        };
        entry(table(3) + 8 * i, page | rights);
    }
}

/// Flat segments, and the snippet's RIP and stack.
fn flat(cpu: &mut Cpu, code_size: u32) {
    let common = attr::PRESENT | attr::NOT_SYSTEM | attr::WRITABLE | attr::ACCESSED | attr::GRANULAR;
    let flat = |selector, attributes| SegmentState { selector, attributes, limit: u32::MAX, base: 0 };
    cpu.segments = [flat(0x10, common | attr::BIG); 6];
    cpu.segments[seg::CS as usize] = flat(8, common | attr::CODE | code_size);
    cpu.regs = [0; 32];
    cpu.regs[RIP] = CODE;
    cpu.regs[RSP] = STACK;
    cpu.refresh_mode();
    cpu.flush_tlb();
}
