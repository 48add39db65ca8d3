//! One block of guest code to host code, in one pass over its instructions.
//!
//! A block begins anywhere and ends at the first instruction that surely goes elsewhere, at the end
//! of its page, or where a translation exists already; conditional branches leave it sideways. What
//! is common goes to the hot region, what is rare behind it to the cold one.

use std::collections::VecDeque;

use iced_x86::{
    Code, Decoder, Encoder, Instruction, InstructionInfoFactory, OpAccess,
    OpKind, Register,
};

use super::asm::{Asm, Mem, R9, R10, R11, RAX, RDX, Size, at, at_sum, cc, gs, gs_indexed};
use super::cache::{Access, Block, Exit, ExitId, Key, Site, SiteId};
use super::classify::{Kind, STATUS, alignment, class, flag_effect};
use super::context::{self, FOLD, JUMP_CODE, field, jump_table, tlb_array};
use super::mode::Mode;
use super::runtime::{Assumed, POLL, Translator};
use super::thunks::{Target, doorbell, look_up, put_flags_aside, take_flags_back};
use super::trace;
use crate::memory::PAGE_SIZE;
use crate::x86::block::DECODING;
use crate::x86::cpu::{Cpu, flag};
use crate::x86::cpuid::CpuidTable;
use crate::x86::mmu::{SUPERVISOR, SUPERVISOR_SMAP, Tlb};
use crate::x86::op::seg;

/// Instructions in a block at most.
const BLOCK_LENGTH: usize = 64;
/// Instructions looked at beyond a branch to learn whether flags matter there.
const LOOKAHEAD: usize = 8;

/// The bytes to translate.
pub struct Source<'a> {
    pub key: Key,
    /// The page from the block's first byte to its end.
    pub bytes: &'a [u8],
    /// The whole page.
    pub page: &'a [u8],
    pub global: bool,
    pub cpuid: &'a CpuidTable,
    pub assumed: Assumed,
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
    Slow { from: Vec<usize>, instruction: Instruction, what: Address, site: SiteId },
    /// The interpreter does this instruction.
    Emulate { from: Vec<usize>, site: SiteId, flags: bool },
    /// Look for attention and go on to a direct target.
    Poll { from: usize, target: u64, mode: Mode, flags: bool },
    /// Go on to a direct target that cannot be chained to.
    Far { from: usize, target: u64, mode: Mode, flags: bool },
    /// A return went elsewhere than its call expected: look R10 up.
    Unpaired { from: usize, flags: bool },
    /// Leave for a direct target, or be chained.
    Stub { exit: ExitId },
    LoadVectors { from: usize, back: usize },
    LoadX87 { from: usize, back: usize },
}

/// How an access's linear address is formed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Address {
    /// The memory operand.
    Operand,
    /// Host register plus displacement.
    Plain(u8, i32),
}

