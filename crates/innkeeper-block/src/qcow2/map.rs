//! The L1 table and the cache of L2 tables: from guest offsets to what is there.
//!
//! L2 tables are cached in slices of at most 4 KiB, as words of the host's own byte order: a lookup is a hash and
//! a load. Slices change here first and reach the medium only by a flush (`flush.rs`), which alone knows in
//! which order; a slice that has not reached it is never evicted.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicBool, Ordering};

use super::tables::{self, COPIED, Geometry, L2Entry};
use crate::error::{Error, Result};

/// Of slices in memory, in bytes at most.
const CACHE: usize = 32 << 20;
const SLICE: usize = 4096;

/// Host offsets of clusters and slices are spread well enough by a multiplication.
#[derive(Default)]
pub struct OffsetHasher(u64);

impl Hasher for OffsetHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = (self.0 ^ value).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(26);
    }
}

type Hash = BuildHasherDefault<OffsetHasher>;

/// A part of an L2 table.
pub struct Slice {
    /// Its host offset.
    pub key: u64,
    pub words: Box<[u64]>,
    pub l1_index: usize,
    /// Differs from the medium.
    pub dirty: bool,
    /// On its way to the medium.
    pub writing: bool,
    used: AtomicBool,
}

/// What stands at a guest offset, from there on as far as it is alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    pub kind: Kind,
    /// In bytes.
    pub length: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Unallocated,
    Zero,
    /// `host` is that of the first byte asked for; `own`: nobody else uses the clusters.
    Data {
        host: u64,
        own: bool,
    },
    /// One cluster.
    Compressed {
        offset: u64,
        length: u64,
    },
}

/// The part of an L2 table that must be loaded first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Miss {
    pub key: u64,
    pub l1_index: usize,
}

/// An L2 entry and the bitmap beside it.
pub type Entry = (u64, u64);

pub struct Map {
    pub geometry: Geometry,
    pub l1: Vec<u64>,
    /// Indices of L1 entries that differ from the medium.
    pub l1_dirty: HashSet<usize>,
    slots: Vec<Slice>,
    index: HashMap<u64, usize, Hash>,
    /// Slots that are dirty.
    dirty: Vec<usize>,
    hand: usize,
    /// Counts the flushes: what was read from the medium before one may be stale after it.
    pub written: u64,
    /// Clusters of tables, which no guest's request may reach.
    pub metadata: HashSet<u64, Hash>,
    /// Of the medium, in bytes: no cluster begins beyond.
    pub end: u64,
}

impl Map {
    pub fn new(geometry: Geometry, l1: Vec<u64>, end: u64) -> Self {
        let metadata = l1.iter().map(|entry| (entry & tables::OFFSET) >> geometry.cluster_bits).collect();
        Self {
            geometry,
            l1,
            l1_dirty: HashSet::new(),
            slots: Vec::new(),
            index: HashMap::default(),
            dirty: Vec::new(),
            hand: 0,
            written: 0,
            metadata,
            end,
        }
    }

    /// In bytes.
    pub fn slice_size(&self) -> usize {
        SLICE.min(self.geometry.cluster_size() as usize)
    }

    /// log2 of the guest bytes that a slice is about.
    pub fn slice_span_bits(&self) -> u32 {
        self.geometry.cluster_bits + self.slice_size().ilog2() - self.geometry.l2_entry_bits()
    }

    /// Whether so much is dirty that a flush is due.
    pub fn is_pressed(&self) -> bool {
        self.dirty.len() * self.slice_size() > CACHE / 2
    }

    /// The slice's key for a guest offset, if there is a table.
    fn key(&self, guest: u64) -> Result<Option<Miss>> {
        let l1_index = self.geometry.l1_index(guest);
        let entry = self.l1.get(l1_index).copied().unwrap_or(0);
        let table = tables::l1_offset(entry, &self.geometry)?;
        if table == 0 {
            return Ok(None);
        }
        let within =
            (self.geometry.l2_index(guest) << self.geometry.l2_entry_bits()) & !(self.slice_size() - 1);
        Ok(Some(Miss { key: table + within as u64, l1_index }))
    }

