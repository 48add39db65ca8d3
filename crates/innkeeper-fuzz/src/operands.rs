//! Operands for an encoding, and a machine state in which they mostly work.

use iced_x86::{
    Code, EncodingKind, Instruction, MemoryOperand, Mnemonic, OpCodeOperandKind as Kind, OpKind, Register,
};

use crate::rng::Rng;
use crate::state::{CODE, CODE_AT, DATA, DATA_SIZE, MIDDLE, UNMAPPED, WINDOW, WINDOW_AT};

/// An instruction under construction, and the registers and memory that it wants set.
pub struct Draft<'a> {
    rng: &'a mut Rng,
    bitness: u32,
    pub instruction: Instruction,
    pub gpr: [u64; 16],
    pub ymm: [[u64; 4]; 16],
    pub window: [u8; WINDOW],
    /// Where its memory operand lies, if it has one.
    address: u64,
    /// Hardly any operand is to fault.
    pub careful: bool,
}

impl<'a> Draft<'a> {
    pub fn new(rng: &'a mut Rng, bitness: u32) -> Self {
        let mut window = [0; WINDOW];
        for chunk in window.chunks_mut(8) {
            let value = if rng.one_in(2) { rng.floats() } else { rng.interesting() };
            chunk.copy_from_slice(&value.to_le_bytes());
        }
        let mut gpr: [u64; 16] = std::array::from_fn(|_| rng.interesting());
        gpr[4] = DATA + WINDOW_AT + MIDDLE - 32 + 8 * rng.below(8);
        let ymm = std::array::from_fn(|_| std::array::from_fn(|_| rng.floats()));
        let address = DATA + WINDOW_AT + MIDDLE;
        Self { rng, bitness, instruction: Instruction::default(), gpr, ymm, window, address, careful: false }
    }

    /// Gives `code` operands; `None` if these cannot be encoded.
    pub fn build(&mut self, code: Code) -> Option<()> {
        self.instruction.set_code(code);
        for i in 0..code.op_code().op_count() {
            self.operand(i, code.op_code().op_kind(i), code)?;
        }
        self.constrain(code);
        self.prefixes(code);
        Some(())
    }

    fn wide(&self) -> bool {
        self.bitness == 64
    }

    fn registers(&self) -> u64 {
        if self.wide() { 16 } else { 8 }
    }

    fn register(&mut self, from: Register) -> Register {
        from + self.rng.below(self.registers()) as u32
    }

    fn operand(&mut self, i: u32, kind: Kind, code: Code) -> Option<()> {
        let memory_too = self.rng.one_in(2);
        let from = match kind {
            Kind::r8_or_mem
            | Kind::r16_or_mem
            | Kind::r32_or_mem
            | Kind::r64_or_mem
            | Kind::mm_or_mem
            | Kind::xmm_or_mem
            | Kind::ymm_or_mem
                if memory_too =>
            {
                return self.memory(i, code);
            }
            Kind::mem => return self.memory(i, code),
            Kind::mem_offs => return self.memory_offset(i),
            Kind::mem_vsib32x | Kind::mem_vsib64x => return self.gather(i, Register::XMM0),
            Kind::mem_vsib32y | Kind::mem_vsib64y => return self.gather(i, Register::YMM0),
            Kind::r8_or_mem | Kind::r8_reg | Kind::r8_opcode => {
                let all = if self.wide() { 20 } else { 8 };
                let number = self.rng.below(all) as u32;
                self.instruction.set_op_register(i, Register::AL + number);
                return Some(());
            }
            Kind::r16_or_mem | Kind::r16_reg | Kind::r16_rm | Kind::r16_opcode => Register::AX,
            Kind::r32_or_mem | Kind::r32_reg | Kind::r32_rm | Kind::r32_opcode | Kind::r32_vvvv => {
                Register::EAX
            }
            Kind::r64_or_mem | Kind::r64_reg | Kind::r64_rm | Kind::r64_opcode | Kind::r64_vvvv => {
                Register::RAX
            }
            Kind::mm_or_mem | Kind::mm_reg | Kind::mm_rm => {
                let number = self.rng.below(8) as u32;
                self.instruction.set_op_register(i, Register::MM0 + number);
                return Some(());
            }
            Kind::xmm_or_mem | Kind::xmm_reg | Kind::xmm_rm | Kind::xmm_vvvv | Kind::xmm_is4 => {
                Register::XMM0
            }
            Kind::ymm_or_mem | Kind::ymm_reg | Kind::ymm_rm | Kind::ymm_vvvv | Kind::ymm_is4 => {
                Register::YMM0
            }
            _ => return self.implied(i, kind),
        };
        let register = self.register(from);
        self.instruction.set_op_register(i, register);
        Some(())
    }

