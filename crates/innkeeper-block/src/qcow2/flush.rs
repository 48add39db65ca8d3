//! What reaches the disk in which order, so that a loss of power at any point leaves a sound image.
//!
//! A host may write what it was given in any order until it is flushed. So a flush
//! 1. writes refcounts, and L2 tables that no L1 entry on the disk leads to yet (data is written already),
//! 2. flushes,
//! 3. writes the other L2 tables, and L1 entries: now all that they lead to is there,
//! 4. flushes: what was written before the call is durable,
//! 5. lessens the counts of clusters that nothing on the disk leads to any more.
//!
//! Whatever is cut off in between leaves clusters that are counted and not used: leaks, which a check finds.

use std::io;
use std::ops::Range;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use super::disk::Qcow2;
use super::tables;

/// So many ranges waiting to be freed are worth a flush of their own.
pub(super) const MANY: usize = 1 << 16;

/// What one flush carries.
struct Cargo {
    slots: Vec<usize>,
    /// Key, bytes, and whether the table is new.
    slices: Vec<(u64, Vec<u8>, bool)>,
    /// Indices and entries.
    l1: Vec<(usize, u64)>,
    freed: Vec<Range<u64>>,
}

impl Qcow2 {
    /// Makes all that was written before the call durable.
    pub(super) fn flush_metadata(&self) -> io::Result<()> {
        let before = self.flushes.load(Ordering::SeqCst);
        let mut last = self.flushing.lock().unwrap_or_else(PoisonError::into_inner);
        if *last > before {
            return Ok(()); // one that began after this call began has done it
        }
        let number = self.flushes.fetch_add(1, Ordering::SeqCst) + 1;
        let cargo = self.load_cargo();
        let arrived = self.write_cargo(&cargo);
        let mut map = self.map_mut();
        map.settle(&cargo.slots, arrived.is_ok());
        if arrived.is_err() {
            map.l1_dirty.extend(cargo.l1.iter().map(|(index, _)| *index));
            drop(map);
            self.space().pending.extend(cargo.freed);
            return arrived;
        }
        drop(map);
        self.retire(cargo.freed)?;
        *last = number;
        Ok(())
    }

    fn load_cargo(&self) -> Cargo {
        // First, so that the mapping without them is part of what follows.
        let freed = std::mem::take(&mut self.space().pending);
        let mut map = self.map_mut();
        let slots = map.take_dirty();
        let slices = slots
            .iter()
            .map(|slot| {
                let slice = map.slice(*slot);
                (slice.key, tables::bytes(&slice.words), map.l1_dirty.contains(&slice.l1_index))
            })
            .collect();
        let l1_dirty = std::mem::take(&mut map.l1_dirty);
        let mut l1: Vec<_> = l1_dirty.into_iter().map(|index| (index, map.l1[index])).collect();
        l1.sort_unstable();
        Cargo { slots, slices, l1, freed }
    }

    fn write_cargo(&self, cargo: &Cargo) -> io::Result<()> {
        // After the mapping was copied, so that all that it leads to is counted.
        self.space().refcounts.write_back()?;
        for (key, bytes, _) in cargo.slices.iter().filter(|(.., new)| *new) {
            self.medium.write_all(*key, bytes)?;
        }
        self.medium.flush()?;
        if cargo.slices.iter().all(|(.., new)| *new) && cargo.l1.is_empty() {
            return Ok(());
        }
        for (key, bytes, _) in cargo.slices.iter().filter(|(.., new)| !*new) {
            self.medium.write_all(*key, bytes)?;
        }
        for (index, entry) in &cargo.l1 {
            let at = self.header.l1_offset + 8 * *index as u64;
            self.medium.write_all(at, &entry.to_be_bytes())?;
        }
        self.medium.flush()
    }

    /// Nothing on the disk leads to these clusters; requests that began earlier still may.
    fn retire(&self, freed: Vec<Range<u64>>) -> io::Result<()> {
        let mut space = self.space();
        let epoch = self.epochs.now();
        space.leaving.extend(freed.into_iter().map(|range| (epoch, range)));
        if space.leaving.is_empty() {
            return Ok(());
        }
        // An epoch's requests are gone once the one after the next has begun.
        let _ = self.epochs.advance() && self.epochs.advance();
        let now = self.epochs.now();
        let (gone, left) = std::mem::take(&mut space.leaving)
            .into_iter()
            .partition(|(epoch, _)| now.wrapping_sub(*epoch) >= 2);
        space.leaving = left;
        drop(space);
        self.forget_decompressed();
        gone.into_iter().try_for_each(|(_, range): (usize, Range<u64>)| self.free(range))
    }

    fn free(&self, range: Range<u64>) -> io::Result<()> {
        let bits = self.geometry.cluster_bits;
        let mut space = self.space();
        let mut holes: Vec<Range<u64>> = Vec::new();
        for cluster in range {
            let left = space.refcounts.change(cluster, false).map_err(|error| self.failed(error))?;
            if left > 0 {
                continue;
            }
            if space.compressed.0 >> bits == cluster {
                space.compressed = (0, 0);
            }
            match holes.last_mut() {
                Some(last) if last.end == cluster => last.end += 1,
                _ => holes.push(cluster..cluster + 1),
            }
        }
        // With the space still locked: nobody has been given them yet.
        for hole in holes.into_iter().filter(|_| self.how.unmap) {
            self.medium.discard(hole.start << bits, (hole.end - hole.start) << bits)?;
        }
        Ok(())
    }

    /// Leaves nothing to be written, and no room behind the last cluster.
    pub(super) fn settle_metadata(&self) -> io::Result<()> {
        if self.how.read_only || self.handed_over.load(Ordering::SeqCst) {
            return Ok(());
        }
        self.flush_metadata()?;
        self.flush_metadata()?; // makes what the first freed durable
        self.space().refcounts.trim().map_err(|error| self.failed(error))
    }

    /// After a request: flushes if too much waits for one.
    pub(super) fn relieve(&self) -> io::Result<()> {
        if self.strained.load(Ordering::Relaxed) && self.strained.swap(false, Ordering::Relaxed) {
            return self.flush_metadata();
        }
        Ok(())
    }
}

impl Drop for Qcow2 {
    fn drop(&mut self) {
        let _ = self.settle_metadata(); // who wants to know of an error flushes before
    }
}