    fn word(&self, guest: u64) -> usize {
        let entry_words = 1 << (self.geometry.l2_entry_bits() - 3);
        (self.geometry.l2_index(guest) * entry_words) & (self.slice_size() / 8 - 1)
    }

    /// What is there from `guest` on, at most `length` bytes and at most to the slice's end. The inner error: that
    /// slice must be loaded first.
    pub fn lookup(&self, guest: u64, length: u64) -> Result<std::result::Result<Run, Miss>> {
        let Some(place) = self.key(guest)? else {
            let span = 1u64 << self.geometry.l1_entry_bits();
            return Ok(Ok(Run { kind: Kind::Unallocated, length: length.min(span - (guest & (span - 1))) }));
        };
        let Some(slot) = self.index.get(&place.key) else { return Ok(Err(place)) };
        let slice = &self.slots[*slot];
        if !slice.used.load(Ordering::Relaxed) {
            slice.used.store(true, Ordering::Relaxed);
        }
        let span = 1u64 << self.slice_span_bits();
        let limit = length.min(span - (guest & (span - 1)));
        self.run(slice, guest, limit).map(Ok)
    }

    fn run(&self, slice: &Slice, guest: u64, limit: u64) -> Result<Run> {
        let unit = 1u64 << self.geometry.unit_bits();
        let kind = self.unit(slice, guest)?;
        let mut length = unit - (guest & (unit - 1));
        if let Kind::Compressed { .. } = kind {
            let cluster = self.geometry.cluster_size();
            return Ok(Run { kind, length: limit.min(cluster - (guest & (cluster - 1))) });
        }
        while length < limit {
            let next = self.unit(slice, guest + length)?;
            let alike = match (kind, next) {
                (Kind::Data { host, own }, Kind::Data { host: next, own: own_next }) => {
                    next == host + length && own == own_next
                }
                (kind, next) => kind == next,
            };
            if !alike {
                break;
            }
            length += unit;
        }
        Ok(Run { kind, length: length.min(limit) })
    }

    /// What stands at one guest offset.
    fn unit(&self, slice: &Slice, guest: u64) -> Result<Kind> {
        let word = self.word(guest);
        let within = self.geometry.within_cluster(guest);
        let entry = self.geometry.l2_entry(slice.words[word])?;
        let (offset, own) = match entry {
            L2Entry::Compressed { offset, length } => {
                self.check_end(offset)?;
                return Ok(Kind::Compressed { offset, length });
            }
            L2Entry::Zero { .. } => return Ok(Kind::Zero),
            L2Entry::Unallocated if !self.geometry.extended_l2 => return Ok(Kind::Unallocated),
            L2Entry::Unallocated => (0, false),
            L2Entry::Data { offset, copied } => (offset, copied),
        };
        if self.geometry.extended_l2 {
            let bitmap = slice.words[word + 1];
            let subcluster = within >> self.geometry.unit_bits();
            let (allocated, zero) = (bitmap >> subcluster & 1 == 1, bitmap >> (subcluster + 32) & 1 == 1);
            match (allocated, zero) {
                (true, true) => return Err(Error::Corrupt("a subcluster is both data and zero".into())),
                (false, true) => return Ok(Kind::Zero),
                (false, false) => return Ok(Kind::Unallocated),
                (true, false) if offset == 0 => {
                    return Err(Error::Corrupt("a subcluster is data nowhere".into()));
                }
                (true, false) => {}
            }
        }
        self.check_end(offset)?;
        Ok(Kind::Data { host: offset + within, own })
    }

    fn check_end(&self, offset: u64) -> Result<()> {
        if offset < self.end {
            return Ok(());
        }
        let end = self.end;
        Err(Error::Corrupt(format!(
            "an L2 entry leads to {offset:#x}, the image ends at {end:#x}: it is cut short"
        )))
    }

    /// The L2 entry of a cluster, and the bitmap beside it where entries are extended.
    pub fn entry(&self, guest: u64) -> Result<std::result::Result<Entry, Miss>> {
        let Some(place) = self.key(guest)? else { return Ok(Ok((0, 0))) };
        let Some(slot) = self.index.get(&place.key) else { return Ok(Err(place)) };
        let (words, word) = (&self.slots[*slot].words, self.word(guest));
        Ok(Ok((words[word], if self.geometry.extended_l2 { words[word + 1] } else { 0 })))
    }