struct Decoded {
    instruction: Instruction,
    /// Status flags that are needed before it.
    live: u32,
    /// And behind it.
    live_after: u32,
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
    ranges: Vec<(u16, u16)>,
    landings: Vec<u32>,
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
    let encoder = translator.encoder.take().unwrap_or_else(|| Encoder::new(64));
    let mut emitter = Emitter {
        source,
        translator,
        hot: Asm::new(hot),
        cold: Asm::new(cold),
        pending: Vec::new(),
        sites: Vec::new(),
        exits: Vec::new(),
        starts: Vec::new(),
        forward: Vec::new(),
        ranges: Vec::new(),
        landings: Vec::new(),
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
    let Emitter { encoder, translator, .. } = emitter;
    translator.encoder = Some(encoder);
    made
}

impl Emitter<'_> {
    fn run(&mut self) -> Option<Block> {
        let decoded = self.decode()?;
        let key = self.source.key;
        let first = self.hot.here();
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
            let done = self.instruction(it);
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
        self.ranges.push((offset, offset + length));
        Some(Block {
            key,
            length,
            ranges: std::mem::take(&mut self.ranges),
            entry: if counter.is_some() { first as u32 } else { entry as u32 },
            warm_entry: if counter.is_some() { first as u32 } else { warm_entry as u32 },
            hot: (entry as u32, hot as u32),
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

    // ---- decoding and liveness ------------------------------------------------------------------

    fn decode(&mut self) -> Option<Vec<Decoded>> {
        let rip = self.source.key.rip;
        let mut decoder = Decoder::with_ip(self.mode.bits(), self.source.bytes, rip, DECODING);
        let mut list: Vec<Decoded> = Vec::with_capacity(16);
        while decoder.can_decode() && list.len() < BLOCK_LENGTH {
            let mut instruction = Instruction::default();
            decoder.decode_out(&mut instruction);
            let left = self.source.bytes.len() as u64 - (instruction.ip() - rip);
            if instruction.is_invalid() && left < 15 {
                break; // cut off by the page's end, or perhaps invalid: the interpreter will tell
            }
            if !list.is_empty() {
                let key = Key { rip: instruction.ip(), ..self.source.key };
                if self.translator.cache.find(&key).is_some() {
                    break;
                }
            }
            let class = class(instruction.code());
            let native = matches!(class.kind, Kind::Native) && self.allowed(&instruction);
            self.vector |= native && class.vector;
            self.x87 |= native && class.x87;
            list.push(Decoded { instruction, live: STATUS, live_after: STATUS });
            if class.ends {
                break;
            }
        }
        if list.is_empty() {
            return None;
        }
        self.instructions = list.len();
        self.liveness(&mut list);
        Some(list)
    }

    /// Whether the guest may execute an instruction that the host can.
    fn allowed(&self, instruction: &Instruction) -> bool {
        let class = class(instruction.code());
        let vex = instruction.encoding() == iced_x86::EncodingKind::VEX && class.vector;
        self.source.cpuid.allows(instruction.code())
            && (self.mode.fpu() || !(class.vector || class.x87))
            && (self.mode.avx() || !vex)
    }

    fn liveness(&mut self, list: &mut [Decoded]) {
        let last = list.len() - 1;
        let end = list[last].instruction;
        let mut live = match class(end.code()).kind {
            Kind::Jump => self.live_at(end.near_branch_target()),
            // By every calling convention flags do not survive a call or a return. Where code shows that it
            // has its own, this is given up: see `FlagReturns`.
            Kind::Return | Kind::JumpIndirect => self.live_across_calls(&end),
            Kind::Emulate => STATUS,
            _ => self.live_at(end.next_ip()),
        };
        for it in list.iter_mut().rev() {
            it.live_after = live;
            match class(it.instruction.code()).kind {
                Kind::JumpIf => live |= self.live_at(it.instruction.near_branch_target()),
                Kind::Call | Kind::CallIndirect => live = self.live_across_calls(&it.instruction),
                _ => {}
            }
            live = if self.is_emulated(&it.instruction) {
                STATUS
            } else {
                let (read, killed) = flag_effect(&it.instruction);
                read | live & !killed
            };
            it.live = if self.exact { STATUS } else { live };
        }
        if self.exact {
            list.iter_mut().for_each(|it| it.live_after = STATUS);
        }
    }

    fn is_emulated(&self, instruction: &Instruction) -> bool {
        match class(instruction.code()).kind {
            Kind::Emulate | Kind::Pushf | Kind::Popf | Kind::StringMove | Kind::SwapGs => true,
            Kind::Native => !self.allowed(instruction),
            _ => false,
        }
    }

    /// Whether returns here may hand flags to their callers, and calls to what they call.
    fn flags_cross_calls(&self) -> bool {
        self.exact || !self.mode.long() || self.translator.flag_returns.covers(self.source.key.rip)
    }

    fn live_across_calls(&mut self, instruction: &Instruction) -> u32 {
        if self.flags_cross_calls() {
            return STATUS;
        }
        let kind = class(instruction.code()).kind;
        if matches!(kind, Kind::Call | Kind::CallIndirect) && self.look_ahead(instruction.next_ip()).0 != 0 {
            let callee = (kind == Kind::Call).then(|| instruction.near_branch_target());
            self.translator.flag_returns.add(callee);
        }
        0
    }

    /// Flags that code at `rip` may need.
    fn live_at(&mut self, rip: u64) -> u32 {
        if self.exact {
            return STATUS;
        }
        let (read, unknown) = self.look_ahead(rip);
        read | unknown
    }

    /// Flags that code at `rip` surely reads before it replaces them, and those it is not known to
    /// replace. The translation then depends on the bytes looked at.
    fn look_ahead(&mut self, rip: u64) -> (u32, u32) {
        let rip = self.wrap(rip);
        if rip >> 12 != self.source.key.rip >> 12 {
            return (0, STATUS);
        }
        let offset = (rip & (PAGE_SIZE - 1)) as usize;
        let mut decoder = Decoder::with_ip(self.mode.bits(), &self.source.page[offset..], rip, DECODING);
        let (mut live, mut pending) = (0, STATUS);
        let mut instruction = Instruction::default();
        for _ in 0..LOOKAHEAD {
            if pending == 0 || !decoder.can_decode() {
                break;
            }
            decoder.decode_out(&mut instruction);
            if instruction.is_invalid() || self.is_emulated(&instruction) {
                break;
            }
            let (read, killed) = flag_effect(&instruction);
            live |= read & pending;
            pending &= !killed;
            match class(instruction.code()).kind {
                Kind::Call | Kind::CallIndirect | Kind::Return | Kind::JumpIndirect => {
                    if !self.flags_cross_calls() {
                        pending = 0;
                    }
                    break;
                }
                Kind::Jump | Kind::JumpIf => break,
                _ => {}
            }
        }
        let end = (offset as u64 + (decoder.position() as u64)).min(PAGE_SIZE) as u16;
        self.ranges.push((offset as u16, end));
        (live, pending)
    }

    // ---- the frame of a block -------------------------------------------------------------------

    /// Counts executions, where that is wanted; gives the counter.
    fn count(&mut self) -> Option<usize> {
        let (counter, address) = self.translator.tracer.as_mut()?.counter();
        trace::count(&mut self.hot, address, self.source.key.rip, self.block);
        Some(counter)
    }

    fn prologue(&mut self, flags_live: bool) {
        if self.x87 {
            self.require(field!(x87_loaded), flags_live, |from, back| Cold::LoadX87 { from, back });
        }
        if self.vector {
            self.require(field!(vectors_loaded), flags_live, |from, back| Cold::LoadVectors { from, back });
        }
    }

    fn require(&mut self, loaded: usize, flags_live: bool, load: impl Fn(usize, usize) -> Cold) {
        if flags_live {
            put_flags_aside(&mut self.hot);
        }
        self.hot.cmp_byte(gs(loaded), 0);
        let from = self.hot.jcc(cc::E);
        let back = self.hot.here();
        if flags_live {
            take_flags_back(&mut self.hot);
        }
        self.pending.push(load(from, back));
    }

    /// Registers the exit whose jump's displacement ends at `site` (0: it has none to be chained).
    fn exit(&mut self, site: usize, target: u64, mode: Mode) -> ExitId {
        let id = (self.translator.cache.exits.len() + self.exits.len()) as ExitId;
        self.exits.push(Exit {
            from: self.block,
            target,
            site: site as u32,
            stub: 0,
            mode,
            warm_vector: self.vector,
            warm_x87: self.x87,
            chained: None,
        });
        if site != 0 {
            self.pending.push(Cold::Stub { exit: id });
        }
        id
    }

    fn site(&mut self, instruction: &Instruction, access: Access) -> SiteId {
        let id = (self.translator.cache.sites.len() + self.sites.len()) as SiteId;
        self.sites.push(Site {
            block: self.block,
            offset: (instruction.ip() - self.source.key.rip) as u16,
            length: instruction.len() as u8,
            access,
            size: 0,
            align: 0,
            retry: 0,
            next: 0,
            op: None,
        });
        id
    }

    fn site_mut(&mut self, id: SiteId) -> &mut Site {
        let first = self.translator.cache.sites.len();
        &mut self.sites[id as usize - first]
    }

    /// Where the block's instruction at `rip` begins, if it was translated for `mode`.
    fn start_of(&self, rip: u64, mode: Mode) -> Option<usize> {
        let same = |&&(start, found, _): &&(u64, Mode, usize)| start == rip && found == mode;
        self.starts.iter().find(same).map(|&(.., host)| host)
    }

    /// The same for a jump back. Where blocks are counted a loop is a block of its own.
    fn loop_start(&self, rip: u64, mode: Mode) -> Option<usize> {
        let counted = self.translator.tracer.is_some() && rip != self.source.key.rip;
        if counted { None } else { self.start_of(rip, mode) }
    }

    /// Resolves the jumps to instructions further down, or makes exits of them.
    fn bind_forward(&mut self) {
        for (site, target, mode) in std::mem::take(&mut self.forward) {
            match self.start_of(target, mode) {
                Some(host) => self.hot.patch(site, host),
                None => self.jump_out(site, target, mode),
            }
        }
    }

    /// Has the hot jump `site` leave the block.
    fn jump_out(&mut self, site: usize, target: u64, mode: Mode) {
        if self.is_far(target) {
            self.pending.push(Cold::Far { from: site, target, mode, flags: true });
        } else {
            self.exit(site, target, mode);
        }
    }

    fn finish_cold(&mut self) {
        let thunks = self.translator.cache.thunks;
        let mut pending: VecDeque<Cold> = std::mem::take(&mut self.pending).into();
        while let Some(work) = pending.pop_front() {
            let here = self.cold.here();
            match work {
                Cold::Slow { from, instruction, what, site } => {
                    from.into_iter().for_each(|from| self.hot.patch(from, here));
                    let mut cold = std::mem::take(&mut self.cold);
                    self.address(&mut cold, &instruction, what);
                    self.cold = cold;
                    self.cold.mov_imm(R11, site.into());
                    self.cold.jmp_to(thunks.slow);
                }
                Cold::Emulate { from, site, flags } => {
                    from.into_iter().for_each(|from| self.hot.patch(from, here));
                    if flags {
                        take_flags_back(&mut self.cold);
                    }
                    self.cold.mov_imm(R11, site.into());
                    self.cold.jmp_to(thunks.emulate);
                }
                Cold::Unpaired { from, flags } => {
                    self.hot.patch(from, here);
                    if flags {
                        take_flags_back(&mut self.cold);
                    }
                    self.cold.jmp_to(thunks.look_up[self.mode.view()]);
                }
                Cold::Far { from, target, mode, flags } => {
                    self.hot.patch(from, here);
                    self.far_jump(target, mode, flags);
                }
                Cold::Poll { from, target, mode, flags } => {
                    self.hot.patch(from, here);
                    let found = poll(&mut self.cold, flags);
                    let internal = self.loop_start(target, mode);
                    let mut site = 0;
                    if let Some(host) = internal {
                        self.cold.jmp_to(host);
                    } else if self.is_far(target) {
                        self.far_jump(target, mode, flags);
                    } else {
                        site = self.cold.jmp();
                    }
                    let exit = self.exit(site, target, mode);
                    let found_here = self.cold.here();
                    self.cold.patch(found, found_here);
                    self.leave_polled(exit, flags);
                }
                Cold::Stub { exit } => {
                    let first = self.translator.cache.exits.len();
                    let record = &mut self.exits[exit as usize - first];
                    record.stub = here as u32;
                    let site = record.site as usize;
                    self.cold.mov_imm(R11, exit.into());
                    self.cold.jmp_to(thunks.exit);
                    if site >= self.cold.start {
                        self.cold.patch(site, here);
                    } else if site != 0 {
                        self.hot.patch(site, here);
                    }
                }
                Cold::LoadVectors { from, back } => {
                    self.hot.patch(from, here);
                    self.cold.call_to(thunks.load_vectors);
                    self.cold.jmp_to(back);
                }
                Cold::LoadX87 { from, back } => {
                    self.hot.patch(from, here);
                    // lea r11, [rip + back]
                    self.cold.raw(&[0x4C, 0x8D, 0x1D, 0, 0, 0, 0]);
                    let end = self.cold.here();
                    self.cold.patch(end, back);
                    self.cold.jmp_to(thunks.load_x87);
                }
            }
            pending.extend(self.pending.drain(..));
        }
    }

    /// Whether a direct branch to `target` may not be chained: a program's, to another page.
    fn is_far(&self, target: u64) -> bool {
        self.mode.user() && target >> 12 != self.source.key.rip >> 12
    }

    /// Goes to a far target, in the cold region.
    fn far_jump(&mut self, target: u64, mode: Mode, flags: bool) {
        if flags {
            put_flags_aside(&mut self.cold);
        }
        self.cold.mov_imm(R10, target);
        let misses = look_up(&mut self.cold, mode.view(), Target::Constant(target));
        let code = gs_indexed(R11, jump_table(mode.view()) + JUMP_CODE);
        if flags {
            self.cold.load(R10, code);
            take_flags_back(&mut self.cold);
            self.cold.jmp_reg(R10);
        } else {
            self.cold.jmp_mem(code);
        }
        let exit = self.exit(0, target, mode);
        let here = self.cold.here();
        misses.into_iter().for_each(|miss| self.cold.patch(miss, here));
        self.leave_far(exit, flags);
    }

    /// Leaves, in the cold region, by an exit that is never chained.
    fn leave_far(&mut self, exit: ExitId, flags: bool) {
        if flags {
            take_flags_back(&mut self.cold);
        }
        self.cold.mov_imm(R11, exit.into());
        let thunk = self.translator.cache.thunks.exit;
        self.cold.jmp_to(thunk);
    }

    /// Leaves, in the cold region, because a poll found something, with the branch taken.
    fn leave_polled(&mut self, exit: ExitId, flags: bool) {
        if flags {
            take_flags_back(&mut self.cold);
        }
        self.cold.mov_imm(R11, (exit | POLL).into());
        let thunk = self.translator.cache.thunks.exit;
        self.cold.jmp_to(thunk);
    }

    // ---- instructions ---------------------------------------------------------------------------

    /// Translates one instruction. Tells whether the host does it.
    fn instruction(&mut self, it: &Decoded) -> bool {
        let instruction = &it.instruction;
        let done = match class(instruction.code()).kind {
            Kind::Native => self.allowed(instruction) && self.native(it),
            Kind::Emulate => false,
            Kind::Nothing => !instruction.has_lock_prefix() && self.source.cpuid.allows(instruction.code()),
            Kind::Jump => self.jump(it),
            Kind::JumpIf => self.jump_if(it),
            Kind::Call => self.call(it),
            Kind::Return => self.ret(it),
            Kind::JumpIndirect => self.jump_indirect(it),
            Kind::CallIndirect => self.call_indirect(it),
            Kind::Push => self.push(it),
            Kind::Pop => self.pop(it),
            Kind::Leave => self.leave(it),
            Kind::Divide => self.divide(it),
            Kind::Cli | Kind::Sti => self.interrupt_flag(it),
            Kind::Cld => self.direction(it, false),
            Kind::Std => self.direction(it, true),
            Kind::Rdtsc => self.rdtsc(it),
            Kind::SmapAccess => self.smap(it),
            Kind::Pushf | Kind::Popf | Kind::SwapGs | Kind::StringMove => false,
        };
        if !done {
            self.emulate(instruction);
        }
        done
    }

    /// Lets the interpreter do it.
    fn emulate(&mut self, instruction: &Instruction) {
        let site = self.site(instruction, Access::Emulate);
        self.hot.mov_imm(R11, site.into());
        let thunk = self.translator.cache.thunks.emulate;
        self.hot.jmp_to(thunk);
        let here = self.hot.here() as u32;
        self.site_mut(site).next = here;
    }

    /// An instruction that the host executes under other names. Tells whether it could be encoded.
    fn native(&mut self, it: &Decoded) -> bool {
        let instruction = &it.instruction;
        let memory = (0..instruction.op_count()).find(|&i| instruction.op_kind(i) == OpKind::Memory);
        if memory.is_none() && self.mode.long() && self.is_plain(instruction) {
            let start = (instruction.ip() - self.source.key.rip) as usize;
            self.hot.raw(&self.source.bytes[start..start + instruction.len()]);
            return true;
        }
        let mark = (self.hot.bytes.len(), self.pending.len(), self.sites.len());
        let done = match memory {
            Some(operand) => self.native_memory(it, operand),
            None => self.native_registers(instruction),
        };
        if !done {
            self.hot.bytes.truncate(mark.0);
            self.pending.truncate(mark.1);
            self.sites.truncate(mark.2);
        }
        done
    }

    /// Its registers have their own names on the host.
    fn is_plain(&self, instruction: &Instruction) -> bool {
        (0..instruction.op_count()).all(|i| {
            instruction.op_kind(i) != OpKind::Register
                || number(instruction.op_register(i)).is_none_or(|n| place(n) == Place::Host(n))
        })
    }

    fn native_registers(&mut self, instruction: &Instruction) -> bool {
        let mut renamed = *instruction;
        match self.rename(instruction, &mut renamed, &[R10, R11]) {
            Some(spilled) => self.wrapped(&renamed, &spilled),
            None => false,
        }
    }

    /// Renames the register operands; those that live in memory get the given scratch registers.
    fn rename(
        &mut self,
        instruction: &Instruction,
        out: &mut Instruction,
        scratch: &[u8],
    ) -> Option<Vec<Spilled>> {
        let mut spilled: Vec<Spilled> = Vec::new();
        for i in 0..instruction.op_count() {
            if instruction.op_kind(i) != OpKind::Register {
                continue;
            }
            let register = instruction.op_register(i);
            let Some(guest) = number(register) else { continue };
            match place(guest) {
                Place::Host(host) if host == guest => {}
                Place::Host(host) => out.set_op_register(i, renamed(register, host)),
                Place::Memory(slot) => {
                    let access = self.info.info(instruction).op_access(i);
                    let written = !matches!(access, OpAccess::Read | OpAccess::CondRead | OpAccess::NoMemAccess);
                    let read = access != OpAccess::Write || register.size() < 4;
                    let known = spilled.iter().position(|spilled| spilled.slot == slot);
                    let at = match known {
                        Some(at) => at,
                        None if spilled.len() < scratch.len() => {
                            let host = scratch[spilled.len()];
                            spilled.push(Spilled { slot, host, read: false, written: false });
                            spilled.len() - 1
                        }
                        None => return None,
                    };
                    spilled[at].read |= read;
                    spilled[at].written |= written;
                    out.set_op_register(i, renamed(register, spilled[at].host));
                }
            }
        }
        Some(spilled)
    }

    /// Emits an instruction between the loads and stores of its spilled registers.
    fn wrapped(&mut self, instruction: &Instruction, spilled: &[Spilled]) -> bool {
        for it in spilled.iter().filter(|it| it.read) {
            self.hot.load(it.host, gs(it.slot));
        }
        if !self.encode(instruction) {
            return false;
        }
        for it in spilled.iter().filter(|it| it.written) {
            self.hot.store(gs(it.slot), it.host);
        }
        true
    }

    fn encode(&mut self, instruction: &Instruction) -> bool {
        let mut instruction = *instruction;
        // One-byte forms that 64-bit mode took for REX.
        match instruction.code() {
            Code::Inc_r32 => instruction.set_code(Code::Inc_rm32),
            Code::Dec_r32 => instruction.set_code(Code::Dec_rm32),
            Code::Inc_r16 => instruction.set_code(Code::Inc_rm16),
            Code::Dec_r16 => instruction.set_code(Code::Dec_rm16),
            _ => {}
        }
        let encoded = self.encoder.encode(&instruction, 0).is_ok();
        let mut bytes = self.encoder.take_buffer();
        if encoded {
            self.hot.raw(&bytes);
        }
        bytes.clear();
        self.encoder.set_buffer(bytes);
        encoded
    }

    fn native_memory(&mut self, it: &Decoded, operand: u32) -> bool {
        let instruction = &it.instruction;
        if instruction.mnemonic() == iced_x86::Mnemonic::Lea {
            return self.lea(instruction);
        }
        let access = self.info.info(instruction).op_access(operand);
        let size = instruction.memory_size().size();
        let write = match access {
            OpAccess::Read | OpAccess::CondRead => false,
            OpAccess::Write | OpAccess::CondWrite | OpAccess::ReadWrite | OpAccess::ReadCondWrite => true,
            _ => return false,
        };
        if size == 0 || size > 32 || self.is_bit_string(instruction) || !self.is_addressable(instruction) {
            return false;
        }
        if (0..instruction.op_count())
            .any(|i| instruction.op_kind(i) == OpKind::Register && is_high_byte(instruction.op_register(i)))
        {
            return false;
        }
        let align = alignment(instruction, size);
        let mut renamed = *instruction;
        let Some(spilled) = self.rename(instruction, &mut renamed, &[R11]) else { return false };
        let form = if spilled.is_empty() { Form::Sum } else { Form::Single };
        self.check(it, Address::Operand, size, write, align, form);
        point_to(&mut renamed, form);
        if !self.wrapped(&renamed, &spilled) {
            return false;
        }
        self.behind();
        true
    }

    /// The latest site's instruction is done here.
    fn behind(&mut self) {
        let here = self.hot.here() as u32;
        if let Some(site) = self.sites.last_mut() {
            site.next = here;
        }
    }

    /// BT and its kin with a register: they reach beyond their operand.
    fn is_bit_string(&self, instruction: &Instruction) -> bool {
        use iced_x86::Mnemonic as M;
        matches!(instruction.mnemonic(), M::Bt | M::Bts | M::Btr | M::Btc)
            && instruction.op1_kind() == OpKind::Register
    }

    /// Its memory operand can be addressed here: not 16-bit, and no segment with a limit.
    fn is_addressable(&self, instruction: &Instruction) -> bool {
        let based = matches!(instruction.memory_segment(), Register::FS | Register::GS);
        let size16 = [instruction.memory_base(), instruction.memory_index()].iter().any(|r| r.is_gpr16())
            || instruction.memory_displ_size() == 2;
        let code_write = !self.mode.long() && instruction.memory_segment() == Register::CS;
        !size16 && !code_write && (self.mode.long() || !based || self.mode.wide_fs_gs())
    }

    fn lea(&mut self, instruction: &Instruction) -> bool {
        let size16 = [instruction.memory_base(), instruction.memory_index()].iter().any(|r| r.is_gpr16());
        if size16 || (instruction.memory_displ_size() == 2 && !self.mode.long()) {
            return false;
        }
        let Some(target) = number(instruction.op0_register()) else { return false };
        if let Some(direct) = directly(instruction) {
            return self.encode(&direct);
        }
        let mut hot = std::mem::take(&mut self.hot);
        self.offset(&mut hot, instruction);
        self.hot = hot;
        let host = match place(target) {
            Place::Host(host) => host,
            Place::Memory(_) => R11,
        };
        match (instruction.op0_register().size(), place(target)) {
            (2, Place::Host(host)) => self.hot.mov(Size::W, host, R10),
            (2, Place::Memory(_)) => return false,
            (4, _) => self.hot.mov(Size::D, host, R10),
            _ => self.hot.mov(Size::Q, host, R10),
        }
        if let Place::Memory(slot) = place(target) {
            self.hot.store(gs(slot), host);
        }
        true
    }

    // ---- addresses ------------------------------------------------------------------------------

    /// R10 := the linear address. May use R11; changes status flags.
    fn address(&mut self, asm: &mut Asm, instruction: &Instruction, what: Address) {
        match what {
            Address::Plain(base, 0) => asm.mov(self.width(), R10, base),
            Address::Plain(base, disp) => asm.lea(self.width(), R10, at(base, disp)),
            Address::Operand => {
                self.offset(asm, instruction);
                let segment = match instruction.memory_segment() {
                    Register::FS => seg::FS,
                    Register::GS => seg::GS,
                    _ => return,
                };
                let base = std::mem::offset_of!(Cpu, bases) + 8 * usize::from(segment);
                let size = if self.mode.long() { Size::Q } else { Size::D };
                asm.rm(size, &[0x03], R10, gs(base));
            }
        }
    }

    fn width(&self) -> Size {
        if self.mode.long() { Size::Q } else { Size::D }
    }

    /// R10 := the offset in its segment of the memory operand. May use R11; changes no flags.
    fn offset(&mut self, asm: &mut Asm, instruction: &Instruction) {
        let (base, index) = (instruction.memory_base(), instruction.memory_index());
        let displacement = instruction.memory_displacement64();
        let absolute = base == Register::None && index == Register::None;
        if absolute || instruction.is_ip_rel_memory_operand() {
            let narrow = !self.mode.long() || base == Register::EIP || (absolute && self.is_address_32(instruction));
            return asm.mov_imm(R10, if narrow { displacement & 0xFFFF_FFFF } else { displacement });
        }
        let narrow = base.is_gpr32() || index.is_gpr32();
        let size = if narrow { Size::D } else { Size::Q };
        let host = |asm: &mut Asm, register: Register, scratch: u8| {
            number(register).map(|guest| match place(guest) {
                Place::Host(host) => host,
                Place::Memory(slot) => {
                    asm.load(scratch, gs(slot));
                    scratch
                }
            })
        };
        let base = host(asm, base, R10);
        let index = host(asm, index, R11);
        let scale = instruction.memory_index_scale().trailing_zeros() as u8;
        let disp = displacement as i32;
        match (base, index) {
            (Some(base), None) if disp == 0 => {
                if base != R10 || narrow {
                    asm.mov(size, R10, base);
                }
            }
            (base, index) => {
                asm.lea(size, R10, Mem { base, index: index.map(|index| (index, scale)), disp, gs: false });
            }
        }
    }

    /// An absolute operand with an address-size prefix.
    fn is_address_32(&self, instruction: &Instruction) -> bool {
        let start = (instruction.ip() - self.source.key.rip) as usize;
        self.source.bytes[start..start + instruction.len()].iter().take(4).any(|&byte| byte == 0x67)
    }

    /// Checks an access of `size` bytes; behind it the operand is at R11 + R10, or at R10.
    fn check(&mut self, it: &Decoded, what: Address, size: usize, write: bool, align: u8, form: Form) -> SiteId {
        let site = self.site(&it.instruction, if write { Access::Write } else { Access::Read });
        let flags = it.live != 0;
        if flags {
            put_flags_aside(&mut self.hot);
        }
        let retry = self.hot.here() as u32;
        let mut hot = std::mem::take(&mut self.hot);
        self.address(&mut hot, &it.instruction, what);
        self.hot = hot;
        let array = tlb_array(self.mode.view(), write);
        let asm = &mut self.hot;
        asm.mov(Size::Q, R11, R10);
        asm.rr(Size::Q, &[0xC1], 5, R11); // shr
        asm.raw(&[FOLD as u8]);
        asm.rr(Size::D, &[0x33], R11, R10); // xor
        asm.rr(Size::D, &[0xC1], 5, R11); // shr
        asm.raw(&[8]);
        asm.alu_imm(Size::D, 4, R11, ((context::TLB_ENTRIES - 1) << 4) as i32);
        asm.rm(Size::Q, &[0x33], R10, gs_indexed(R11, array));
        asm.alu_imm(Size::Q, 7, R10, (PAGE_SIZE as usize - size) as i32);
        let mut from = vec![asm.jcc(cc::A)];
        if align != 0 {
            asm.rr(Size::B, &[0xF6], 0, R10); // test
            asm.raw(&[align]);
            from.push(asm.jcc(cc::NE));
        }
        match form {
            Form::Sum => asm.load(R11, gs_indexed(R11, array + 8)),
            Form::Single => asm.rm(Size::Q, &[0x03], R10, gs_indexed(R11, array + 8)),
        }
        if flags {
            take_flags_back(&mut self.hot);
        }
        let record = self.site_mut(site);
        (record.retry, record.size, record.align) = (retry, size as u16, align);
        self.pending.push(Cold::Slow { from, instruction: it.instruction, what, site });
        site
    }

    // ---- the stack ------------------------------------------------------------------------------

    fn stack_bytes(&self) -> usize {
        if self.mode.long() { 8 } else { 4 }
    }

    fn move_stack(&mut self, by: i32) {
        let width = self.width();
        self.hot.lea(width, R9, at(R9, by));
    }

    fn push(&mut self, it: &Decoded) -> bool {
        let instruction = &it.instruction;
        let bytes = self.stack_bytes();
        let down = -(bytes as i32);
        let size = self.width();
        match instruction.op0_kind() {
            OpKind::Register => {
                let Some(guest) = number(instruction.op0_register()) else { return false };
                match place(guest) {
                    Place::Host(host) => {
                        self.check(it, Address::Plain(R9, down), bytes, true, 0, Form::Sum);
                        self.hot.rm(size, &[0x89], host, at_sum(R11, R10));
                    }
                    Place::Memory(slot) => {
                        self.check(it, Address::Plain(R9, down), bytes, true, 0, Form::Single);
                        self.hot.load(R11, gs(slot));
                        self.hot.rm(size, &[0x89], R11, at(R10, 0));
                    }
                }
            }
            OpKind::Memory => {
                if !self.is_addressable(instruction) || !self.mode.long() {
                    return false;
                }
                let site = self.check(it, Address::Operand, bytes, false, 0, Form::Sum);
                self.hot.load(R10, at_sum(R11, R10));
                self.hot.store(gs(field!(value)), R10);
                let second = self.check(it, Address::Plain(R9, down), bytes, true, 0, Form::Single);
                self.hot.load(R11, gs(field!(value)));
                self.hot.store(at(R10, 0), R11);
                self.move_stack(down);
                let here = self.hot.here() as u32;
                self.site_mut(site).next = here;
                self.site_mut(second).next = here;
                return true;
            }
            _ => {
                let value = instruction.immediate(0);
                self.check(it, Address::Plain(R9, down), bytes, true, 0, Form::Sum);
                self.hot.rm(size, &[0xC7], 0, at_sum(R11, R10));
                self.hot.raw(&(value as u32).to_le_bytes());
            }
        }
        self.move_stack(down);
        self.behind();
        true
    }

    fn pop(&mut self, it: &Decoded) -> bool {
        let Some(guest) = number(it.instruction.op0_register()) else { return false };
        let bytes = self.stack_bytes();
        let size = self.width();
        self.check(it, Address::Plain(R9, 0), bytes, false, 0, Form::Sum);
        match place(guest) {
            Place::Host(R9) => self.hot.rm(size, &[0x8B], R9, at_sum(R11, R10)),
            Place::Host(host) => {
                self.hot.rm(size, &[0x8B], host, at_sum(R11, R10));
                self.move_stack(bytes as i32);
            }
            Place::Memory(slot) => {
                self.hot.rm(size, &[0x8B], R10, at_sum(R11, R10));
                self.hot.store(gs(slot), R10);
                self.move_stack(bytes as i32);
            }
        }
        self.behind();
        true
    }

    fn leave(&mut self, it: &Decoded) -> bool {
        let bytes = self.stack_bytes();
        let size = self.width();
        self.check(it, Address::Plain(5, 0), bytes, false, 0, Form::Sum);
        self.hot.lea(size, R9, at(5, bytes as i32));
        self.hot.rm(size, &[0x8B], 5, at_sum(R11, R10));
        self.behind();
        true
    }

    // ---- branches -------------------------------------------------------------------------------

    fn jump(&mut self, it: &Decoded) -> bool {
        let target = self.wrap(it.instruction.near_branch_target());
        let flags = it.live_after != 0;
        if target <= it.instruction.ip() {
            self.polled_jump(target, flags);
        } else {
            let site = self.hot.jmp();
            self.forward.push((site, target, self.mode));
        }
        true
    }

    /// Looks for attention, in the hot region, before the jump of an exit that is registered next.
    fn polled_jump(&mut self, target: u64, flags: bool) {
        let found = poll(&mut self.hot, flags);
        let site = self.hot.jmp();
        match self.loop_start(target, self.mode) {
            Some(host) => self.hot.patch(site, host),
            None => self.jump_out(site, target, self.mode),
        }
        let exit = self.exit(0, target, self.mode);
        let here = self.cold.here();
        self.hot.patch(found, here);
        self.leave_polled(exit, flags);
    }

    fn jump_if(&mut self, it: &Decoded) -> bool {
        let instruction = &it.instruction;
        let Some(condition) = condition(instruction.code()) else { return false };
        let target = self.wrap(instruction.near_branch_target());
        let from = self.hot.jcc(condition);
        if target > instruction.ip() {
            self.forward.push((from, target, self.mode));
            return true;
        }
        let flags = self.exact || self.live_at(target) != 0;
        self.pending.push(Cold::Poll { from, target, mode: self.mode, flags });
        true
    }

    fn call(&mut self, it: &Decoded) -> bool {
        if !self.is_paired() {
            return false;
        }
        let target = self.wrap(it.instruction.near_branch_target());
        let flags = it.live != 0;
        self.push_return(it);
        let found = poll(&mut self.hot, flags);
        let exit = if self.is_far(target) {
            self.hot.mov_imm(R10, target);
            if flags {
                put_flags_aside(&mut self.hot);
            }
            let misses = look_up(&mut self.hot, self.mode.view(), Target::Constant(target));
            let code = gs_indexed(R11, jump_table(self.mode.view()) + JUMP_CODE);
            if flags {
                self.hot.load(R10, code);
                take_flags_back(&mut self.hot);
                self.hot.call_reg(R10);
            } else {
                self.hot.call_mem(code);
            }
            let exit = self.exit(0, target, self.mode);
            let here = self.cold.here();
            misses.into_iter().for_each(|miss| self.hot.patch(miss, here));
            self.leave_far(exit, flags);
            exit
        } else {
            let site = self.hot.call();
            self.exit(site, target, self.mode)
        };
        let here = self.cold.here();
        self.hot.patch(found, here);
        self.leave_polled(exit, flags);
        self.landing(it);
        true
    }

    /// Whether calls and returns here use the host's: in the view that is the rule, so that both ends of a
    /// pair have the same.
    fn is_paired(&self) -> bool {
        let rule = if self.source.assumed.smap { SUPERVISOR_SMAP } else { SUPERVISOR };
        self.mode.user() || self.mode.view() == rule
    }

    /// Where the host's return of a call's callee arrives, with the guest's return address in R10.
    fn landing(&mut self, it: &Decoded) {
        let here = self.hot.here() as u32;
        self.landings.push(here);
        let back = self.wrap(it.instruction.next_ip());
        let flags = it.live_after != 0;
        if flags {
            put_flags_aside(&mut self.hot);
        }
        match i32::try_from(back as i64) {
            Ok(back) => self.hot.alu_imm(Size::Q, 7, R10, back),
            Err(_) => {
                self.hot.mov_imm(R11, back);
                self.hot.rr(Size::Q, &[0x3B], R10, R11);
            }
        }
        let from = self.hot.jcc(cc::NE);
        if flags {
            take_flags_back(&mut self.hot);
        }
        self.pending.push(Cold::Unpaired { from, flags });
        self.prologue(flags);
    }

    /// Pushes the return address.
    fn push_return(&mut self, it: &Decoded) {
        let bytes = self.stack_bytes();
        let back = self.wrap(it.instruction.next_ip());
        let short = i32::try_from(back as i64).is_ok() || !self.mode.long();
        let down = -(bytes as i32);
        let form = if short { Form::Sum } else { Form::Single };
        self.check(it, Address::Plain(R9, down), bytes, true, 0, form);
        let size = self.width();
        if short {
            self.hot.rm(size, &[0xC7], 0, at_sum(R11, R10));
            self.hot.raw(&(back as u32).to_le_bytes());
        } else {
            self.hot.mov_imm(R11, back);
            self.hot.store(at(R10, 0), R11);
        }
        self.move_stack(down);
        self.behind();
    }

    fn ret(&mut self, it: &Decoded) -> bool {
        let bytes = self.stack_bytes();
        let released = if it.instruction.op_count() == 0 { 0 } else { i32::from(it.instruction.immediate16()) };
        self.check(it, Address::Plain(R9, 0), bytes, false, 0, Form::Sum);
        let size = self.width();
        self.hot.rm(size, &[0x8B], R10, at_sum(R11, R10));
        self.move_stack(bytes as i32 + released);
        if self.is_paired() {
            self.hot.raw(&[0xC3]);
        } else if it.live_after != 0 {
            self.go_indirect(true, false);
        } else {
            let thunk = self.translator.cache.thunks.look_up[self.mode.view()];
            self.hot.jmp_to(thunk);
        }
        true
    }

    fn jump_indirect(&mut self, it: &Decoded) -> bool {
        if !self.load_target(it) {
            return false;
        }
        self.go_indirect(it.live_after != 0, false);
        true
    }

    fn call_indirect(&mut self, it: &Decoded) -> bool {
        if !self.is_paired() || !self.load_target(it) {
            return false;
        }
        self.hot.store(gs(field!(value)), R10);
        self.push_return(it);
        self.hot.load(R10, gs(field!(value)));
        self.go_indirect(it.live != 0, true);
        self.landing(it);
        true
    }

    /// R10 := the target of an indirect branch.
    fn load_target(&mut self, it: &Decoded) -> bool {
        let instruction = &it.instruction;
        let size = self.width();
        match instruction.op0_kind() {
            OpKind::Register => match number(instruction.op0_register()).map(place) {
                Some(Place::Host(host)) => self.hot.mov(size, R10, host),
                Some(Place::Memory(slot)) => self.hot.load(R10, gs(slot)),
                None => return false,
            },
            _ => {
                if !self.is_addressable(instruction) {
                    return false;
                }
                let bytes = self.stack_bytes();
                self.check(it, Address::Operand, bytes, false, 0, Form::Sum);
                self.hot.rm(size, &[0x8B], R10, at_sum(R11, R10));
            }
        }
        true
    }

    /// Jumps to the translation of R10, or calls it, looking for attention on the way.
    fn go_indirect(&mut self, flags: bool, call: bool) {
        if flags {
            put_flags_aside(&mut self.hot);
        }
        let mut out = vec![doorbell(&mut self.hot)];
        let view = self.mode.view();
        out.extend(look_up(&mut self.hot, view, Target::Register));
        let code = gs_indexed(R11, jump_table(view) + JUMP_CODE);
        let asm = &mut self.hot;
        match (flags, call) {
            (true, _) => {
                asm.load(R10, code);
                take_flags_back(asm);
                if call { asm.call_reg(R10) } else { asm.jmp_reg(R10) }
            }
            (false, true) => asm.call_mem(code),
            (false, false) => asm.jmp_mem(code),
        }
        let here = self.cold.here();
        out.into_iter().for_each(|from| self.hot.patch(from, here));
        if flags {
            take_flags_back(&mut self.cold);
        }
        let thunk = self.translator.cache.thunks.exit_indirect;
        self.cold.jmp_to(thunk);
    }

    // ---- the rest -------------------------------------------------------------------------------

    /// DIV and IDIV, where they surely do not trap; else the interpreter.
    fn divide(&mut self, it: &Decoded) -> bool {
        let instruction = &it.instruction;
        let wide = matches!(instruction.code(), Code::Div_rm64 | Code::Idiv_rm64);
        let signed = matches!(instruction.code(), Code::Idiv_rm32 | Code::Idiv_rm64);
        let size = if wide { Size::Q } else { Size::D };
        match instruction.op0_kind() {
            OpKind::Register => match number(instruction.op0_register()).map(place) {
                Some(Place::Host(host)) => self.hot.mov(size, R11, host),
                Some(Place::Memory(slot)) => self.hot.load(R11, gs(slot)),
                None => return false,
            },
            _ => {
                if !self.is_addressable(instruction) {
                    return false;
                }
                let bytes = if wide { 8 } else { 4 };
                self.check(it, Address::Operand, bytes, false, 0, Form::Sum);
                self.hot.rm(size, &[0x8B], R11, at_sum(R11, R10));
            }
        }
        let flags = it.live != 0;
        if flags {
            put_flags_aside(&mut self.hot);
        }
        let mut from = Vec::new();
        if signed {
            // The dividend is a sign-extended single, and the divisor neither 0 nor -1.
            self.hot.mov(size, R10, RAX);
            self.hot.rr(size, &[0xC1], 7, R10); // sar
            self.hot.raw(&[if wide { 63 } else { 31 }]);
            self.hot.rr(size, &[0x3B], R10, RDX); // cmp
            from.push(self.hot.jcc(cc::NE));
            self.hot.lea(size, R10, at(R11, 1));
            self.hot.alu_imm(size, 7, R10, 1);
            from.push(self.hot.jcc(cc::BE));
            self.hot.rr(size, &[0xF7], 7, R11);
        } else {
            self.hot.rr(size, &[0x3B], RDX, R11); // cmp
            from.push(self.hot.jcc(cc::AE));
            self.hot.rr(size, &[0xF7], 6, R11);
        }
        if flags {
            take_flags_back(&mut self.hot);
        }
        let here = self.hot.here() as u32;
        let site = self.site(instruction, Access::Emulate);
        for site in &mut self.sites {
            if site.offset == (instruction.ip() - self.source.key.rip) as u16 {
                site.next = here;
            }
        }
        self.pending.push(Cold::Emulate { from, site, flags });
        true
    }

    /// CLI, and STI where interrupts are on already; the rest is the interpreter's.
    fn interrupt_flag(&mut self, it: &Decoded) -> bool {
        if self.mode.user() {
            return false;
        }
        if class(it.instruction.code()).kind == Kind::Sti {
            return false;
        }
        let flags = it.live != 0;
        if flags {
            put_flags_aside(&mut self.hot);
        }
        let rflags = gs(std::mem::offset_of!(Cpu, rflags));
        self.hot.alu_mem_imm(Size::D, 4, rflags, !(flag::IF as i32));
        self.hot.rm(Size::Q, &[0xFF], 0, gs(field!(counts.interrupt_flag_changes))); // inc
        if flags {
            take_flags_back(&mut self.hot);
        }
        true
    }

    fn direction(&mut self, it: &Decoded, down: bool) -> bool {
        let flags = it.live != 0;
        if flags {
            put_flags_aside(&mut self.hot);
        }
        let rflags = gs(std::mem::offset_of!(Cpu, rflags));
        if down {
            self.hot.alu_mem_imm(Size::D, 1, rflags, flag::DF as i32);
        } else {
            self.hot.alu_mem_imm(Size::D, 4, rflags, !(flag::DF as i32));
        }
        if flags {
            take_flags_back(&mut self.hot);
        }
        true
    }

    fn rdtsc(&mut self, it: &Decoded) -> bool {
        if self.mode.user() && !self.source.assumed.tsc_free {
            return false;
        }
        let flags = it.live != 0;
        if flags {
            put_flags_aside(&mut self.hot);
        }
        self.hot.raw(&[0x0F, 0x31]);
        self.hot.rr(Size::Q, &[0xC1], 4, RDX); // shl
        self.hot.raw(&[32]);
        self.hot.rr(Size::Q, &[0x0B], RDX, RAX); // or
        self.hot.mov_imm(R10, self.source.assumed.tsc_offset);
        self.hot.rr(Size::Q, &[0x03], RDX, R10); // add
        self.hot.mov(Size::D, RAX, RDX);
        self.hot.rr(Size::Q, &[0xC1], 5, RDX); // shr
        self.hot.raw(&[32]);
        if flags {
            take_flags_back(&mut self.hot);
        }
        true
    }

    /// STAC and CLAC: the view of memory changes for what follows.
    fn smap(&mut self, it: &Decoded) -> bool {
        if self.mode.user() || !self.source.cpuid.allows(it.instruction.code()) {
            return false;
        }
        let on = it.instruction.mnemonic() == iced_x86::Mnemonic::Stac;
        let view = if on || !self.source.assumed.smap { SUPERVISOR } else { SUPERVISOR_SMAP };
        let flags = it.live != 0;
        if flags {
            put_flags_aside(&mut self.hot);
        }
        let rflags = gs(std::mem::offset_of!(Cpu, rflags));
        if on {
            self.hot.alu_mem_imm(Size::D, 1, rflags, flag::AC as i32);
        } else {
            self.hot.alu_mem_imm(Size::D, 4, rflags, !(flag::AC as i32));
        }
        self.hot.load(R10, gs(std::mem::offset_of!(Cpu, tlb)));
        self.hot.rm(Size::Q, &[0xC7], 0, at(R10, Tlb::DATA_VIEW as i32));
        self.hot.raw(&(view as u32).to_le_bytes());
        if flags {
            take_flags_back(&mut self.hot);
        }
        self.mode = self.mode.with_view(view);
        true
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
fn point_to(instruction: &mut Instruction, form: Form) {
    instruction.set_segment_prefix(Register::None);
    instruction.set_memory_displ_size(0);
    instruction.set_memory_displacement64(0);
    instruction.set_memory_index_scale(1);
    match form {
        Form::Sum => {
            instruction.set_memory_base(Register::R11);
            instruction.set_memory_index(Register::R10);
        }
        Form::Single => {
            instruction.set_memory_base(Register::R10);
            instruction.set_memory_index(Register::None);
        }
    }
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
    (condition != iced_x86::ConditionCode::None)
        .then(|| condition as u8 - iced_x86::ConditionCode::o as u8)
}
