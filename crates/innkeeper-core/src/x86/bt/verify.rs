//! Check mode, for tests: whatever translated code has done, the interpreter does again from the same
//! state and memory, and both must come out the same.
//!
//! A stretch begins where translated code is entered and ends where it is left, or where an instruction
//! goes to the interpreter anyway. Pages are copied when a stretch first writes to them, which it cannot
//! do unnoticed since write access is forgotten at its start. At its end memory and state are put
//! back and the interpreter runs, until it is where translated code arrived.
//!
//! Left out: more than one vCPU, whose writes would be taken back; x87 instruction and data pointers,
//! which translated code does not keep; flags that the manuals leave undefined.

mod state;
#[cfg(test)]
mod tests;
mod undefined;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::time::Instant;

use iced_x86::{Code, Decoder, Instruction};
use state::State;

use super::cache::{Block, BlockId, Key};
use super::classify::{Kind, class};
use super::translator::Translator;
use crate::memory::PAGE_SIZE;
use crate::x86::block::DECODING;
use crate::x86::cpu::{Cpu, RIP, Shadow, flag};
use crate::x86::fault::{Fault, Stop};

type Bytes = [u8; PAGE_SIZE as usize];

/// How much is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verify {
    /// A block's first executions, and then one in so many; none if that is 0.
    pub first: u32,
    pub every: u32,
    /// Blocks are chained, and what is checked goes through many.
    pub chained: bool,
}

pub struct Verifier {
    verify: Verify,
    /// Status flags must be right even where nobody can read them.
    exact_flags: bool,
    executions: HashMap<Key, u32>,
    stretch: Option<Stretch>,
    known: Option<Known>,
    pub stretches: u64,
}

/// What is being checked.
struct Stretch {
    before: Box<State>,
    /// RFLAGS that the interpreter starts with.
    rflags: u64,
    pages: Vec<Page>,
    begun: Instant,
    code: String,
}

struct Page {
    number: u32,
    before: Box<Bytes>,
    /// What translated code left; none if it did not write to it.
    after: Option<Box<Bytes>>,
}

/// RFLAGS as the interpreter has them, for a state in which translated code may have lost some.
#[derive(Clone, Copy)]
struct Known {
    rip: u64,
    lossy: u64,
    exact: u64,
}

impl Verifier {
    pub fn new(verify: Verify, exact_flags: bool) -> Self {
        let (executions, stretch, known) = (HashMap::new(), None, None);
        Self { verify, exact_flags, executions, stretch, known, stretches: 0 }
    }

    pub fn chains(&self) -> bool {
        self.verify.chained
    }

    fn wants(&mut self, key: Key) -> bool {
        let count = self.executions.entry(key).or_default();
        *count += 1;
        *count <= self.verify.first || count.is_multiple_of(self.verify.every)
    }
}

impl Translator {
    fn verifying(&mut self) -> Option<&mut Verifier> {
        self.verifier.as_deref_mut()
    }
}

impl Cpu {
    fn verifier(&mut self) -> Option<&mut Verifier> {
        self.translator.as_mut()?.verifying()
    }

    /// Translated code is about to run from RIP in `block`.
    #[inline]
    pub(super) fn verify_from(&mut self, block: BlockId) {
        if self.translator.as_ref().is_some_and(|translator| translator.verifier.is_some()) {
            self.begin_stretch(block);
        }
    }

    /// Translated code has stopped at RIP, or with a fault there. `reads`: status flags that what comes
    /// next reads.
    ///
    /// # Errors
    /// What came out otherwise than with the interpreter.
    #[inline]
    pub(super) fn verify_to(&mut self, fault: Option<Fault>, reads: u64) -> Result<(), String> {
        if self.verifier().is_none_or(|verifier| verifier.stretch.is_none()) {
            return Ok(());
        }
        self.end_stretch(fault, reads)
    }

    /// An instruction was interpreted since: what it left alone of the flags may still be wrong.
    pub(super) fn verify_behind(&mut self, code: Code) {
        let (rip, rflags) = (self.regs[RIP], self.rflags);
        let Some(verifier) = self.verifier() else { return };
        if let Some(known) = &mut verifier.known {
            let kept = flag::STATUS & !undefined::may_change(code);
            *known = Known { rip, lossy: rflags, exact: rflags & !kept | known.exact & kept };
        }
    }

    /// A page of RAM is about to be written to.
    #[inline]
    pub(in crate::x86) fn verify_page(&mut self, number: u32) {
        if self.translator.as_ref().is_some_and(|translator| translator.verifier.is_some()) {
            self.keep_page(number);
        }
    }