    fn implied(&mut self, i: u32, kind: Kind) -> Option<()> {
        use Register as R;
        let number = self.rng.below(8) as u32;
        let register = match kind {
            Kind::al => R::AL,
            Kind::cl => R::CL,
            Kind::ax => R::AX,
            Kind::dx => R::DX,
            Kind::eax => R::EAX,
            Kind::rax => R::RAX,
            Kind::st0 => R::ST0,
            Kind::sti_opcode => R::ST0 + number,
            Kind::es => R::ES,
            Kind::cs => R::CS,
            Kind::ss => R::SS,
            Kind::ds => R::DS,
            Kind::fs => R::FS,
            Kind::gs => R::GS,
            Kind::seg_reg => R::ES + number % 6,
            Kind::cr_reg => R::CR0 + self.rng.pick(&[0, 2, 3, 4]),
            Kind::dr_reg => R::DR0 + number,
            _ => return self.immediate(i, kind),
        };
        self.instruction.set_op_register(i, register);
        Some(())
    }

    fn immediate(&mut self, i: u32, kind: Kind) -> Option<()> {
        let value = self.rng.interesting();
        let instruction = &mut self.instruction;
        match kind {
            Kind::imm8 if i == 1 && instruction.op0_kind() == OpKind::Immediate16 => {
                // ENTER: mostly few levels.
                instruction.set_op1_kind(OpKind::Immediate8_2nd);
                instruction.set_immediate8_2nd(if self.rng.one_in(4) {
                    value as u8
                } else {
                    value as u8 & 3
                });
            }
            Kind::imm8 | Kind::imm8_const_1 => {
                instruction.set_op_kind(i, OpKind::Immediate8);
                instruction.set_immediate8(if kind == Kind::imm8 { value as u8 } else { 1 });
            }
            Kind::imm8sex16 => {
                instruction.set_op_kind(i, OpKind::Immediate8to16);
                instruction.set_immediate8to16((value as i8).into());
            }
            Kind::imm8sex32 => {
                instruction.set_op_kind(i, OpKind::Immediate8to32);
                instruction.set_immediate8to32((value as i8).into());
            }
            Kind::imm8sex64 => {
                instruction.set_op_kind(i, OpKind::Immediate8to64);
                instruction.set_immediate8to64((value as i8).into());
            }
            Kind::imm16 => {
                instruction.set_op_kind(i, OpKind::Immediate16);
                instruction.set_immediate16(value as u16);
            }
            Kind::imm32 => {
                instruction.set_op_kind(i, OpKind::Immediate32);
                instruction.set_immediate32(value as u32);
            }
            Kind::imm32sex64 => {
                instruction.set_op_kind(i, OpKind::Immediate32to64);
                instruction.set_immediate32to64((value as i32).into());
            }
            Kind::imm64 => {
                instruction.set_op_kind(i, OpKind::Immediate64);
                instruction.set_immediate64(value);
            }
            _ => return self.branch_or_string(i, kind),
        }
        Some(())
    }

    fn branch_or_string(&mut self, i: u32, kind: Kind) -> Option<()> {
        let target = branch_target(self.rng);
        let instruction = &mut self.instruction;
        match kind {
            Kind::br64_1 | Kind::br64_4 => {
                instruction.set_op_kind(i, OpKind::NearBranch64);
                instruction.set_near_branch64(target);
            }
            Kind::br32_1 | Kind::br32_4 => {
                instruction.set_op_kind(i, OpKind::NearBranch32);
                instruction.set_near_branch32(target as u32);
            }
            Kind::br16_1 | Kind::br16_2 => {
                // Truncates EIP: the target is never mapped.
                instruction.set_op_kind(i, OpKind::NearBranch16);
                instruction.set_near_branch16(target as u16);
            }
            Kind::seg_rSI | Kind::es_rDI | Kind::seg_rDI => self.string(i, kind),
            Kind::seg_rBX_al => {
                let base = if self.wide() { Register::RBX } else { Register::EBX };
                self.gpr[3] = DATA + WINDOW_AT + MIDDLE - 128;
                self.set_memory(i, &MemoryOperand::with_base_index(base, Register::AL));
            }
            _ => return None,
        }
        Some(())
    }

