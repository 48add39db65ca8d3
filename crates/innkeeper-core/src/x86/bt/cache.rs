//! The translated blocks of one vCPU: found by address, chained to each other, and forgotten when
//! their bytes change.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::io;

use super::buffer::CodeBuffer;
use super::mode::Mode;
use super::thunks::{self, Thunks};
use crate::x86::op::Op;

pub type BlockId = u32;
pub type ExitId = u32;
pub type SiteId = u32;

/// What identifies a translation: where the guest's code is, physically and as it sees it, and the mode.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Key {
    pub rip: u64,
    pub page: u32,
    pub mode: Mode,
}

/// Bytes of a RAM page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CodeRange {
    pub page: u32,
    pub start: u16,
    pub end: u16,
}

impl CodeRange {
    fn overlaps(&self, other: &Self) -> bool {
        self.page == other.page && self.start < other.end && other.start < self.end
    }
}

pub struct Block {
    pub key: Key,
    /// The guest code that it was made of. Another vCPU may have changed it since.
    pub code: Box<[u8]>,
    /// What the translation depends on: its code, and what it looked at.
    pub ranges: Vec<CodeRange>,
    /// The RAM page that its only instruction goes on in, if that crosses into another.
    pub second: Option<u32>,
    /// Where to enter: from anywhere, and with the vector and x87 state that it needs loaded.
    pub entry: u32,
    pub warm_entry: u32,
    pub hot: (u32, u32),
    /// Code that leaves for the block's address: what its entry leads to when it is dead.
    pub grave: u32,
    pub vector: bool,
    pub x87: bool,
    /// The page is mapped globally, for the supervisor: it may be chained to from other pages.
    pub global: bool,
    pub dead: bool,
    pub exits: (ExitId, ExitId),
    /// Where calls out of it return to: there R10 is the guest's return address.
    pub landings: Vec<u32>,
    /// Exits that jump here.
    pub incoming: Vec<ExitId>,
    /// The execution counter, if blocks are counted.
    pub counter: Option<usize>,
}

/// A way out of a block to a known guest address.
pub struct Exit {
    pub from: BlockId,
    pub target: u64,
    /// The mode in which it leaves.
    pub mode: Mode,
    /// The end of the jump's displacement, and where it leads while it is not chained. 0: it has none.
    pub site: u32,
    pub stub: u32,
    /// The state that a warm entry needs is loaded.
    pub warm_vector: bool,
    pub warm_x87: bool,
    pub chained: Option<BlockId>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    Read,
    Write,
    /// None: the instruction is the interpreter's.
    Emulate,
}

/// An instruction that may need a run-time helper.
pub struct Site {
    pub block: BlockId,
    /// Where the instruction begins, from the block's start, and its bytes.
    pub offset: u16,
    pub length: u8,
    pub access: Access,
    pub size: u16,
    /// Address bits that must be zero.
    pub align: u8,
    /// Host code: try again, and go on behind the instruction.
    pub retry: u32,
    pub next: u32,
    /// Where the operand's place is known: R11 + R10, or if `single` R10. 0: more is touched than `size`.
    pub found: u32,
    pub single: bool,
    /// It checks a run of accesses, of which this is the first.
    pub run: bool,
    /// Decoded for the interpreter, once it was needed.
    pub op: Option<Box<Op>>,
}

/// FxHash-like: keys are few words, and not chosen to collide by anyone but the guest itself.
#[derive(Default, Clone, Copy)]
pub struct WordHasher(u64);

impl Hasher for WordHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.write_u64(byte.into()));
    }
    fn write_u8(&mut self, value: u8) {
        self.write_u64(value.into());
    }
    fn write_u32(&mut self, value: u32) {
        self.write_u64(value.into());
    }
    fn write_u64(&mut self, value: u64) {
        self.0 = (self.0.rotate_left(5) ^ value).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.0 ^= self.0 >> 32;
    }
}

pub type Map<K, V> = HashMap<K, V, BuildHasherDefault<WordHasher>>;

/// Bytes kept free at the end of each region, so that a block always fits.
const MARGIN: usize = 64 << 10;

