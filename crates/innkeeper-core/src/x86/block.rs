//! Decoded blocks: fetching guest code, lowering it to [`Op`]s, and the cache of the result.
//!
//! A block is a run of instructions within one page (or one instruction across two), keyed by RAM
//! page, offset and code size. It is fresh while its page's code version is what it was at decode.

use iced_x86::{Code, CodeSize, Decoder, DecoderOptions, FlowControl, Instruction, OpKind, Register};

use super::cpu::Cpu;
use super::exec;
use super::fault::{Stop, vector};
use super::op::{self, Op};
use crate::memory::PAGE_SIZE;

/// Slots of the cache; one block each, so this bounds its memory.
const SLOTS: usize = 1 << 16;
/// Instructions in a block at most: bounds the delay until an interrupt is seen.
const BLOCK_OPS: usize = 48;
/// The longest legal instruction, in bytes.
const MAX_LENGTH: usize = 15;
/// 0F 0D and 0F 18-1F are no-operations, whatever later processors put there (CET, MPX, hints).
pub(super) const DECODING: u32 = DecoderOptions::FORCE_RESERVED_NOP;

pub struct Block {
    page: u32,
    offset: u16,
    bitness: u8,
    version: u32,
    /// The second page and its version, for an instruction that crosses into it.
    crossing: Option<(u32, u32)>,
    /// Bytes of guest code.
    pub length: u16,
    pub ops: Box<[Op]>,
}

/// The decoded blocks of one vCPU: direct-mapped, newest wins.
pub struct BlockCache {
    slots: Box<[Option<Box<Block>>]>,
}

impl Default for BlockCache {
    fn default() -> Self {
        // SAFETY: an `Option` of a box that is all zeroes is none. Not written, it has no memory of the host's yet.
        Self { slots: unsafe { Box::new_zeroed_slice(SLOTS).assume_init() } }
    }
}

impl BlockCache {
    /// Drops every block.
    pub fn clear(&mut self) {
        self.slots.fill_with(|| None);
    }

    #[inline(always)]
    fn index(page: u32, offset: u64) -> usize {
        let key = u64::from(page) << 12 | offset;
        (key.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 48) as usize & (SLOTS - 1)
    }
}

impl Cpu {
    /// The block at CS:RIP, decoded if need be. The pointer is good until the next call.
    ///
    /// # Errors
    /// The fault that fetching its first instruction raises.
    #[inline(always)]
    pub fn find_block(&mut self) -> Result<*const Block, Stop> {
        let linear = self.code_linear()?;
        let Some(page) = self.code_page(linear)? else { return self.decode_uncached(linear) };
        let offset = linear & (PAGE_SIZE - 1);
        if let Some(block) = &self.blocks.slots[BlockCache::index(page, offset)]
            && block.page == page
            && u64::from(block.offset) == offset
            && u32::from(block.bitness) == self.bitness
            && block.version == self.platform.memory.code_version(page)
            && block.crossing.is_none()
            && (self.long || self.rip() + u64::from(block.length) - 1 <= u64::from(self.segments[1].limit))
        {
            return Ok(std::ptr::from_ref::<Block>(block));
        }
        self.find_block_slow(linear, page, offset)
    }

    /// The linear address of CS:RIP, checked against the code segment.
    #[inline(always)]
    pub fn code_linear(&mut self) -> Result<u64, Stop> {
        let rip = self.rip();
        if self.long {
            return Ok(rip);
        }
        if rip > u64::from(self.segments[1].limit) {
            return Err(self.gp(0));
        }
        Ok(self.bases[1].wrapping_add(rip) & 0xFFFF_FFFF)
    }

    #[cold]
    #[inline(never)]
    fn find_block_slow(&mut self, linear: u64, page: u32, offset: u64) -> Result<*const Block, Stop> {
        let index = BlockCache::index(page, offset);
        if let Some(block) = &self.blocks.slots[index]
            && block.page == page
            && u64::from(block.offset) == offset
            && u32::from(block.bitness) == self.bitness
        {
            let fresh = block.version == self.platform.memory.code_version(page);
            let (crossing, length) = (block.crossing, u64::from(block.length));
            if !fresh {
                self.stats.code_invalidations.add(1);
            } else if !self.long && self.rip() + length - 1 > u64::from(self.segments[1].limit) {
                return self.decode_uncached(linear);
            } else if let Some((second, version)) = crossing {
                let next = self.next_page(linear);
                if self.code_page(next)? == Some(second)
                    && self.platform.memory.code_version(second) == version
                {
                    return Ok(std::ptr::from_ref::<Block>(
                        self.blocks.slots[index].as_ref().expect("just seen"),
                    ));
                }
            }
        }
        self.decode(linear, page, offset)
    }