    fn string(&mut self, i: u32, kind: Kind) {
        let (operand, register) = match (kind, self.wide()) {
            (Kind::seg_rSI, true) => (OpKind::MemorySegRSI, 6),
            (Kind::seg_rSI, false) => (OpKind::MemorySegESI, 6),
            (Kind::es_rDI, true) => (OpKind::MemoryESRDI, 7),
            (Kind::es_rDI, false) => (OpKind::MemoryESEDI, 7),
            (_, true) => (OpKind::MemorySegRDI, 7),
            (_, false) => (OpKind::MemorySegEDI, 7),
        };
        self.instruction.set_op_kind(i, operand);
        self.gpr[register] = DATA + WINDOW_AT + MIDDLE - 66 + self.rng.below(120);
        self.gpr[1] = self.rng.below(18);
    }

    /// A memory operand inside the window, in every addressing form; now and then outside.
    fn memory(&mut self, i: u32, code: Code) -> Option<()> {
        self.address = self.place(code);
        let zero = if self.wide() && !self.rng.one_in(8) { Register::RAX } else { Register::EAX };
        let mut operand = MemoryOperand::with_base(Register::None);
        operand.displ_size = if zero == Register::RAX { 8 } else { 4 };
        let mut value = self.address;
        match self.rng.below(10) {
            0..2 => {}
            2..4 => {
                operand.displacement = i64::from(self.rng.word() as i8);
                operand.displ_size = 1;
            }
            4..6 => operand.displacement = i64::from(self.rng.word() as i32),
            6 if self.address < 1 << 31 => return self.without_base(i, zero),
            _ => {
                let index = self.register(zero);
                if index.number() == 4 {
                    return None;
                }
                operand.index = index;
                operand.scale = 1 << self.rng.below(4);
                let small = self.rng.interesting();
                self.gpr[index.number()] = small;
                value = value.wrapping_sub(small.wrapping_mul(operand.scale.into()));
            }
        }
        let base = self.register(zero);
        if base == operand.index {
            return None;
        }
        operand.base = base;
        value = value.wrapping_sub(operand.displacement as u64);
        // With a 32-bit address the upper half of the base does not count.
        let junk = if zero == Register::EAX { self.rng.word() << 32 } else { 0 };
        self.gpr[base.number()] = if zero == Register::RAX { value } else { value & 0xFFFF_FFFF | junk };
        self.set_memory(i, &operand);
        Some(())
    }

    /// RIP-relative, absolute, or a scaled index alone.
    fn without_base(&mut self, i: u32, zero: Register) -> Option<()> {
        let mut operand = MemoryOperand::with_base(Register::None);
        operand.displ_size = if zero == Register::RAX { 8 } else { 4 };
        operand.displacement = self.address as i64;
        match self.rng.below(3) {
            0 if self.wide() => {
                operand.base = if zero == Register::RAX { Register::RIP } else { Register::EIP };
            }
            1 => {
                let index = self.register(zero);
                if index.number() == 4 {
                    return None;
                }
                let scale = self.rng.below(4);
                let part = self.rng.below(1 << 20);
                self.gpr[index.number()] = part;
                (operand.index, operand.scale) = (index, 1 << scale);
                operand.displacement -= (part << scale) as i64;
            }
            _ => {}
        }
        self.set_memory(i, &operand);
        Some(())
    }

