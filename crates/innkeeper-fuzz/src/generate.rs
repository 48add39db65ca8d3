//! Instructions out of the decoder's tables, with operands that mostly work and sometimes do not.

use iced_x86::{
    Code, Encoder, FlowControl, Instruction, MemoryOperand, Mnemonic, OpCodeOperandKind as Kind, OpKind,
    Register,
};
use innkeeper_core::x86::cpuid::CpuidTable;
use innkeeper_core::x86::exec;

use crate::rng::Rng;
use crate::state::{CODE, CODE_AT, Case, DATA, State, UNMAPPED, WINDOW, WINDOW_AT};

/// Unprivileged, but not reproducible by one instruction in one process: they read clocks, identity
/// or the kernel's tables, change segment bases, or leave the page.
const EXCLUDED: &[Mnemonic] = &[
    Mnemonic::Cpuid,
    Mnemonic::Rdtsc,
    Mnemonic::Rdtscp,
    Mnemonic::Rdpid,
    Mnemonic::Rdpmc,
    Mnemonic::Rdrand,
    Mnemonic::Rdseed,
    Mnemonic::Xgetbv,
    Mnemonic::Sgdt,
    Mnemonic::Sidt,
    Mnemonic::Sldt,
    Mnemonic::Str,
    Mnemonic::Smsw,
    Mnemonic::Lar,
    Mnemonic::Lsl,
    Mnemonic::Verr,
    Mnemonic::Verw,
    Mnemonic::Arpl,
    Mnemonic::Rdfsbase,
    Mnemonic::Rdgsbase,
    Mnemonic::Wrfsbase,
    Mnemonic::Wrgsbase,
    Mnemonic::Lds,
    Mnemonic::Les,
    Mnemonic::Lfs,
    Mnemonic::Lgs,
    Mnemonic::Lss,
    Mnemonic::In,
    Mnemonic::Out,
    Mnemonic::Insb,
    Mnemonic::Insw,
    Mnemonic::Insd,
    Mnemonic::Outsb,
    Mnemonic::Outsw,
    Mnemonic::Outsd,
    Mnemonic::Popf,
    Mnemonic::Popfd,
    Mnemonic::Popfq,
    Mnemonic::Pushf,
    Mnemonic::Pushfd,
    Mnemonic::Pushfq,
    Mnemonic::Cli,
    Mnemonic::Sti,
    Mnemonic::Xsave,
    Mnemonic::Xsave64,
    Mnemonic::Xsaveopt,
    Mnemonic::Xsaveopt64,
    Mnemonic::Xsavec,
    Mnemonic::Xsavec64,
    Mnemonic::Xrstor,
    Mnemonic::Xrstor64,
    Mnemonic::Fxsave,
    Mnemonic::Fxsave64,
    Mnemonic::Fxrstor,
    Mnemonic::Fxrstor64,
    Mnemonic::Fnsave,
    Mnemonic::Fsave,
    Mnemonic::Frstor,
    Mnemonic::Fnstenv,
    Mnemonic::Fstenv,
    Mnemonic::Fldenv,
    Mnemonic::Vmcall,
    Mnemonic::Vmmcall,
    Mnemonic::Monitor,
    Mnemonic::Mwait,
    Mnemonic::Enter,
    Mnemonic::Stac,
    Mnemonic::Clac,
    Mnemonic::Into,
    Mnemonic::Int1,
];

pub struct Generator {
    bitness: u32,
    codes: Vec<Code>,
    next: usize,
    seeds: Rng,
    /// Of the case in the making.
    rng: Rng,
}

/// An instruction under construction and the registers that it wants set.
struct Draft {
    instruction: Instruction,
    gpr: [u64; 16],
    ymm: [[u64; 4]; 16],
    /// Where its memory operand lies, if it has one.
    address: u64,
}

impl Generator {
    pub fn new(bitness: u32, seed: u64, wanted: &dyn Fn(&str) -> bool) -> Self {
        let presented = CpuidTable::new(1, 1_000_000);
        let codes = Code::values().filter(|&code| {
            eligible(code, bitness)
                && presented.allows(code)
                && wanted(&format!("{:?}", code.mnemonic()).to_lowercase())
        });
        Self { bitness, codes: codes.collect(), next: 0, seeds: Rng::new(seed), rng: Rng::new(seed) }
    }