    fn next_page(&self, linear: u64) -> u64 {
        let next = (linear | (PAGE_SIZE - 1)).wrapping_add(1);
        if self.long { next } else { next & 0xFFFF_FFFF }
    }

    /// Decodes and caches the block at a RAM address.
    fn decode(&mut self, linear: u64, page: u32, offset: u64) -> Result<*const Block, Stop> {
        let room = (PAGE_SIZE - offset) as usize;
        let mut bytes = [0; PAGE_SIZE as usize];
        loop {
            // The version comes first: whatever is written from here on makes the block stale.
            let version = self.platform.memory.code_version(page);
            self.copy_code(page, offset, &mut bytes[..room]);
            let (ops, length) = self.lower_run(&bytes[..room]);
            if ops.is_empty() {
                return self.decode_crossing(linear, page, offset, version);
            }
            self.guard_code(page, offset, length as u64);
            let mut again = [0; PAGE_SIZE as usize];
            self.copy_code(page, offset, &mut again[..length]);
            if bytes[..length] != again[..length] {
                continue; // written before the guard was up
            }
            return Ok(self.cache(Block {
                page,
                offset: offset as u16,
                bitness: self.bitness as u8,
                version,
                crossing: None,
                length: length as u16,
                ops: ops.into(),
            }));
        }
    }

    pub(super) fn copy_code(&self, page: u32, offset: u64, out: &mut [u8]) {
        assert!(offset + out.len() as u64 <= PAGE_SIZE);
        // SAFETY: a RAM page is PAGE_SIZE bytes, and the copy was just checked to end within it.
        unsafe {
            let from = self.platform.memory.page_pointer(page).add(offset as usize);
            std::ptr::copy_nonoverlapping(from, out.as_mut_ptr(), out.len());
        }
    }

    /// Lowers instructions until the block ends or the next one does not fit in `bytes`.
    fn lower_run(&mut self, bytes: &[u8]) -> (Vec<Op>, usize) {
        let mut decoder = Decoder::with_ip(self.bitness, bytes, 0, DECODING);
        let mut instruction = Instruction::default();
        let (mut ops, mut length) = (Vec::with_capacity(8), 0);
        let in_limit = if self.long { u64::MAX } else { u64::from(self.segments[1].limit) - self.rip() + 1 };
        while decoder.can_decode() && ops.len() < BLOCK_OPS {
            decoder.decode_out(&mut instruction);
            // Cut off by the page's end, or perhaps invalid: the one-instruction path will tell.
            let cut = instruction.is_invalid() && bytes.len() - length < MAX_LENGTH;
            if cut || decoder.position() as u64 > in_limit {
                break;
            }
            length = decoder.position();
            ops.push(lower(&instruction, self.platform.cpuid.allows(instruction.code())));
            if instruction.flow_control() != FlowControl::Next || instruction.is_invalid() {
                break;
            }
        }
        self.stats.blocks_decoded.add(1);
        self.stats.instructions_decoded.add(ops.len() as u64);
        (ops, length)
    }

    /// One instruction that crosses into the next page.
    fn decode_crossing(
        &mut self,
        linear: u64,
        page: u32,
        offset: u64,
        version: u32,
    ) -> Result<*const Block, Stop> {
        let (first, length) = self.fetch_one(linear)?;
        let here = (length as u64).min(PAGE_SIZE - offset);
        self.guard_code(page, offset, here);
        let mut block = Block {
            page,
            offset: offset as u16,
            bitness: self.bitness as u8,
            version,
            crossing: None,
            length: length as u16,
            ops: Box::new([first]),
        };
        if here < length as u64 {
            let Some(second) = self.code_page(self.next_page(linear))? else {
                return self.decode_uncached(linear);
            };
            block.crossing = Some((second, self.platform.memory.code_version(second)));
            self.guard_code(second, 0, length as u64 - here);
        }
        // Only now is the guard up: what was read before may have been written since.
        let (op, again) = self.fetch_one(linear)?;
        if again != length {
            return self.decode_uncached(linear);
        }
        block.ops = Box::new([op]);
        Ok(self.cache(block))
    }

    /// One instruction, cached nowhere: code outside RAM, or at the very end of its segment.
    #[cold]
    fn decode_uncached(&mut self, linear: u64) -> Result<*const Block, Stop> {
        let (op, length) = self.fetch_one(linear)?;
        let block = Block {
            page: u32::MAX, // matches no page
            offset: 0,
            bitness: 0,
            version: 0,
            crossing: None,
            length: length as u16,
            ops: Box::new([op]),
        };
        Ok(self.cache(block))
    }