    fn keep_page(&mut self, number: u32) {
        let bytes = self.page_bytes(number);
        let Some(stretch) = self.verifier().and_then(|verifier| verifier.stretch.as_mut()) else { return };
        if stretch.pages.iter().all(|page| page.number != number) {
            stretch.pages.push(Page { number, before: bytes, after: None });
        }
    }

    fn page_bytes(&self, number: u32) -> Box<Bytes> {
        let mut bytes = Box::new([0; PAGE_SIZE as usize]);
        self.copy_code(number, 0, &mut *bytes);
        bytes
    }

    /// Gives a page these bytes; writes only what differs.
    fn put_page(&self, number: u32, bytes: &Bytes) {
        let page = self.platform.memory.page_pointer(number);
        for (at, byte) in bytes.iter().enumerate() {
            // SAFETY: within a RAM page.
            unsafe {
                let place = page.add(at);
                if place.read_volatile() != *byte {
                    place.write_volatile(*byte);
                }
            }
        }
    }

    #[cold]
    fn begin_stretch(&mut self, block: BlockId) {
        self.save_x87();
        let (rip, rflags) = (self.regs[RIP], self.rflags);
        let translator = self.translator.as_mut().expect("translating");
        let block = &translator.cache.blocks[block as usize];
        let verifier = translator.verifier.as_mut().expect("verifying");
        verifier.stretch = None;
        let known = verifier.known.take();
        if !verifier.wants(block.key) {
            return;
        }
        let rflags = match known {
            Some(known) if known.rip == rip && known.lossy == rflags => known.exact,
            _ => rflags,
        };
        let code = listing(block);
        let before = Box::new(State::of(self));
        self.flush_write_entries();
        let stretch = Stretch { before, rflags, pages: Vec::new(), begun: Instant::now(), code };
        let verifier = self.verifier().expect("verifying");
        verifier.stretch = Some(stretch);
        verifier.stretches += 1;
    }

    #[cold]
    fn end_stretch(&mut self, fault: Option<Fault>, reads: u64) -> Result<(), String> {
        self.save_x87();
        let goal = Box::new(State::of(self));
        let mut stretch = self.verifier().and_then(|verifier| verifier.stretch.take()).expect("a stretch");
        for page in &mut stretch.pages {
            page.after = Some(self.page_bytes(page.number));
            self.put_page(page.number, &page.before);
        }
        // More than any processor executes in a nanosecond.
        let budget = 2000 + stretch.begun.elapsed().as_nanos() as u64 * 64;
        stretch.before.restore(self);
        self.rflags = self.rflags & !flag::STATUS | stretch.rflags & flag::STATUS;
        let verifier = self.verifier().expect("verifying");
        let compared = if verifier.exact_flags { flag::STATUS } else { reads };
        verifier.stretch = Some(stretch);
        let result = self.replay(&goal, fault, compared, budget);
        let murky = *result.as_ref().unwrap_or(&0);
        let exact = self.rflags & !murky | goal.rflags() & murky;
        let stretch = self.verifier().and_then(|verifier| verifier.stretch.take()).expect("a stretch");
        let known = Known { rip: goal.rip(), lossy: goal.rflags(), exact };
        let result = result.map_err(|what| report(&stretch, &goal, fault, &what));
        goal.restore(self);
        self.verifier().expect("verifying").known = Some(known);
        result.map(drop)
    }

    /// Interprets until all is as translated code left it, and gives the flags that it may leave otherwise.
    ///
    /// # Errors
    /// What is not so, if that never comes.
    fn replay(&mut self, goal: &State, fault: Option<Fault>, flags: u64, budget: u64) -> Result<u64, String> {
        let mut seen = None;
        let mut murky = 0;
        let mut count = 0;
        loop {
            // Fetching there may fault.
            if fault.is_none() && self.arrived(goal, None, flags & !murky, &mut seen).is_ok() {
                return Ok(murky);
            }
            let block = match self.find_block() {
                // SAFETY: the cache changes only in `find_block`, and handlers never call that.
                Ok(block) => unsafe { &*block },
                Err(_) => {
                    return Err(seen.unwrap_or_else(|| format!("fetching from {:x} faults", self.regs[RIP])));
                }
            };
            self.leave = false;
            for op in &block.ops {
                if fault.is_none() && self.arrived(goal, None, flags & !murky, &mut seen).is_ok() {
                    return Ok(murky);
                }
                count += 1;
                if count > budget || class(op.code).kind == Kind::Emulate {
                    return Err(seen.unwrap_or_else(|| {
                        format!(
                            "the interpreter never gets there; {count} instructions on it is at {:x}",
                            self.regs[RIP]
                        )
                    }));
                }
                let (start, shadow) = (self.regs[RIP], self.shadow);
                self.regs[RIP] = start.wrapping_add(u64::from(op.length));
                match (op.handler)(self, op) {
                    Ok(()) => {}
                    Err(Stop::Leave) => {
                        if self.regs[RIP] == start {
                            self.rflags &= !flag::RF; // an unfinished REP
                        }
                        break;
                    }
                    Err(Stop::Fault) => {
                        self.regs[RIP] = start;
                        return match self.arrived(goal, fault, flags & !murky, &mut seen) {
                            Ok(()) => Ok(murky),
                            Err(()) => Err(seen.unwrap_or_else(|| format!("{:?} at {start:x}", self.fault))),
                        };
                    }
                    Err(Stop::Exit) => return Err(format!("{:?} leaves the guest", op.code)),
                }
                if self.shadow == shadow {
                    self.shadow = Shadow::None; // it covered this instruction
                }
                murky = murky & !undefined::changes(op.code) | undefined::by_host(op.code);
                if self.leave {
                    break;
                }
            }
        }
    }