    /// How many encodings take part.
    pub fn codes(&self) -> usize {
        self.codes.len()
    }

    /// The next case; encodings take turns, so that each gets its share.
    pub fn case(&mut self) -> Case {
        loop {
            let code = self.codes[self.next % self.codes.len()];
            self.next += 1;
            let seed = self.seeds.word();
            if let Some(case) = self.reproduce(code, seed) {
                return case;
            }
        }
    }

    /// The case that an encoding and a case seed name.
    pub fn reproduce(&mut self, code: Code, seed: u64) -> Option<Case> {
        self.rng = Rng::new(seed);
        (0..8).find_map(|_| self.attempt(code)).map(|(bytes, state)| Case {
            name: format!("{code:?}:{seed:x}"),
            bitness: self.bitness,
            bytes,
            state,
        })
    }

    fn attempt(&mut self, code: Code) -> Option<(Vec<u8>, State)> {
        let mut window = [0; WINDOW];
        for chunk in window.chunks_mut(8) {
            let value = if self.rng.one_in(2) { self.rng.floats() } else { self.rng.interesting() };
            chunk.copy_from_slice(&value.to_le_bytes());
        }
        let mut draft = Draft {
            instruction: Instruction::default(),
            gpr: std::array::from_fn(|_| self.rng.interesting()),
            ymm: std::array::from_fn(|_| std::array::from_fn(|_| self.rng.floats())),
            address: DATA + WINDOW_AT + 256,
        };
        draft.gpr[4] = DATA + WINDOW_AT + 224 + 8 * self.rng.below(8);
        draft.instruction.set_code(code);
        for i in 0..code.op_code().op_count() {
            self.operand(&mut draft, i, code.op_code().op_kind(i))?;
        }
        self.constrain(&mut draft, code, &window);
        self.prefixes(&mut draft, code);
        let mut encoder = Encoder::new(self.bitness);
        encoder.encode(&draft.instruction, CODE + CODE_AT).ok()?;
        let bytes = encoder.take_buffer();
        Some((bytes, self.state(draft, window)))
    }

    fn registers(&self) -> u64 {
        if self.bitness == 64 { 16 } else { 8 }
    }

    fn register(&mut self, from: Register) -> Register {
        from + self.rng.below(self.registers()) as u32
    }

