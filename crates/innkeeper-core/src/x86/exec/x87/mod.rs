//! The x87 FPU: its register stack, its exceptions, and the gates every instruction passes.
//!
//! Source: Intel SDM vol. 1, chapter 8; vol. 2. Results come from the host's own x87 ([`host`]), run
//! with the guest's control word; what surrounds them (tags, stack faults, pointers, when #MF is
//! delivered) is here. As on processors of the last decade, FCS and FDS read as zero (CPUID leaf 7
//! EBX[13]), and the data pointer and opcode are recorded only for unmasked exceptions (EBX[6]).
//! Left out: the FERR# pin, so with CR0.NE clear an unmasked exception waits unnoticed.

mod arithmetic;
mod compare;
mod control;
mod environment;
mod host;
mod load;
mod store;
mod transcendental;

use iced_x86::Code;

use crate::x86::cpu::{Cpu, RIP, X87, cr};
use crate::x86::fault::{Stop, vector};
use crate::x86::op::{Handler, Op};

// Status word: 15 B │ 14 C3 │ 13…11 TOP │ 10 C2 │ 9 C1 │ 8 C0 │ 7 ES │ 6 SF │ 5 PE │ 4 UE │ 3 OE │ 2 ZE │ 1 DE │ 0 IE
const IE: u16 = 1 << 0;
const DE: u16 = 1 << 1;
const ZE: u16 = 1 << 2;
const OE: u16 = 1 << 3;
const UE: u16 = 1 << 4;
const SF: u16 = 1 << 6;
const ES: u16 = 1 << 7;
const C0: u16 = 1 << 8;
const C1: u16 = 1 << 9;
const C2: u16 = 1 << 10;
const C3: u16 = 1 << 14;
const BUSY: u16 = 1 << 15;
const EXCEPTIONS: u16 = 0x3F;
/// Exceptions found before the operation: unmasked, they leave every operand as it was.
const BEFORE: u16 = IE | DE | ZE;
/// What is stored of the status word: TOP is apart, ES and B follow from the rest.
const STORED: u16 = EXCEPTIONS | SF | C0 | C1 | C2 | C3;

/// The real indefinite: a negative quiet NaN.
const INDEFINITE: u128 = 0xFFFF_C000_0000_0000_0000;

pub fn select(code: Code, _memory: bool) -> Option<Handler> {
    arithmetic::select(code)
        .or_else(|| load::select(code))
        .or_else(|| store::select(code))
        .or_else(|| compare::select(code))
        .or_else(|| transcendental::select(code))
        .or_else(|| control::select(code))
        .or_else(|| environment::select(code))
}

impl X87 {
    /// FNINIT: everything but the registers themselves.
    pub fn init(&mut self) {
        *self = Self { regs: self.regs, control: 0x37F, ..Self::default() };
    }

    /// The state that XRSTOR gives the component when it is in its initial configuration.
    pub fn initial() -> Self {
        Self { control: 0x37F, ..Self::default() }
    }

    pub fn set_control(&mut self, word: u16) {
        self.control = word & 0x1F3F | 0x40; // bit 6 is fixed
    }

    pub fn status_word(&self) -> u16 {
        let summary = if self.pending() { ES | BUSY } else { 0 };
        self.status & STORED | summary | u16::from(self.top & 7) << 11
    }

    pub fn set_status_word(&mut self, word: u16) {
        self.status = word & STORED;
        self.top = (word >> 11 & 7) as u8;
    }

    /// Whether an unmasked exception awaits delivery.
    #[inline(always)]
    pub fn pending(&self) -> bool {
        self.status & !self.control & EXCEPTIONS != 0
    }

    #[inline(always)]
    fn physical(&self, i: u8) -> usize {
        usize::from(self.top.wrapping_add(i) & 7)
    }

    #[inline(always)]
    fn st(&self, i: u8) -> u128 {
        self.regs[self.physical(i)]
    }

    /// The register if it is not empty.
    #[inline(always)]
    fn full(&self, i: u8) -> Option<u128> {
        let at = self.physical(i);
        (self.valid >> at & 1 != 0).then(|| self.regs[at])
    }

