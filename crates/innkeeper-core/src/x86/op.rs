//! A pre-decoded instruction: everything a handler needs, resolved once per block.

use iced_x86::Code;

use super::cpu::Cpu;
use super::fault::Stop;

/// Executes one instruction. On entry RIP already points behind it.
pub type Handler = fn(&mut Cpu, &Op) -> Result<(), Stop>;

/// Number in `base`/`index` of a register that always reads as zero: "none".
pub const ZERO: u8 = 16;
/// Number in `base` of RIP, already advanced: RIP-relative addressing.
pub const RIP: u8 = 17;
/// Segment number "no segment override applies, base 0" (LEA).
pub const NO_SEGMENT: u8 = 6;

/// Segment register numbers, as in ModRM and in `CpuStateV1::segments`.
pub mod seg {
    pub const ES: u8 = 0;
    pub const CS: u8 = 1;
    pub const SS: u8 = 2;
    pub const DS: u8 = 3;
    pub const FS: u8 = 4;
    pub const GS: u8 = 5;
}

pub const LOCK: u8 = 1;
pub const REP: u8 = 2; // F3
pub const REPNE: u8 = 4; // F2

/// Register operands are named as the encoding names them, whatever their order in assembly:
/// `reg` is ModRM.reg, or the register in the opcode byte, or the accumulator where it is implied;
/// `rm` is ModRM.rm when that is a register; `vvvv` is the VEX operand; `is4` the VEX register in
/// an immediate. General registers of 8 bits are byte offsets into the register file (AL 0, AH 1,
/// CL 8 ...); all others are plain numbers. A memory operand is `segment:[base + index << scale + disp]`,
/// truncated to `address_mask`.
#[derive(Clone)]
pub struct Op {
    pub handler: Handler,
    /// Immediate, sign-extended to 64 bits as the operand size demands (first one, if two). For near
    /// branches the displacement from the next instruction; for far pointers the offset.
    pub imm: u64,
    pub disp: u64,
    pub address_mask: u64,
    pub code: Code,
    /// Second immediate (ENTER, EXTRQ) or far-pointer selector.
    pub imm2: u16,
    /// Bytes of the instruction.
    pub length: u8,
    pub reg: u8,
    pub rm: u8,
    pub base: u8,
    pub index: u8,
    pub scale: u8,
    pub segment: u8,
    /// LOCK, REP, REPNE.
    pub prefixes: u8,
    pub vvvv: u8,
    pub is4: u8,
    /// The r/m operand is memory.
    pub memory: bool,
    /// Effective operand size in bytes, for handlers that serve several: 2, 4 or 8.
    pub size: u8,
}