    fn operand(&mut self, draft: &mut Draft, i: u32, kind: Kind) -> Option<()> {
        let memory_too = self.rng.one_in(2);
        let instruction = &mut draft.instruction;
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
                return self.memory(draft, i);
            }
            Kind::mem | Kind::mem_offs => return self.memory(draft, i),
            Kind::mem_vsib32x | Kind::mem_vsib64x => return self.gather(draft, i, Register::XMM0),
            Kind::mem_vsib32y | Kind::mem_vsib64y => return self.gather(draft, i, Register::YMM0),
            Kind::r8_or_mem | Kind::r8_reg | Kind::r8_opcode => {
                let all = if self.bitness == 64 { 20 } else { 8 };
                instruction.set_op_register(i, Register::AL + self.rng.below(all) as u32);
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
                instruction.set_op_register(i, Register::MM0 + self.rng.below(8) as u32);
                return Some(());
            }
            Kind::xmm_or_mem | Kind::xmm_reg | Kind::xmm_rm | Kind::xmm_vvvv | Kind::xmm_is4 => {
                Register::XMM0
            }
            Kind::ymm_or_mem | Kind::ymm_reg | Kind::ymm_rm | Kind::ymm_vvvv | Kind::ymm_is4 => {
                Register::YMM0
            }
            _ => return self.implied(draft, i, kind),
        };
        let register = self.register(from);
        draft.instruction.set_op_register(i, register);
        Some(())
    }

    fn implied(&mut self, draft: &mut Draft, i: u32, kind: Kind) -> Option<()> {
        let instruction = &mut draft.instruction;
        let value = self.rng.interesting();
        match kind {
            Kind::al => instruction.set_op_register(i, Register::AL),
            Kind::cl => instruction.set_op_register(i, Register::CL),
            Kind::ax => instruction.set_op_register(i, Register::AX),
            Kind::dx => instruction.set_op_register(i, Register::DX),
            Kind::eax => instruction.set_op_register(i, Register::EAX),
            Kind::rax => instruction.set_op_register(i, Register::RAX),
            Kind::st0 => instruction.set_op_register(i, Register::ST0),
            Kind::sti_opcode => instruction.set_op_register(i, Register::ST0 + self.rng.below(8) as u32),
            Kind::imm8 => {
                instruction.set_op_kind(i, OpKind::Immediate8);
                instruction.set_immediate8(value as u8);
            }
            Kind::imm8_const_1 => {
                instruction.set_op_kind(i, OpKind::Immediate8);
                instruction.set_immediate8(1);
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
            Kind::br64_1 | Kind::br64_4 => {
                instruction.set_op_kind(i, OpKind::NearBranch64);
                instruction.set_near_branch64(branch_target(&mut self.rng));
            }
            Kind::br32_1 | Kind::br32_4 => {
                instruction.set_op_kind(i, OpKind::NearBranch32);
                instruction.set_near_branch32(branch_target(&mut self.rng) as u32);
            }
            Kind::seg_rSI | Kind::es_rDI | Kind::seg_rDI => self.string(draft, i, kind),
            Kind::seg_rBX_al => {
                let wide = if self.bitness == 64 { Register::RBX } else { Register::EBX };
                let operand = MemoryOperand::with_base_index(wide, Register::AL);
                set_memory(&mut draft.instruction, i, &operand);
                draft.gpr[3] = DATA + WINDOW_AT + 128;
            }
            _ => return None,
        }
        Some(())
    }

    fn string(&mut self, draft: &mut Draft, i: u32, kind: Kind) {
        let wide = self.bitness == 64;
        let (operand, register) = match (kind, wide) {
            (Kind::seg_rSI, true) => (OpKind::MemorySegRSI, 6),
            (Kind::seg_rSI, false) => (OpKind::MemorySegESI, 6),
            (Kind::es_rDI, true) => (OpKind::MemoryESRDI, 7),
            (Kind::es_rDI, false) => (OpKind::MemoryESEDI, 7),
            (_, true) => (OpKind::MemorySegRDI, 7),
            (_, false) => (OpKind::MemorySegEDI, 7),
        };
        draft.instruction.set_op_kind(i, operand);
        draft.gpr[register] = DATA + WINDOW_AT + 190 + self.rng.below(120);
        draft.gpr[1] = self.rng.below(18);
    }

    /// A memory operand inside the window, in every addressing form; now and then outside.
    fn memory(&mut self, draft: &mut Draft, i: u32) -> Option<()> {
        let mut offset = 64 + self.rng.below(WINDOW as u64 - 160);
        if self.rng.one_in(2) {
            offset &= !31;
        }
        draft.address = match self.rng.below(40) {
            0 => UNMAPPED + offset,
            1 if self.bitness == 64 => 0x8000_0000_0000_0000 | offset,
            2 => DATA + 0x2000 - 1 - self.rng.below(20), // runs into an unmapped page
            _ => DATA + WINDOW_AT + offset,
        };
        let wide = self.bitness == 64;
        let zero = if wide { Register::RAX } else { Register::EAX };
        let base = self.register(zero);
        let mut operand = MemoryOperand::with_base(base);
        operand.displ_size = if wide { 8 } else { 4 };
        let mut value = draft.address;
        match self.rng.below(4) {
            0 => {}
            1 => {
                operand.displacement = i64::from(self.rng.word() as i8);
                operand.displ_size = 1;
            }
            2 => operand.displacement = i64::from(self.rng.word() as i32),
            _ => {
                let index = self.register(zero);
                if index.number() == 4 || index == base {
                    return None;
                }
                operand.index = index;
                operand.scale = 1 << self.rng.below(4);
                let small = self.rng.interesting();
                draft.gpr[index.number()] = small;
                value = value.wrapping_sub(small.wrapping_mul(operand.scale.into()));
            }
        }
        value = value.wrapping_sub(operand.displacement as u64);
        draft.gpr[base.number()] = if wide { value } else { value & 0xFFFF_FFFF };
        set_memory(&mut draft.instruction, i, &operand);
        Some(())
    }

    fn gather(&mut self, draft: &mut Draft, i: u32, vector: Register) -> Option<()> {
        let base = self.register(Register::RAX);
        let index = vector + self.rng.below(self.registers()) as u32;
        if self.bitness != 64 {
            return None;
        }
        let mut operand = MemoryOperand::with_base_index_scale(base, index, 1 << self.rng.below(4));
        operand.displ_size = 1;
        draft.gpr[base.number()] = DATA + WINDOW_AT + 256;
        // Small signed offsets that fit as dwords and, sign-extended, as qwords.
        for element in &mut draft.ymm[index.number()] {
            let offset = i64::from(self.rng.word() as i8) / 4;
            *element = offset as u64;
        }
        set_memory(&mut draft.instruction, i, &operand);
        Some(())
    }

    /// Values that keep an instruction's further accesses inside the window.
    fn constrain(&mut self, draft: &mut Draft, code: Code, window: &[u8; WINDOW]) {
        use Mnemonic as M;
        match code.mnemonic() {
            M::Bt | M::Bts | M::Btr | M::Btc if draft.instruction.op1_kind() == OpKind::Register => {
                let number = draft.instruction.op1_register().full_register().number();
                let base = draft.instruction.memory_base().full_register();
                if base == Register::None || base.number() != number {
                    draft.gpr[number] = (self.rng.below(800) as i64 - 400) as u64;
                }
            }
            M::Cmpxchg | M::Cmpxchg8b | M::Cmpxchg16b if self.rng.one_in(2) => {
                let at = draft.address.wrapping_sub(DATA + WINDOW_AT) as usize;
                if let Some(bytes) = window.get(at..at.saturating_add(16)) {
                    let word = |range: std::ops::Range<usize>| {
                        u64::from_le_bytes(bytes[range].try_into().expect("8"))
                    };
                    draft.gpr[0] = word(0..8);
                    draft.gpr[2] =
                        if code.mnemonic() == M::Cmpxchg8b { word(0..8) >> 32 } else { word(8..16) };
                }
            }
            M::Leave => draft.gpr[5] = DATA + WINDOW_AT + 200,
            M::Maskmovdqu | M::Vmaskmovdqu | M::Maskmovq => {
                draft.gpr[7] = DATA + WINDOW_AT + 200 + self.rng.below(60);
            }
            _ => {}
        }
    }

    fn prefixes(&mut self, draft: &mut Draft, code: Code) {
        let info = code.op_code();
        let instruction = &mut draft.instruction;
        let memory = instruction.op0_kind() == OpKind::Memory;
        if info.can_use_lock_prefix() && memory && self.rng.one_in(3) {
            instruction.set_has_lock_prefix(true);
        } else if info.can_use_rep_prefix() && self.rng.one_in(2) {
            instruction.set_has_rep_prefix(true);
        } else if info.can_use_repne_prefix() && self.rng.one_in(2) {
            instruction.set_has_repne_prefix(true);
        }
    }

    fn state(&mut self, draft: Draft, window: [u8; WINDOW]) -> State {
        let rng = &mut self.rng;
        let mut fcw = 0x037F & !0x0F00 | rng.pick(&[0, 2, 3, 3]) << 8 | (rng.below(4) as u16) << 10;
        let mut mxcsr = 0x1F80 | (rng.below(4) as u32) << 13 | rng.below(64) as u32;
        if rng.one_in(4) {
            mxcsr |= rng.pick(&[0x8000, 0x0040, 0x8040]);
        }
        if rng.one_in(8) {
            mxcsr &= !(1 << (7 + rng.below(6)));
        }
        if rng.one_in(8) {
            fcw &= !(1 << rng.below(6));
        }
        let sticky = rng.below(64) as u16 & if rng.one_in(2) { fcw } else { 0 };
        let conditions = (rng.word() as u16) & 0x4700;
        let mut gpr = draft.gpr;
        if self.bitness == 32 {
            gpr.iter_mut().for_each(|register| *register &= 0xFFFF_FFFF);
        }
        State {
            gpr,
            rip: CODE + CODE_AT,
            rflags: 0x202 | rng.word() & 0x8D5 | if rng.one_in(4) { 0x400 } else { 0 },
            ymm: draft.ymm,
            mxcsr,
            fcw,
            fsw: sticky | conditions | (rng.below(8) as u16) << 11,
            ftw: if rng.one_in(3) { rng.word() as u16 & 0xFF } else { 0xFF },
            st: std::array::from_fn(|_| extended(rng)),
            window,
        }
    }
}

