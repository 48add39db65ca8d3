//! One block of guest code to host code, in one pass over its instructions.
//!
//! A block begins anywhere and ends at the first instruction that surely goes elsewhere, at the end
//! of its page, or where a translation exists already; conditional branches leave it sideways. What
//! is common goes to the hot region, what is rare behind it to the cold one.

mod branch;
mod coalesce;
mod decode;
mod frame;
mod memory;
mod native;
mod string;
mod system;

use std::collections::VecDeque;

use iced_x86::{Code, Decoder, Encoder, Instruction, InstructionInfoFactory, OpAccess, OpKind, Register};

use self::coalesce::Run;
use super::asm::{Asm, Mem, R9, R10, R11, RAX, RDX, Size, at, at_sum, cc, gs, gs_indexed};
use super::cache::{Access, Block, CodeRange, Exit, ExitId, Key, Site, SiteId};
use super::classify::{Kind, STATUS, alignment, class, flag_effect};
use super::context::{self, JUMP_CODE, field, tlb_array};
use super::mode::Mode;
use super::runtime::POLL;
use super::thunks::{Target, doorbell, look_up, put_flags_aside, take_flags_back};
use super::trace;
use super::translator::{Assumed, Translator};
use crate::memory::PAGE_SIZE;
use crate::x86::block::DECODING;
use crate::x86::cpu::{Cpu, flag};
use crate::x86::cpuid::CpuidTable;
use crate::x86::mmu::{SUPERVISOR, SUPERVISOR_SMAP, Tlb};
use crate::x86::op::seg;

/// Instructions in a block at most.
const BLOCK_LENGTH: usize = 64;
/// Instructions looked at beyond a branch to learn whether flags matter there.
const LOOKAHEAD: usize = 12;

/// The bytes to translate.
pub struct Source<'a> {
    pub key: Key,
    /// From the block's first byte to the page's end, and beyond it if an instruction is to cross it.
    pub bytes: &'a [u8],
    /// The RAM page behind it, if only an instruction is wanted that crosses into that.
    pub second: Option<u32>,
    /// The whole page.
    pub page: &'a [u8],
    pub global: bool,
    pub cpuid: &'a CpuidTable,
    pub assumed: Assumed,
    /// The machine has no other vCPU.
    pub alone: bool,
}

/// Where a guest register is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Host(u8),
    /// In memory only: R9, R10 and R11.
    Memory(usize),
}

fn place(guest: u8) -> Place {
    match guest {
        4 => Place::Host(R9),
        9..=11 => Place::Memory(context::register(usize::from(guest))),
        other => Place::Host(other),
    }
}

/// The number of a general register, whatever its width; `None` for other registers.
fn number(register: Register) -> Option<u8> {
    register.is_gpr().then(|| (register.full_register() as u32 - Register::RAX as u32) as u8)
}

/// The register of `like`'s width with another number.
fn renamed(like: Register, number: u8) -> Register {
    let number = u32::from(number);
    let base = match like.size() {
        1 if number < 4 => Register::AL as u32,
        1 => Register::SPL as u32 - 4,
        2 => Register::AX as u32,
        4 => Register::EAX as u32,
        _ => Register::RAX as u32,
    };
    Register::try_from((base + number) as usize).unwrap_or(Register::None)
}

fn is_high_byte(register: Register) -> bool {
    matches!(register, Register::AH | Register::CH | Register::DH | Register::BH)
}

/// Code to be emitted in the cold region, and the hot jump that leads to it.
enum Cold {
    /// A memory access missed; `address` recomputes what R10 held.
    Slow {
        from: Vec<usize>,
        instruction: Instruction,
        what: Address,
        site: SiteId,
    },
    /// The interpreter does this instruction.
    Emulate {
        from: Vec<usize>,
        site: SiteId,
        flags: bool,
    },
    /// Go on to a direct target that cannot be chained to.
    Far {
        from: usize,
        target: u64,
        mode: Mode,
        flags: bool,
    },
    /// A return went elsewhere than its call expected: look R10 up, in the view of the landing.
    Unpaired {
        from: usize,
        view: usize,
        flags: bool,
    },
    /// A return arrived: record that, and go on.
    Record {
        from: usize,
        rip: u64,
    },
    /// Leave for a direct target, or be chained.
    Stub {
        exit: ExitId,
    },
    LoadVectors {
        from: usize,
        back: usize,
    },
    LoadX87 {
        from: usize,
        back: usize,
    },
}