pub struct Cache {
    pub buffer: CodeBuffer,
    pub thunks: Thunks,
    /// Where the next block's code goes: its common path, and what is rarely needed.
    pub hot: usize,
    pub cold: usize,
    cold_start: usize,
    pub blocks: Vec<Block>,
    pub exits: Vec<Exit>,
    pub sites: Vec<Site>,
    /// The exit by which translated code was left last, to be chained.
    pub arrived: Option<ExitId>,
    index: Map<Key, BlockId>,
    pages: Map<u32, Vec<BlockId>>,
    /// Chained exits that lead to another linear page, by that page, with the RAM page it was.
    across: Map<u64, (u32, Vec<ExitId>)>,
}

impl Cache {
    /// # Errors
    /// The host refuses the mapping.
    pub fn new(bytes: usize) -> io::Result<Self> {
        let mut buffer = CodeBuffer::new(bytes)?;
        let (thunks, code) = thunks::emit();
        code.flush(&mut buffer);
        let cold_start = bytes / 16 * 9;
        let mut cache = Self {
            buffer,
            thunks,
            hot: 0,
            cold: 0,
            cold_start,
            blocks: Vec::new(),
            exits: Vec::new(),
            sites: Vec::new(),
            arrived: None,
            index: Map::default(),
            pages: Map::default(),
            across: Map::default(),
        };
        cache.clear();
        Ok(cache)
    }

    /// Forgets every block. Nothing of the cache may be running.
    pub fn clear(&mut self) {
        self.hot = self.thunks.end.next_multiple_of(64);
        self.cold = self.cold_start;
        self.blocks.clear();
        self.sites.clear();
        self.exits.clear();
        // Exit 0 means "none" to those who leave translated code.
        self.exits.push(Exit {
            from: 0,
            target: 0,
            mode: Mode(0),
            site: 0,
            stub: 0,
            warm_vector: false,
            warm_x87: false,
            chained: None,
        });
        self.arrived = None;
        self.index.clear();
        self.pages.clear();
        self.across.clear();
    }

    pub fn is_full(&self) -> bool {
        self.hot + MARGIN > self.cold_start || self.cold + MARGIN > self.buffer.bytes()
    }

    pub fn find(&self, key: &Key) -> Option<BlockId> {
        self.index.get(key).copied()
    }

    /// Whether a block has a direct branch to `rip`.
    pub fn leads_to(&self, id: BlockId, rip: u64) -> bool {
        let (first, last) = self.blocks[id as usize].exits;
        self.exits[first as usize..last as usize].iter().any(|exit| exit.target == rip)
    }

    pub fn insert(&mut self, block: Block) -> BlockId {
        let id = self.blocks.len() as BlockId;
        self.index.insert(block.key, id);
        for page in std::iter::once(block.key.page).chain(block.second) {
            self.pages.entry(page).or_default().push(id);
        }
        self.blocks.push(block);
        id
    }

    /// The host address to enter a block at from anywhere.
    pub fn entry(&self, id: BlockId) -> u64 {
        self.buffer.address(self.blocks[id as usize].entry as usize)
    }

    pub fn address(&self, offset: u32) -> u64 {
        self.buffer.address(offset as usize)
    }

    // ---- chaining -------------------------------------------------------------------------------

    /// Makes an exit jump to a block, if that stays right without anyone looking again: both are in one
    /// linear page, or the target's page is mapped for the supervisor in every address space.
    pub fn chain(&mut self, id: ExitId, to: BlockId) -> bool {
        let exit = &self.exits[id as usize];
        let (from, target) = (&self.blocks[exit.from as usize], &self.blocks[to as usize]);
        let (key, second, site) = (target.key, target.second, exit.site as usize);
        let right = site != 0 && exit.chained.is_none() && !from.dead && exit.mode == key.mode;
        let same = from.key.rip >> 12 == key.rip >> 12 && from.key.page == key.page && second.is_none();
        if !right || !(same || target.global) {
            return false;
        }
        let warm = (!target.vector || exit.warm_vector) && (!target.x87 || exit.warm_x87);
        let entry = if warm { target.warm_entry } else { target.entry };
        self.buffer.patch(site, entry as usize);
        if !same {
            let pages = [Some(key.page), second].into_iter().flatten();
            for (linear, page) in (key.rip >> 12..).zip(pages) {
                self.across.entry(linear).or_insert((page, Vec::new())).1.push(id);
            }
        }
        self.exits[id as usize].chained = Some(to);
        self.blocks[to as usize].incoming.push(id);
        true
    }