    /// Where the operand lies: its room and alignment are what the instruction needs, mostly.
    fn place(&mut self, code: Code) -> u64 {
        let (room, alignment) = image_size(code.mnemonic()).unwrap_or((48, 1));
        let mut offset = 64 + self.rng.below(WINDOW as u64 - 128 - room);
        if room < 64 && self.rng.one_in(2) {
            offset = MIDDLE - 64 + self.rng.below(96); // near the page boundary
        }
        if self.rng.one_in(2) {
            offset &= !31;
        }
        if !self.rng.one_in(16) {
            offset &= !(alignment - 1);
        }
        if self.careful && !self.rng.one_in(50) {
            // What faults on misaligned operands mostly has the size of a vector.
            let info = code.op_code();
            let legacy = info.encoding() == EncodingKind::Legacy;
            let aligned = legacy && matches!(info.memory_size().size(), 16 | 32);
            return DATA + WINDOW_AT + if aligned { offset & !31 } else { offset };
        }
        match self.rng.below(40) {
            0 => UNMAPPED + offset,
            1 if self.wide() => 0x8000_0000_0000_0000 | offset,
            2 => DATA + DATA_SIZE - 1 - self.rng.below(20), // runs into an unmapped page
            _ => DATA + WINDOW_AT + offset,
        }
    }

    fn memory_offset(&mut self, i: u32) -> Option<()> {
        let mut operand = MemoryOperand::with_base(Register::None);
        operand.displ_size = if self.wide() { 8 } else { 4 };
        operand.displacement = (DATA + WINDOW_AT + MIDDLE - 64 + self.rng.below(128)) as i64;
        self.set_memory(i, &operand);
        Some(())
    }

    fn gather(&mut self, i: u32, vector: Register) -> Option<()> {
        let base = self.register(if self.wide() { Register::RAX } else { Register::EAX });
        let index = vector + self.rng.below(self.registers()) as u32;
        let mut operand = MemoryOperand::with_base_index_scale(base, index, 1 << self.rng.below(4));
        operand.displ_size = 1;
        // Now and then some elements are not there.
        let end = self.rng.one_in(6);
        self.gpr[base.number()] = if end { DATA + DATA_SIZE } else { DATA + WINDOW_AT + MIDDLE };
        // Small signed offsets that fit as dwords and, sign-extended, as qwords.
        for element in &mut self.ymm[index.number()] {
            let offset = i64::from(self.rng.word() as i8) / 2;
            *element = offset as u64;
        }
        self.set_memory(i, &operand);
        Some(())
    }

    fn set_memory(&mut self, i: u32, operand: &MemoryOperand) {
        let instruction = &mut self.instruction;
        instruction.set_op_kind(i, OpKind::Memory);
        instruction.set_memory_base(operand.base);
        instruction.set_memory_index(operand.index);
        instruction.set_memory_index_scale(operand.scale);
        instruction.set_memory_displ_size(operand.displ_size);
        instruction.set_memory_displacement64(operand.displacement as u64);
    }

    fn prefixes(&mut self, code: Code) {
        let info = code.op_code();
        let memory = self.instruction.op0_kind() == OpKind::Memory;
        if info.can_use_lock_prefix() && memory && self.rng.one_in(3) {
            self.instruction.set_has_lock_prefix(true);
        } else if info.can_use_rep_prefix() && self.rng.one_in(2) {
            self.instruction.set_has_rep_prefix(true);
        } else if info.can_use_repne_prefix() && self.rng.one_in(2) {
            self.instruction.set_has_repne_prefix(true);
        }
    }

    // ---- values that keep an instruction's further accesses where it can be watched -----------------

    fn constrain(&mut self, code: Code) {
        use Mnemonic as M;
        match code.mnemonic() {
            M::Bt | M::Bts | M::Btr | M::Btc if self.instruction.op1_kind() == OpKind::Register => {
                let number = self.instruction.op1_register().full_register().number();
                let base = self.instruction.memory_base();
                if base == Register::None || base.number() != number {
                    self.gpr[number] = (self.rng.below(800) as i64 - 400) as u64;
                }
            }
            M::Cmpxchg | M::Cmpxchg8b | M::Cmpxchg16b if self.rng.one_in(2) => self.expect_equal(code),
            M::Leave => self.gpr[5] = DATA + WINDOW_AT + MIDDLE - 56,
            M::Enter => self.gpr[5] = DATA + WINDOW_AT + MIDDLE + self.rng.below(40),
            M::Maskmovdqu | M::Vmaskmovdqu | M::Maskmovq => {
                self.gpr[7] = match self.rng.below(8) {
                    0 => UNMAPPED + self.rng.below(64),
                    1 => DATA + DATA_SIZE - self.rng.below(20),
                    2 => DATA - self.rng.below(20),
                    _ => DATA + WINDOW_AT + MIDDLE - 56 + self.rng.below(60),
                };
            }
            M::Jmp | M::Call => self.aim(),
            M::Ret => {
                let target = self.target();
                self.poke(self.gpr[4], &target.to_le_bytes());
            }
            // TF and NT would outlive the case, AC and ID the handler.
            M::Popf | M::Popfd | M::Popfq => {
                let flags = self.rng.word() & !0x0024_4100;
                self.poke(self.gpr[4], &flags.to_le_bytes());
            }
            mnemonic => {
                if let Some((room, _)) = image_size(mnemonic) {
                    self.image(room);
                }
            }
        }
    }