/// How an access's linear address is formed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Address {
    /// The memory operand.
    Operand,
    /// Host register plus displacement.
    Plain(u8, i32),
    /// The memory operand, moved by a bit number in a register.
    Bits,
}

struct Decoded {
    instruction: Instruction,
    /// Status flags that are needed before it.
    live: u32,
    /// And behind it.
    live_after: u32,
    /// It begins a run of accesses that are checked together.
    run: Option<Run>,
    /// It belongs to one: R11 is not to be touched, and its access is checked.
    held: bool,
}

pub struct Emitter<'a> {
    source: Source<'a>,
    translator: &'a mut Translator,
    hot: Asm,
    cold: Asm,
    pending: Vec<Cold>,
    sites: Vec<Site>,
    exits: Vec<Exit>,
    /// Host offsets of the instructions' starts, by guest offset.
    starts: Vec<(u64, Mode, usize)>,
    /// Forward jumps, perhaps to instructions of this block.
    forward: Vec<(usize, u64, Mode)>,
    ranges: Vec<CodeRange>,
    /// What `live_at` has said so far.
    seen: Vec<(u64, (u32, u32))>,
    landings: Vec<u32>,
    /// STI was just translated: after one instruction more interrupts may come.
    shadow: bool,
    mode: Mode,
    block: u32,
    info: InstructionInfoFactory,
    encoder: Encoder,
    vector: bool,
    x87: bool,
    exact: bool,
    instructions: usize,
}

/// Translates the block at `source`. `None` if its first instruction is not wholly in the page.
pub fn translate(translator: &mut Translator, source: Source<'_>) -> Option<Block> {
    let mode = source.key.mode;
    let (hot, cold) = (translator.cache.hot.next_multiple_of(16), translator.cache.cold);
    let (block, exact) = (translator.cache.blocks.len() as u32, translator.exact_flags);
    let (hot_bytes, cold_bytes) = std::mem::take(&mut translator.spare);
    let encoder = translator.encoder.take().unwrap_or_else(|| Encoder::new(64));
    let mut emitter = Emitter {
        source,
        translator,
        hot: Asm::reusing(hot_bytes, hot),
        cold: Asm::reusing(cold_bytes, cold),
        pending: Vec::new(),
        sites: Vec::new(),
        exits: Vec::new(),
        starts: Vec::new(),
        forward: Vec::new(),
        ranges: Vec::new(),
        seen: Vec::new(),
        landings: Vec::new(),
        shadow: false,
        mode,
        block,
        info: InstructionInfoFactory::new(),
        encoder,
        vector: false,
        x87: false,
        exact,
        instructions: 0,
    };
    let made = emitter.run();
    let Emitter { encoder, translator, hot, cold, .. } = emitter;
    translator.encoder = Some(encoder);
    translator.spare = (hot.bytes, cold.bytes);
    made
}