/// An 80-bit real: mostly numbers, some specials, some encodings that no longer exist.
fn extended(rng: &mut Rng) -> [u8; 10] {
    let integer_bit = 1 << 63;
    let (exponent, fraction): (u16, u64) = match rng.below(8) {
        0 => rng.pick(&[
            (0, 0),
            (0x8000, 0),
            (0x3FFF, integer_bit),
            (0xBFFF, integer_bit),
            (0x7FFF, integer_bit),
            (0xFFFF, integer_bit),
            (0x7FFF, 0xC000_0000_0000_0000),
            (0xFFFF, 0xC000_0000_0000_0000),
            (0x7FFF, 0xA000_0000_0000_0000),
            (0, 1),
            (0, integer_bit),
            (0x7FFE, u64::MAX),
            (1, integer_bit),
            (0x3FFF, 0),
            (0x7FFF, 0),
        ]),
        1 => (rng.word() as u16, rng.word()),
        2 => (rng.word() as u16, rng.word() | integer_bit),
        _ => ((0x3FFF - 40 + rng.below(80) as u16) | (rng.below(2) as u16) << 15, rng.word() | integer_bit),
    };
    let mut bytes = [0; 10];
    bytes[..8].copy_from_slice(&fraction.to_le_bytes());
    bytes[8..].copy_from_slice(&exponent.to_le_bytes());
    bytes
}