    fn unchain(&mut self, id: ExitId) {
        let exit = &mut self.exits[id as usize];
        if exit.chained.take().is_some() {
            let (site, stub) = (exit.site as usize, exit.stub as usize);
            self.buffer.patch(site, stub);
        }
    }

    /// Unchains an exit that leads to a living block.
    fn let_go(&mut self, id: ExitId) {
        if let Some(to) = self.exits[id as usize].chained {
            self.blocks[to as usize].incoming.retain(|&other| other != id);
            self.unchain(id);
        }
    }

    /// The linear pages that blocks are chained to from others, with what RAM page each was.
    pub fn pages_across(&self) -> Vec<(u64, u32)> {
        self.across.iter().map(|(&linear, &(page, _))| (linear, page)).collect()
    }

    pub fn is_chained_across(&self, linear_page: u64) -> Option<u32> {
        self.across.get(&linear_page).map(|&(page, _)| page)
    }

    /// Undoes the chains into a linear page from others: it may be mapped elsewhere now.
    pub fn cut(&mut self, linear_page: u64) {
        let (_, exits) = self.across.remove(&linear_page).unwrap_or_default();
        for id in exits {
            let leads_here = |to: BlockId| {
                let block = &self.blocks[to as usize];
                let first = block.key.rip >> 12;
                first == linear_page || (block.second.is_some() && first + 1 == linear_page)
            };
            if self.exits[id as usize].chained.is_some_and(leads_here) {
                self.let_go(id);
            }
        }
    }

    // ---- invalidation ---------------------------------------------------------------------------

    /// Forgets the blocks that depend on some bytes. Gives how many, and what the page's other blocks still
    /// depend on.
    pub fn invalidate(&mut self, written: CodeRange) -> (u64, Vec<CodeRange>) {
        let Some(mut blocks) = self.pages.remove(&written.page) else { return (0, Vec::new()) };
        blocks.retain(|&id| !self.blocks[id as usize].dead);
        let hit =
            |&id: &BlockId| self.blocks[id as usize].ranges.iter().any(|range| range.overlaps(&written));
        let (gone, kept): (Vec<_>, Vec<_>) = blocks.into_iter().partition(hit);
        let count = gone.len() as u64;
        gone.into_iter().for_each(|id| self.remove(id));
        let here = |range: &&CodeRange| range.page == written.page;
        let ranges = kept
            .iter()
            .flat_map(|&id| self.blocks[id as usize].ranges.iter().filter(here).copied())
            .collect();
        if !kept.is_empty() {
            self.pages.insert(written.page, kept);
        }
        (count, ranges)
    }

    /// Makes the ways into a dead block that nobody keeps a list of lead out: its entry, which jump tables
    /// name, and the landings of its calls, which the host's stack names.
    fn bury(&mut self, id: BlockId) {
        let block = &self.blocks[id as usize];
        let (entry, grave) = (block.entry as usize, block.grave as usize);
        let jump = |buffer: &mut CodeBuffer, at: usize, to: usize| {
            buffer.write(at, &[0xE9]);
            buffer.patch(at + 5, to);
        };
        jump(&mut self.buffer, entry, grave);
        for landing in std::mem::take(&mut self.blocks[id as usize].landings) {
            jump(&mut self.buffer, landing as usize, self.thunks.exit_indirect);
        }
    }

    fn remove(&mut self, id: BlockId) {
        let block = &mut self.blocks[id as usize];
        block.dead = true;
        let key = block.key;
        let incoming = std::mem::take(&mut block.incoming);
        let (first, last) = block.exits;
        if self.index.get(&key) == Some(&id) {
            self.index.remove(&key);
        }
        for exit in incoming {
            self.unchain(exit);
        }
        for exit in first..last {
            self.let_go(exit);
        }
        self.bury(id); // last: what was just patched may lie in what that overwrites
    }
}