    #[inline(always)]
    fn set_st(&mut self, i: u8, value: u128) {
        let at = self.physical(i);
        self.regs[at] = value;
        self.valid |= 1 << at;
    }

    #[inline(always)]
    fn push(&mut self, value: u128) {
        self.top = self.top.wrapping_sub(1) & 7;
        self.set_st(0, value);
    }

    #[inline(always)]
    fn pop(&mut self) {
        self.free(0);
        self.top = self.top.wrapping_add(1) & 7;
    }

    #[inline(always)]
    fn free(&mut self, i: u8) {
        self.valid &= !(1 << self.physical(i));
    }

    /// The full tag word, by physical register: 0 valid, 1 zero, 2 special, 3 empty.
    fn tag_word(&self) -> u16 {
        (0..8).fold(0, |word, at| {
            let (value, full) = (self.regs[at], self.valid >> at & 1 != 0);
            let (exponent, integer) = (value >> 64 & 0x7FFF, value >> 63 & 1);
            let tag = match (full, exponent, integer) {
                (false, ..) => 3,
                (true, 0, _) if value as u64 == 0 => 1,
                (true, 0 | 0x7FFF, _) | (true, _, 0) => 2,
                (true, ..) => 0,
            };
            word | tag << (2 * at)
        })
    }

    fn set_tag_word(&mut self, word: u16) {
        self.valid = (0..8).fold(0, |valid, at| valid | u8::from(word >> (2 * at) & 3 != 3) << at);
    }
}

/// The gate of control instructions that do not wait for exceptions.
#[inline(always)]
fn available(cpu: &mut Cpu) -> Result<(), Stop> {
    if cpu.cr0 & (cr::CR0_EM | cr::CR0_TS) != 0 { Err(cpu.nm()) } else { Ok(()) }
}

/// Delivers an unmasked exception that an earlier instruction left behind.
#[inline(always)]
pub fn settle_pending(cpu: &mut Cpu) -> Result<(), Stop> {
    if cpu.x87.pending() && cpu.cr0 & cr::CR0_NE != 0 {
        return Err(cpu.raise(vector::MF, 0));
    }
    Ok(())
}

/// The gate of all other instructions.
#[inline(always)]
fn enter(cpu: &mut Cpu) -> Result<(), Stop> {
    available(cpu)?;
    settle_pending(cpu)
}

/// Ends a numeric instruction: its exceptions and the condition bits in `conditions` enter the status
/// word, and the pointers are recorded. Tells whether operands may change and the stack may move.
#[inline(always)]
fn finish(cpu: &mut Cpu, op: &Op, status: u16, conditions: u16) -> bool {
    let unmasked = status & !cpu.x87.control & EXCEPTIONS;
    let fpu = &mut cpu.x87;
    fpu.instruction_pointer = cpu.regs[RIP].wrapping_sub(u64::from(op.length));
    fpu.status = fpu.status & !conditions | status & (EXCEPTIONS | SF | conditions);
    if unmasked != 0 {
        record_operation(cpu, op);
    }
    unmasked & BEFORE == 0
}

/// A stack fault: `direction` is C1 for overflow, 0 for underflow. Tells whether it is masked.
#[cold]
fn stack_fault(cpu: &mut Cpu, op: &Op, direction: u16) -> bool {
    finish(cpu, op, IE | SF | direction, C1)
}

/// Records opcode and data pointer of an instruction that raised an unmasked exception.
#[cold]
fn record_operation(cpu: &mut Cpu, op: &Op) {
    if op.memory {
        cpu.x87.data_pointer = cpu.ea(op);
    }
    let start = cpu.bases[1].wrapping_add(cpu.x87.instruction_pointer);
    let mut first = None;
    for at in 0..u64::from(op.length) {
        let linear = start.wrapping_add(at);
        let linear = if cpu.long { linear } else { linear & 0xFFFF_FFFF };
        // The page may have gone since it was decoded; then the last opcode stays.
        let Ok(byte) = cpu.fetch_byte(linear) else { return };
        match first {
            Some(escape) => {
                cpu.x87.opcode = u16::from(escape & 7) << 8 | u16::from(byte);
                return;
            }
            None if byte & 0xF8 == 0xD8 => first = Some(byte),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests;