/// Somewhere among the INT3s before or behind the instruction.
fn branch_target(rng: &mut Rng) -> u64 {
    let distance = 16 + rng.below(90);
    if rng.one_in(2) { CODE + CODE_AT + distance } else { CODE + CODE_AT - distance }
}

fn set_memory(instruction: &mut Instruction, i: u32, operand: &MemoryOperand) {
    instruction.set_op_kind(i, OpKind::Memory);
    instruction.set_memory_base(operand.base);
    instruction.set_memory_index(operand.index);
    instruction.set_memory_index_scale(operand.scale);
    instruction.set_memory_displ_size(operand.displ_size);
    instruction.set_memory_displacement64(operand.displacement as u64);
}

fn eligible(code: Code, bitness: u32) -> bool {
    let info = code.op_code();
    let in_mode = if bitness == 64 { info.mode64() } else { info.mode32() };
    let implemented = exec::handler(code, false).is_some() || exec::handler(code, true).is_some();
    let near = match code.flow_control() {
        FlowControl::Next | FlowControl::ConditionalBranch => true,
        FlowControl::UnconditionalBranch | FlowControl::Call => (0..info.op_count())
            .any(|i| matches!(info.op_kind(i), Kind::br64_1 | Kind::br64_4 | Kind::br32_1 | Kind::br32_4)),
        _ => false,
    };
    let segment_moves = (0..info.op_count()).any(|i| {
        use Kind as K;
        matches!(
            info.op_kind(i),
            K::seg_reg | K::es | K::cs | K::ss | K::ds | K::fs | K::gs | K::cr_reg | K::dr_reg
        )
    });
    in_mode
        && implemented
        && near
        && !segment_moves
        && !code.is_privileged()
        && !EXCLUDED.contains(&code.mnemonic())
}
