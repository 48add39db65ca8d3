//! A byte emitter for the host instructions that translated code is made of, beside the guest's own.
//! Registers are the encoding's numbers 0-15. Source: Intel SDM vol. 2, chapter 2.

use super::buffer::CodeBuffer;

pub const RAX: u8 = 0;
pub const RCX: u8 = 1;
pub const RDX: u8 = 2;
pub const RBX: u8 = 3;
pub const RSP: u8 = 4;
pub const RBP: u8 = 5;
pub const RSI: u8 = 6;
pub const RDI: u8 = 7;
pub const R9: u8 = 9;
pub const R10: u8 = 10;
pub const R11: u8 = 11;

/// Conditions, as encodings number them.
pub mod cc {
    pub const B: u8 = 2;
    pub const AE: u8 = 3;
    pub const E: u8 = 4;
    pub const NE: u8 = 5;
    pub const BE: u8 = 6;
    pub const A: u8 = 7;
}

/// Operand size.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Size {
    B,
    W,
    D,
    Q,
}
use Size::{B, D, Q, W};

/// A memory operand: `[base + index << scale + disp]`, or `gs:[index + disp]` without a base.
#[derive(Clone, Copy)]
pub struct Mem {
    pub base: Option<u8>,
    pub index: Option<(u8, u8)>,
    pub disp: i32,
    pub gs: bool,
}

/// A field of the vCPU.
pub fn gs(offset: usize) -> Mem {
    Mem { base: None, index: None, disp: offset as i32, gs: true }
}

/// A field of the vCPU, indexed in bytes by a register.
pub fn gs_indexed(index: u8, offset: usize) -> Mem {
    Mem { base: None, index: Some((index, 0)), disp: offset as i32, gs: true }
}

pub fn at(base: u8, disp: i32) -> Mem {
    Mem { base: Some(base), index: None, disp, gs: false }
}

pub fn at_sum(base: u8, index: u8) -> Mem {
    Mem { base: Some(base), index: Some((index, 0)), disp: 0, gs: false }
}

/// Code on its way into the buffer.
#[derive(Default)]
pub struct Asm {
    pub bytes: Vec<u8>,
    /// Where in the buffer `bytes[0]` will be.
    pub start: usize,
}

impl Asm {
    pub fn new(start: usize) -> Self {
        Self { bytes: Vec::new(), start }
    }

    /// One that uses another's memory.
    pub fn reusing(mut bytes: Vec<u8>, start: usize) -> Self {
        bytes.clear();
        Self { bytes, start }
    }

    /// The offset in the buffer of the next byte.
    pub fn here(&self) -> usize {
        self.start + self.bytes.len()
    }

    pub fn raw(&mut self, code: &[u8]) {
        self.bytes.extend_from_slice(code);
    }

    fn imm32(&mut self, value: i32) {
        self.raw(&value.to_le_bytes());
    }

    /// `opcode` with a register (or opcode extension) and a memory operand.
    pub fn rm(&mut self, size: Size, opcode: &[u8], reg: u8, mem: Mem) {
        if mem.gs {
            self.raw(&[0x65]);
        }
        if size == W {
            self.raw(&[0x66]);
        }
        let index = mem.index.map_or(4, |(index, _)| index);
        let base = mem.base.unwrap_or(5);
        let rex = u8::from(size == Q) << 3 | (reg >> 3) << 2 | (index >> 3) << 1 | base >> 3;
        let rex = if mem.base.is_none() { rex & !1 } else { rex };
        // SPL, BPL, SIL and DIL exist only with a REX prefix.
        if rex != 0 || (size == B && (4..8).contains(&reg)) {
            self.raw(&[0x40 | rex]);
        }
        self.raw(opcode);
        let reg = (reg & 7) << 3;
        let Some(base) = mem.base else {
            let scale = mem.index.map_or(0, |(_, scale)| scale);
            self.raw(&[reg | 4, scale << 6 | (index & 7) << 3 | 5]);
            return self.imm32(mem.disp);
        };
        let short = i8::try_from(mem.disp).is_ok();
        let mode = match mem.disp {
            0 if base & 7 != 5 => 0,
            _ if short => 0x40,
            _ => 0x80,
        };
        match mem.index {
            None if base & 7 != 4 => self.raw(&[mode | reg | base & 7]),
            None => self.raw(&[mode | reg | 4, 0x24]),
            Some((index, scale)) => self.raw(&[mode | reg | 4, scale << 6 | (index & 7) << 3 | base & 7]),
        }
        match mode {
            0 => {}
            0x40 => self.raw(&[mem.disp as u8]),
            _ => self.imm32(mem.disp),
        }
    }

    /// `opcode` with two registers.
    pub fn rr(&mut self, size: Size, opcode: &[u8], reg: u8, rm: u8) {
        if size == W {
            self.raw(&[0x66]);
        }
        let rex = u8::from(size == Q) << 3 | (reg >> 3) << 2 | rm >> 3;
        if rex != 0 || (size == B && ((4..8).contains(&reg) || (4..8).contains(&rm))) {
            self.raw(&[0x40 | rex]);
        }
        self.raw(opcode);
        self.raw(&[0xC0 | (reg & 7) << 3 | rm & 7]);
    }

    pub fn load(&mut self, reg: u8, mem: Mem) {
        self.rm(Q, &[0x8B], reg, mem);
    }

    pub fn store(&mut self, mem: Mem, reg: u8) {
        self.rm(Q, &[0x89], reg, mem);
    }

    pub fn lea(&mut self, size: Size, reg: u8, mem: Mem) {
        self.rm(size, &[0x8D], reg, mem);
    }

    pub fn mov(&mut self, size: Size, to: u8, from: u8) {
        self.rr(size, &[0x8B], to, from);
    }