    /// Fetches and lowers one instruction byte by byte, with every check.
    ///
    /// # Errors
    /// #PF or #GP of the fetch; #GP for more than 15 bytes.
    pub fn fetch_one(&mut self, linear: u64) -> Result<(Op, usize), Stop> {
        let mut bytes = [0; MAX_LENGTH];
        let mut instruction = Instruction::default();
        for have in 1..=MAX_LENGTH {
            let at = have - 1;
            if !self.long && self.rip() + at as u64 > u64::from(self.segments[1].limit) {
                return Err(self.gp(0));
            }
            let address = linear.wrapping_add(at as u64);
            bytes[at] = self.fetch_byte(if self.long { address } else { address & 0xFFFF_FFFF })?;
            let mut decoder = Decoder::with_ip(self.bitness, &bytes[..have], 0, DECODING);
            decoder.decode_out(&mut instruction);
            let wants_more = decoder.last_error() == iced_x86::DecoderError::NoMoreBytes;
            if !wants_more {
                let allowed = self.platform.cpuid.allows(instruction.code());
                return Ok((lower(&instruction, allowed), instruction.len().max(1)));
            }
        }
        Err(self.raise(vector::GP, 0))
    }

    fn cache(&mut self, block: Block) -> *const Block {
        let index = BlockCache::index(block.page, u64::from(block.offset));
        let slot = &mut self.blocks.slots[index];
        std::ptr::from_ref::<Block>(slot.insert(Box::new(block)))
    }
}

/// Lowers one decoded instruction. `allowed`: its CPUID feature is presented to the guest.
pub fn lower(instruction: &Instruction, allowed: bool) -> Op {
    let memory = (0..instruction.op_count()).any(|i| instruction.op_kind(i) == OpKind::Memory);
    let (code, allowed) = match exec::without_prefix(instruction.code()) {
        Some(older) if !allowed => (older, true),
        _ => (instruction.code(), allowed),
    };
    let found = match code {
        Code::INVALID if instruction.len() >= MAX_LENGTH => Some(too_long as op::Handler),
        Code::INVALID => None,
        _ if allowed => exec::handler(code, memory),
        _ => None,
    };
    let mut op = Op {
        handler: found.unwrap_or(undefined),
        imm: 0,
        disp: instruction.memory_displacement64(),
        address_mask: u64::MAX,
        code,
        imm2: 0,
        length: instruction.len() as u8,
        reg: 0,
        rm: 0,
        base: op::ZERO,
        index: op::ZERO,
        scale: 0,
        segment: op::NO_SEGMENT,
        prefixes: prefixes(instruction),
        vvvv: 0,
        is4: 0,
        memory,
        size: 0,
    };
    operands(instruction, &mut op);
    op
}

fn undefined(cpu: &mut Cpu, _op: &Op) -> Result<(), Stop> {
    Err(cpu.ud())
}

/// Prefixes beyond the length of any instruction (Intel SDM vol. 3, 6.15, "General Protection").
fn too_long(cpu: &mut Cpu, _op: &Op) -> Result<(), Stop> {
    Err(cpu.gp(0))
}

fn prefixes(instruction: &Instruction) -> u8 {
    let flag = |on, bit| if on { bit } else { 0 };
    flag(instruction.has_lock_prefix(), op::LOCK)
        | flag(instruction.has_rep_prefix(), op::REP)
        | flag(instruction.has_repne_prefix(), op::REPNE)
}

/// Sorts operands into the fields of `Op` by where the encoding keeps them.
fn operands(instruction: &Instruction, op: &mut Op) {
    let info = instruction.op_code();
    op.size = (info.operand_size() / 8) as u8;
    let mut immediates = 0;
    for i in 0..instruction.op_count() {
        match instruction.op_kind(i) {
            OpKind::Register => register(instruction.op_register(i), info.op_kind(i), op),
            OpKind::Memory => memory(instruction, op),
            OpKind::NearBranch16 | OpKind::NearBranch32 | OpKind::NearBranch64 => {
                let distance = instruction.near_branch_target().wrapping_sub(instruction.next_ip());
                op.imm = match instruction.op_kind(i) {
                    OpKind::NearBranch16 => distance as i16 as u64,
                    OpKind::NearBranch32 => distance as i32 as u64,
                    _ => distance,
                };
            }
            OpKind::FarBranch16 => {
                (op.imm, op.imm2) =
                    (u64::from(instruction.far_branch16()), instruction.far_branch_selector());
            }
            OpKind::FarBranch32 => {
                (op.imm, op.imm2) =
                    (u64::from(instruction.far_branch32()), instruction.far_branch_selector());
            }
            OpKind::MemorySegSI | OpKind::MemorySegDI | OpKind::MemoryESDI => string(instruction, op, 0xFFFF),
            OpKind::MemorySegESI | OpKind::MemorySegEDI | OpKind::MemoryESEDI => {
                string(instruction, op, 0xFFFF_FFFF);
            }
            OpKind::MemorySegRSI | OpKind::MemorySegRDI | OpKind::MemoryESRDI => {
                string(instruction, op, u64::MAX)
            }
            _ => {
                if immediates == 0 {
                    op.imm = instruction.immediate(i);
                } else {
                    op.imm2 = instruction.immediate(i) as u16;
                }
                immediates += 1;
            }
        }
    }
}