    /// Replaces the entries of clusters from `guest` on, all in one slice of a table that is the image's own.
    pub fn replace(&mut self, guest: u64, entries: &[Entry]) -> Result<std::result::Result<(), Miss>> {
        let Some(place) = self.key(guest)? else {
            return Err(Error::Corrupt("an L2 table vanished".into()));
        };
        let Some(slot) = self.index.get(&place.key).copied() else { return Ok(Err(place)) };
        let word = self.word(guest);
        let slice = &mut self.slots[slot];
        let step = if self.geometry.extended_l2 { 2 } else { 1 };
        for (place, (entry, bitmap)) in slice.words[word..].chunks_exact_mut(step).zip(entries) {
            place[0] = *entry;
            if let Some(beside) = place.get_mut(1) {
                *beside = *bitmap;
            }
        }
        if !slice.dirty {
            slice.dirty = true;
            self.dirty.push(slot);
        }
        Ok(Ok(()))
    }

    /// Whether the L2 table that `guest` belongs to is there and nobody else's.
    pub fn owns_table(&self, guest: u64) -> bool {
        self.l1
            .get(self.geometry.l1_index(guest))
            .is_some_and(|entry| entry & COPIED != 0 && entry & tables::OFFSET != 0)
    }

    /// Puts a new table at `offset` into L1.
    pub fn set_table(&mut self, l1_index: usize, offset: u64) {
        let end = offset + self.geometry.cluster_size();
        for key in (offset..end).step_by(self.slice_size()) {
            // What was there before the cluster became a table again.
            if let Some(slot) = self.index.remove(&key) {
                self.slots[slot].key = u64::MAX;
            }
        }
        self.metadata.insert(offset >> self.geometry.cluster_bits);
        self.l1[l1_index] = offset | COPIED;
        self.l1_dirty.insert(l1_index);
    }

    pub fn has(&self, key: u64) -> bool {
        self.index.contains_key(&key)
    }

    /// Takes a slice into the cache. `false`: everything there is dirty, a flush must come first.
    pub fn insert(&mut self, place: Miss, words: Box<[u64]>) -> bool {
        let slice = Slice {
            key: place.key,
            words,
            l1_index: place.l1_index,
            dirty: false,
            writing: false,
            used: AtomicBool::new(true),
        };
        let slot = if self.slots.len() < (CACHE / self.slice_size()).max(4) {
            self.slots.push(slice);
            self.slots.len() - 1
        } else {
            let Some(slot) = self.victim() else { return false };
            self.index.remove(&self.slots[slot].key);
            self.slots[slot] = slice;
            slot
        };
        self.index.insert(place.key, slot);
        true
    }

    /// A clean slot, by preference one that was not used since it was last looked at.
    fn victim(&mut self) -> Option<usize> {
        for _ in 0..2 * self.slots.len() {
            self.hand = (self.hand + 1) % self.slots.len();
            let slice = &mut self.slots[self.hand];
            if !slice.dirty && !slice.writing && !std::mem::take(slice.used.get_mut()) {
                return Some(self.hand);
            }
        }
        None
    }

    /// Slots of all that is dirty: clean from now on, but on their way.
    pub fn take_dirty(&mut self) -> Vec<usize> {
        let dirty = std::mem::take(&mut self.dirty);
        for slot in &dirty {
            self.slots[*slot].dirty = false;
            self.slots[*slot].writing = true;
        }
        dirty
    }

    pub fn slice(&self, slot: usize) -> &Slice {
        &self.slots[slot]
    }

    /// They have arrived, or not.
    pub fn settle(&mut self, slots: &[usize], arrived: bool) {
        for slot in slots {
            let slice = &mut self.slots[*slot];
            slice.writing = false;
            if !arrived && !slice.dirty {
                slice.dirty = true;
                self.dirty.push(*slot);
            }
        }
        self.written += 1;
    }
}