impl Emitter<'_> {
    fn run(&mut self) -> Option<Block> {
        let decoded = self.decode()?;
        let key = self.source.key;
        let first = self.hot.here();
        let grave = self.grave();
        let counter = self.count();
        let entry = self.hot.here();
        let flags_live = decoded.first().is_some_and(|first| first.live != 0) || self.exact;
        self.prologue(flags_live);
        let warm_entry = self.hot.here();
        let last = decoded.len() - 1;
        let mut ended = false;
        for (i, it) in decoded.iter().enumerate() {
            let rip = it.instruction.ip();
            let again = if i == 0 && counter.is_some() { first } else { self.hot.here() };
            self.starts.push((rip, self.mode, again));
            if let Some(run) = it.run {
                self.check_run(it, run);
            }
            let done = self.instruction(it, decoded.get(i + 1));
            self.look_after_sti(it);
            // What the interpreter does may turn out not to go elsewhere.
            ended = done && i == last && class(it.instruction.code()).ends;
        }
        let end = decoded[last].instruction.next_ip();
        if !ended {
            let site = self.hot.jmp();
            self.jump_out(site, self.wrap(end), self.mode);
        }
        self.bind_forward();
        self.finish_cold();
        let (hot, cold) = (self.hot.here(), self.cold.here());
        let Translator { cache, .. } = &mut *self.translator;
        self.hot.flush(&mut cache.buffer);
        self.cold.flush(&mut cache.buffer);
        (cache.hot, cache.cold) = (hot, cold);
        let exits = (cache.exits.len() as u32, (cache.exits.len() + self.exits.len()) as u32);
        cache.exits.append(&mut self.exits);
        cache.sites.append(&mut self.sites);
        let offset = (key.rip & (PAGE_SIZE - 1)) as u16;
        let length = (end - key.rip) as u16;
        let end = offset + length;
        self.ranges.push(CodeRange { page: key.page, start: offset, end: end.min(PAGE_SIZE as u16) });
        if let Some(page) = self.source.second {
            self.ranges.push(CodeRange { page, start: 0, end: end - PAGE_SIZE as u16 });
        }
        Some(Block {
            key,
            code: self.source.bytes[..usize::from(length)].into(),
            ranges: std::mem::take(&mut self.ranges),
            second: self.source.second,
            entry: if counter.is_some() { first as u32 } else { entry as u32 },
            warm_entry: if counter.is_some() { first as u32 } else { warm_entry as u32 },
            hot: (entry as u32, hot as u32),
            grave: grave as u32,
            vector: self.vector,
            x87: self.x87,
            global: self.source.global,
            dead: false,
            exits,
            landings: std::mem::take(&mut self.landings),
            incoming: Vec::new(),
            counter,
        })
    }

    fn wrap(&self, rip: u64) -> u64 {
        if self.mode.long() { rip } else { rip & 0xFFFF_FFFF }
    }
}

/// A guest register that lives in memory, for one instruction in a scratch register.
struct Spilled {
    slot: usize,
    host: u8,
    read: bool,
    written: bool,
}

/// How a checked operand is addressed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// R11 + R10.
    Sum,
    /// R10; R11 is free.
    Single,
}

/// Looks for attention, sparing the flags if need be; gives the jump taken where there is some (then
/// with the flags still aside).
fn poll(asm: &mut Asm, flags: bool) -> usize {
    if flags {
        put_flags_aside(asm);
    }
    let found = doorbell(asm);
    if flags {
        take_flags_back(asm);
    }
    found
}

/// Makes a memory operand that of a checked access.
fn point_to(instruction: &mut Instruction, to: Mem) {
    let named = |number: Option<u8>| number.map_or(Register::None, |number| renamed(Register::RAX, number));
    instruction.set_segment_prefix(Register::None);
    instruction.set_memory_base(named(to.base));
    instruction.set_memory_index(named(to.index.map(|(index, _)| index)));
    instruction.set_memory_index_scale(1);
    instruction.set_memory_displacement64(to.disp as i64 as u64);
    instruction.set_memory_displ_size(if to.disp == 0 { 0 } else { 8 });
}

/// The scratch register that an operand, asked for in `Form::Single`, leaves free.
fn free(operand: Mem) -> u8 {
    if operand.base == Some(R10) { R11 } else { R10 }
}

/// A LEA whose registers are all in host registers, renamed.
fn directly(instruction: &Instruction) -> Option<Instruction> {
    let mut renamed_too = *instruction;
    if instruction.is_ip_rel_memory_operand() {
        return None;
    }
    let host = |register: Register| match number(register).map(place) {
        None => Some(register),
        Some(Place::Host(host)) => Some(renamed(register, host)),
        Some(Place::Memory(_)) => None,
    };
    renamed_too.set_op0_register(host(instruction.op0_register())?);
    renamed_too.set_memory_base(host(instruction.memory_base())?);
    renamed_too.set_memory_index(host(instruction.memory_index())?);
    renamed_too.set_segment_prefix(Register::None);
    Some(renamed_too)
}

/// The condition of a Jcc, as encodings number it.
fn condition(code: Code) -> Option<u8> {
    let condition = code.condition_code();
    (condition != iced_x86::ConditionCode::None).then(|| condition as u8 - iced_x86::ConditionCode::o as u8)
}