/// A string instruction's implied operand: its overridable segment and its address size.
fn string(instruction: &Instruction, op: &mut Op, mask: u64) {
    op.segment = segment_number(instruction);
    op.address_mask = mask;
}

/// The segment of the memory operand. In 64-bit mode overrides but FS and GS do not exist, not even
/// where the choice is between #SS and #GP for a bad address.
fn segment_number(instruction: &Instruction) -> u8 {
    let ignored = instruction.code_size() == CodeSize::Code64
        && matches!(instruction.segment_prefix(), Register::ES | Register::CS | Register::SS | Register::DS);
    let segment = instruction.memory_segment();
    match instruction.memory_base() {
        Register::RSP | Register::RBP | Register::ESP | Register::EBP if ignored => op::seg::SS,
        _ if ignored || !segment.is_segment_register() => op::seg::DS,
        _ => segment.number() as u8,
    }
}

/// The number of a register as `Op` numbers it: byte registers are offsets into the register file.
fn number(register: Register) -> u8 {
    match register {
        Register::AH | Register::CH | Register::DH | Register::BH => {
            8 * (register as u8 - Register::AH as u8) + 1
        }
        _ if register.is_gpr8() => 8 * register.full_register().number() as u8,
        _ => register.number() as u8,
    }
}

fn register(register: Register, kind: iced_x86::OpCodeOperandKind, op: &mut Op) {
    use iced_x86::OpCodeOperandKind as Kind;
    let number = number(register);
    match kind {
        Kind::r8_or_mem | Kind::r16_or_mem | Kind::r32_or_mem | Kind::r64_or_mem => op.rm = number,
        Kind::r32_or_mem_mpx | Kind::r64_or_mem_mpx => op.rm = number,
        Kind::mm_or_mem | Kind::xmm_or_mem | Kind::ymm_or_mem => op.rm = number,
        Kind::r16_rm | Kind::r32_rm | Kind::r64_rm => op.rm = number,
        Kind::mm_rm | Kind::xmm_rm | Kind::ymm_rm | Kind::sti_opcode => op.rm = number,
        Kind::r32_vvvv | Kind::r64_vvvv | Kind::xmm_vvvv | Kind::ymm_vvvv => op.vvvv = number,
        Kind::xmm_is4 | Kind::xmm_is5 | Kind::ymm_is4 | Kind::ymm_is5 => op.is4 = number,
        // Implied by the opcode; the handler knows them.
        Kind::al | Kind::cl | Kind::ax | Kind::dx | Kind::eax | Kind::rax | Kind::st0 => {}
        _ => op.reg = number,
    }
}

fn memory(instruction: &Instruction, op: &mut Op) {
    let (base, index) = (instruction.memory_base(), instruction.memory_index());
    op.segment = segment_number(instruction);
    op.scale = instruction.memory_index_scale().trailing_zeros() as u8;
    if instruction.is_ip_rel_memory_operand() {
        op.base = op::RIP;
        op.disp = instruction.memory_displacement64().wrapping_sub(instruction.next_ip());
        op.address_mask = if base == Register::EIP { 0xFFFF_FFFF } else { u64::MAX };
        return;
    }
    if base != Register::None {
        op.base = base.number() as u8;
    }
    if index.is_vector_register() {
        op.is4 = index.number() as u8; // VSIB; the scale applies to it
    } else if index != Register::None && !index.is_gpr8() {
        op.index = index.number() as u8; // XLAT's AL is its handler's affair
    }
    let bytes = match (base.size(), index.size()) {
        (0, 0) => instruction.memory_displ_size() as usize,
        (0, index) => index,
        (base, _) => base,
    };
    op.address_mask = match bytes {
        2 => 0xFFFF,
        4 => 0xFFFF_FFFF,
        _ => u64::MAX,
    };
}