    /// The shortest load of a constant.
    pub fn mov_imm(&mut self, reg: u8, value: u64) {
        if let Ok(value) = u32::try_from(value) {
            if reg >= 8 {
                self.raw(&[0x41]);
            }
            self.raw(&[0xB8 | reg & 7]);
            self.raw(&value.to_le_bytes());
        } else if let Ok(value) = i32::try_from(value as i64) {
            self.raw(&[0x48 | reg >> 3, 0xC7, 0xC0 | reg & 7]);
            self.imm32(value);
        } else {
            self.raw(&[0x48 | reg >> 3, 0xB8 | reg & 7]);
            self.raw(&value.to_le_bytes());
        }
    }

    /// One of ADD 0, OR 1, AND 4, SUB 5, XOR 6, CMP 7 with a constant.
    pub fn alu_imm(&mut self, size: Size, operation: u8, reg: u8, value: i32) {
        if let Ok(short) = i8::try_from(value) {
            self.rr(size, &[0x83], operation, reg);
            self.raw(&[short as u8]);
        } else {
            self.rr(size, &[0x81], operation, reg);
            self.imm32(value);
        }
    }

    /// The same on memory, with a full 32-bit constant.
    pub fn alu_mem_imm(&mut self, size: Size, operation: u8, mem: Mem, value: i32) {
        self.rm(size, &[0x81], operation, mem);
        self.imm32(value);
    }

    /// MOV or CMP of a byte constant with a byte in memory.
    pub fn cmp_byte(&mut self, mem: Mem, value: u8) {
        self.rm(B, &[0x80], 7, mem);
        self.raw(&[value]);
    }

    pub fn mov_byte(&mut self, mem: Mem, value: u8) {
        self.rm(B, &[0xC6], 0, mem);
        self.raw(&[value]);
    }

    /// Jcc with a displacement to be patched; gives the offset behind it.
    pub fn jcc(&mut self, condition: u8) -> usize {
        self.raw(&[0x0F, 0x80 | condition, 0, 0, 0, 0]);
        self.here()
    }

    /// JMP, likewise.
    pub fn jmp(&mut self) -> usize {
        self.raw(&[0xE9, 0, 0, 0, 0]);
        self.here()
    }

    /// CALL, likewise.
    pub fn call(&mut self) -> usize {
        self.raw(&[0xE8, 0, 0, 0, 0]);
        self.here()
    }

    pub fn jmp_to(&mut self, target: usize) {
        let end = self.jmp();
        self.patch(end, target);
    }

    pub fn jcc_to(&mut self, condition: u8, target: usize) {
        let end = self.jcc(condition);
        self.patch(end, target);
    }

    pub fn call_to(&mut self, target: usize) {
        let end = self.call();
        self.patch(end, target);
    }

    /// Points the displacement that ends at `end` (in these bytes) to `target`.
    pub fn patch(&mut self, end: usize, target: usize) {
        let distance = (target as i64 - end as i64) as i32;
        let at = end - self.start;
        self.bytes[at - 4..at].copy_from_slice(&distance.to_le_bytes());
    }

    pub fn jmp_mem(&mut self, mem: Mem) {
        self.rm(D, &[0xFF], 4, mem);
    }

    pub fn jmp_reg(&mut self, reg: u8) {
        self.rr(D, &[0xFF], 4, reg);
    }

    pub fn call_reg(&mut self, reg: u8) {
        self.rr(D, &[0xFF], 2, reg);
    }

    pub fn flush(&self, buffer: &mut CodeBuffer) {
        buffer.write(self.start, &self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use iced_x86::{Decoder, DecoderOptions};

    fn decoded(code: &[u8]) -> iced_x86::Instruction {
        let instruction = Decoder::new(64, code, DecoderOptions::NONE).decode();
        assert_eq!(instruction.len(), code.len());
        instruction
    }

    #[test]
    fn every_register_and_addressing_form_decodes_to_what_was_meant() {
        for reg in 0..16 {
            for base in 0..16 {
                for (index, disp) in [(None, 0), (Some((11, 0)), 5), (Some((1, 3)), 0x1234), (None, -8)] {
                    let mut asm = Asm::new(0);
                    asm.load(reg, Mem { base: Some(base), index, disp, gs: false });
                    let it = decoded(&asm.bytes);
                    assert_eq!(it.op0_register().number(), usize::from(reg));
                    assert_eq!(it.memory_base().number(), usize::from(base));
                    assert_eq!(it.memory_displacement64() as i32, disp);
                    let register = index.map(|(index, _)| usize::from(index));
                    let found = it.memory_index();
                    assert_eq!((found != iced_x86::Register::None).then(|| found.number()), register);
                }
            }
        }
    }

    #[test]
    fn fields_of_the_vcpu_are_addressed_through_gs() {
        for index in [None, Some((11, 0)), Some((0, 3))] {
            let mut asm = Asm::new(0);
            asm.rm(Q, &[0x33], 10, Mem { base: None, index, disp: 0x345, gs: true });
            let it = decoded(&asm.bytes);
            assert_eq!(it.segment_prefix(), iced_x86::Register::GS);
            assert_eq!((it.memory_base(), it.memory_displacement64()), (iced_x86::Register::None, 0x345));
        }
    }

    #[test]
    fn constants_are_loaded_whole() {
        for value in [0, 1, 0xFFFF_FFFF, 0xFFFF_FFFF_8000_0000, 0x1234_5678_9ABC, u64::MAX] {
            let mut asm = Asm::new(0);
            asm.mov_imm(11, value);
            let it = decoded(&asm.bytes);
            assert_eq!(it.immediate(1), value);
        }
    }
}