    /// Whether the interpreter is where translated code was; else notes what differs, if it is the place.
    fn arrived(
        &mut self,
        goal: &State,
        fault: Option<Fault>,
        flags: u64,
        seen: &mut Option<String>,
    ) -> Result<(), ()> {
        if self.regs[RIP] != goal.rip() {
            return Err(());
        }
        let mut what = State::of(self).difference(goal, flags);
        let mine = fault.map(|_| self.fault);
        if let (Some(mine), Some(theirs)) = (mine, fault)
            && (mine.vector, mine.error, mine.address) != (theirs.vector, theirs.error, theirs.address)
        {
            let _ = write!(what, "fault {theirs:x?}, not {mine:x?}; ");
        }
        if what.is_empty() {
            self.compare_pages(&mut what);
        }
        if what.is_empty() {
            return Ok(());
        }
        seen.get_or_insert(what);
        Err(())
    }

    /// Compares memory with what translated code left there.
    fn compare_pages(&mut self, what: &mut String) {
        let stretch = self.verifier().and_then(|verifier| verifier.stretch.take()).expect("a stretch");
        for page in &stretch.pages {
            let now = self.page_bytes(page.number);
            let wanted = page.after.as_ref().unwrap_or(&page.before);
            if now == *wanted {
                continue;
            }
            let mut tolerated = now.clone();
            for at in (0..now.len()).filter(|&at| now[at] != wanted[at]) {
                if is_accessed_or_dirty(at, now[at], wanted[at]) {
                    // The walk for one of the two set it.
                    tolerated[at] |= wanted[at];
                } else if what.len() < 400 {
                    let (gpa, ours, theirs) =
                        (self.platform.memory.page_gpa(page.number), wanted[at], now[at]);
                    let _ = write!(what, "byte {:x} is {ours:02x}, not {theirs:02x}; ", gpa + at as u64);
                }
            }
            if what.is_empty() {
                self.put_page(page.number, &tolerated);
            }
        }
        self.verifier().expect("verifying").stretch = Some(stretch);
    }
}

fn listing(block: &Block) -> String {
    let (key, code) = (block.key, &block.code);
    let mut text = format!("block {:x}, {} {:?}\n", key.rip, key.mode.describe(), key.mode);
    let mut decoder = Decoder::with_ip(key.mode.bits(), code, key.rip, DECODING);
    let mut instruction = Instruction::default();
    while decoder.can_decode() {
        let at = decoder.position();
        decoder.decode_out(&mut instruction);
        let digits: String = code[at..decoder.position()].iter().map(|byte| format!("{byte:02x}")).collect();
        let _ = writeln!(text, "  {:x} {digits:22} {:?}", instruction.ip(), instruction.code());
    }
    text
}

/// Whether bytes differ as the first of a paging entry does that was used, or written through.
fn is_accessed_or_dirty(at: usize, one: u8, other: u8) -> bool {
    at.is_multiple_of(4) && (one ^ other) & !0x60 == 0 && one & 1 != 0
}

fn report(stretch: &Stretch, goal: &State, fault: Option<Fault>, what: &str) -> String {
    let fault = fault.map(|fault| format!(" with {fault:x?}")).unwrap_or_default();
    let (before, code) = (&stretch.before, &stretch.code);
    format!("translated code differs from interpreted: {what}\n{code}before: {before}\nafter{fault}: {goal}")
}

/// Status flags that an instruction reads.
pub(super) fn reads(code: Code) -> u64 {
    undefined::reads(code)
}