    fn target(&mut self) -> u64 {
        if self.rng.one_in(6) { self.rng.interesting() } else { branch_target(self.rng) }
    }

    /// Makes an indirect branch lead somewhere.
    fn aim(&mut self) {
        let target = self.target();
        match self.instruction.op0_kind() {
            OpKind::Memory => self.poke(self.address, &target.to_le_bytes()),
            OpKind::Register => self.gpr[self.instruction.op0_register().number()] = target,
            _ => {}
        }
    }

    /// Puts the comparand of CMPXCHG into the accumulator.
    fn expect_equal(&mut self, code: Code) {
        let at = self.address.wrapping_sub(DATA + WINDOW_AT) as usize;
        let Some(bytes) = self.window.get(at..at.saturating_add(16)) else { return };
        let (low, high) = bytes.split_at(8);
        let word = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("8 bytes"));
        let (low, high) = (word(low), word(high));
        self.gpr[0] = low;
        self.gpr[2] = if code.mnemonic() == Mnemonic::Cmpxchg8b { low >> 32 } else { high };
    }

    /// Makes an FXRSTOR or XRSTOR image plausible, and asks for components that both sides have.
    fn image(&mut self, room: u64) {
        if room < 512 {
            return;
        }
        let mxcsr = self.rng.word() as u32 & if self.rng.one_in(16) { u32::MAX } else { 0xFFFF };
        self.poke(self.address + 24, &mxcsr.to_le_bytes());
        if room == 512 {
            return;
        }
        (self.gpr[0], self.gpr[2]) = (self.rng.below(8), 0);
        let compacted = self.rng.one_in(2);
        let format = if compacted { 1 << 63 | self.rng.below(8) } else { 0 };
        let present = self.rng.below(8) & if compacted { format } else { 7 };
        let mut header = [0; 64];
        header[..8].copy_from_slice(&present.to_le_bytes());
        header[8..16].copy_from_slice(&format.to_le_bytes());
        if self.rng.one_in(8) {
            header[self.rng.below(64) as usize] ^= 1 << self.rng.below(8);
        }
        header[0] &= 7; // components that only the host has
        header[1] = 0;
        header[2] = 0;
        header[8] &= 7;
        header[9] = 0;
        header[10] = 0;
        self.poke(self.address + 512, &header);
    }

    fn poke(&mut self, address: u64, bytes: &[u8]) {
        let at = address.wrapping_sub(DATA + WINDOW_AT) as usize;
        if let Some(slot) = self.window.get_mut(at..at.saturating_add(bytes.len())) {
            slot.copy_from_slice(bytes);
        }
    }
}

/// Size and alignment of a state image, for the instructions that have one.
pub fn image_size(mnemonic: Mnemonic) -> Option<(u64, u64)> {
    use Mnemonic as M;
    Some(match mnemonic {
        M::Fnstenv | M::Fldenv => (28, 1),
        M::Fnsave | M::Frstor => (108, 1),
        M::Fxsave | M::Fxsave64 | M::Fxrstor | M::Fxrstor64 => (512, 16),
        M::Xsave
        | M::Xsave64
        | M::Xsaveopt
        | M::Xsaveopt64
        | M::Xsavec
        | M::Xsavec64
        | M::Xrstor
        | M::Xrstor64 => (832, 64),
        _ => return None,
    })
}

/// Somewhere among the INT3s before or behind the instruction.
fn branch_target(rng: &mut Rng) -> u64 {
    let distance = 16 + rng.below(90);
    if rng.one_in(2) { CODE + CODE_AT + distance } else { CODE + CODE_AT - distance }
}
