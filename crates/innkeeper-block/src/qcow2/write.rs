//! Writing: in place where a cluster is the image's own, else into new clusters that replace what was there.
//!
//! A new cluster is complete (what the guest wrote, and around it what was there before) before the mapping
//! leads to it; the order in which that reaches the disk is `flush.rs`'s.

use std::io::{self, IoSlice, IoSliceMut};
use std::ops::Range;
use std::sync::atomic::Ordering;

use super::disk::Qcow2;
use super::flush::MANY;
use super::map::{Entry, Kind, Run};
use super::refcounts::Allocation;
use super::tables::{self, COPIED, L2Entry};
use crate::error::{Error, Result};
use crate::{buffers, range};

/// As much as one step of a request writes to new clusters.
const STEP: u64 = 16 << 20;

/// Where a write to new clusters goes, and what they replace.
pub(super) struct Plan {
    allocation: Allocation,
    /// Zero clusters that were held: written again rather than allocated.
    reused: bool,
    old: Vec<Entry>,
}

impl Plan {
    /// Only a place.
    pub(super) fn at(allocation: Allocation) -> Self {
        Self { allocation, reused: true, old: Vec::new() }
    }
}

impl Qcow2 {
    pub(super) fn write_at(&self, guest: u64, buffers: &[IoSlice<'_>]) -> io::Result<()> {
        let total = range::total(buffers);
        let mut done = 0;
        while done < total {
            let run = self.find_writable(guest + done, total - done)?;
            done += match run.kind {
                Kind::Data { host, own: true } if run.length == total => {
                    self.medium.write(host, buffers)?;
                    total
                }
                Kind::Data { host, own: true } => {
                    self.medium.write(host, &buffers::part(buffers, done, run.length))?;
                    run.length
                }
                _ if self.geometry.extended_l2 => {
                    self.write_subclusters(guest + done, buffers, done, total - done)?
                }
                _ => self.write_new(guest + done, buffers, done, total - done)?,
            };
        }
        Ok(())
    }

    /// As `find`, but no cluster of a table is passed off as the guest's.
    fn find_writable(&self, guest: u64, length: u64) -> io::Result<Run> {
        loop {
            let found = {
                let map = self.map();
                let found = map.lookup(guest, length).map_err(|error| self.failed(error))?;
                if let Ok(Run { kind: Kind::Data { host, own: true }, length }) = found {
                    let bits = self.geometry.cluster_bits;
                    let mut clusters = host >> bits..=(host + length - 1) >> bits;
                    if let Some(table) = clusters.find(|cluster| map.metadata.contains(cluster)) {
                        drop(map);
                        let offset = table << bits;
                        let text = format!("an L2 entry leads to {offset:#x}, which is a table of the image");
                        return Err(self.failed(Error::Corrupt(text)));
                    }
                }
                found
            };
            match found {
                Ok(run) => return Ok(run),
                Err(miss) => self.load(miss)?,
            }
        }
    }

    /// Writes some of `left` bytes to new clusters; returns how many. 0 if in the meantime there is no need to.
    fn write_new(&self, guest: u64, buffers: &[IoSlice<'_>], skip: u64, left: u64) -> io::Result<u64> {
        let range = self.clusters_around(guest, left.min(STEP));
        let _claim = self.claims.take(range.clone());
        self.own_table(range.start)?;
        let Some(plan) = self.plan(range.clone())? else { return Ok(0) };
        let count = plan.allocation.count;
        let end = range.start + (count << self.geometry.cluster_bits);
        let length = left.min(end - guest);
        let written =
            self.fill(&plan, range.start..end, guest, &buffers::part(buffers, skip, length)).and_then(|()| {
                let hosts = (0..count).map(|n| plan.allocation.offset + (n << self.geometry.cluster_bits));
                self.link(range.start, &hosts.map(|host| (host | COPIED, 0)).collect::<Vec<_>>())
            });
        if let Err(error) = written {
            if !plan.reused {
                self.give_back(plan.allocation);
            }
            return Err(error);
        }
        if !plan.reused {
            self.release(&plan.old);
        }
        Ok(length)
    }

    /// Whole clusters around a request, within one slice of an L2 table.
    pub(super) fn clusters_around(&self, guest: u64, length: u64) -> Range<u64> {
        let cluster = self.geometry.cluster_size();
        let span = 1u64 << self.map().slice_span_bits();
        let start = guest & !(cluster - 1);
        start..(guest + length).next_multiple_of(cluster).min((start & !(span - 1)) + span)
    }

    /// Entries of the clusters in a range within one slice.
    pub(super) fn entries(&self, range: Range<u64>) -> io::Result<Vec<Entry>> {
        let mut entries =
            Vec::with_capacity(((range.end - range.start) >> self.geometry.cluster_bits) as usize);
        let mut guest = range.start;
        while guest < range.end {
            let miss = {
                let map = self.map();
                loop {
                    match map.entry(guest).map_err(|error| self.failed(error))? {
                        Ok(entry) => entries.push(entry),
                        Err(miss) => break Some(miss),
                    }
                    guest += self.geometry.cluster_size();
                    if guest == range.end {
                        break None;
                    }
                }
            };
            if let Some(miss) = miss {
                self.load(miss)?;
            }
        }
        Ok(entries)
    }

    /// Finds room for the clusters at the beginning of `range` that need some.
    fn plan(&self, range: Range<u64>) -> io::Result<Option<Plan>> {
        let entries = self.entries(range)?;
        let kinds: Vec<L2Entry> = entries
            .iter()
            .map(|(entry, _)| self.geometry.l2_entry(*entry))
            .collect::<Result<_>>()
            .map_err(|error| self.failed(error))?;
        if let Some(L2Entry::Zero { offset: offset @ 1.., copied: true }) = kinds.first() {
            let bits = self.geometry.cluster_bits;
            let host = |n: usize| offset + ((n as u64) << bits);
            let same = kinds.iter().enumerate().take_while(
                |(n, kind)| matches!(kind, L2Entry::Zero { offset, copied: true } if *offset == host(*n)),
            );
            let count = same.count();
            self.refuse_tables(offset >> bits..(host(count)) >> bits)?;
            let allocation = Allocation { offset: *offset, count: count as u64, fresh: false };
            return Ok(Some(Plan { allocation, reused: true, old: entries[..count].to_vec() }));
        }
        let in_place = |kind: &L2Entry| {
            matches!(kind, L2Entry::Data { copied: true, .. } | L2Entry::Zero { offset: 1.., copied: true })
        };
        let count = kinds.iter().position(in_place).unwrap_or(kinds.len());
        if count == 0 {
            return Ok(None);
        }
        let allocation = self.allocate(count as u64, false)?;
        let old = entries[..allocation.count as usize].to_vec();
        Ok(Some(Plan { allocation, reused: false, old }))
    }

    pub(super) fn refuse_tables(&self, mut clusters: Range<u64>) -> io::Result<()> {
        let table = {
            let map = self.map();
            clusters.find(|cluster| map.metadata.contains(cluster))
        };
        match table {
            None => Ok(()),
            Some(_) => Err(self.failed(Error::Corrupt("an L2 entry leads to a table of the image".into()))),
        }
    }

    pub(super) fn allocate(&self, count: u64, all: bool) -> io::Result<Allocation> {
        let mut space = self.space();
        let got = if all { space.refcounts.allocate_all(count) } else { space.refcounts.allocate(count) };
        let (added, end) = (space.refcounts.take_added(), space.refcounts.medium_size());
        {
            let mut map = if added.is_empty() && self.map().end == end { None } else { Some(self.map_mut()) };
            if let Some(map) = &mut map {
                map.metadata.extend(added);
                map.end = end;
            }
        }
        drop(space);
        got.map_err(|error| self.failed(error))
    }

    /// What was allocated and never linked.
    pub(super) fn give_back(&self, allocation: Allocation) {
        let first = allocation.offset >> self.geometry.cluster_bits;
        let mut space = self.space();
        for cluster in first..first + allocation.count {
            if space.refcounts.change(cluster, false).is_err() {
                return; // it stays counted: a leak, no harm
            }
        }
    }

    /// Writes the guest's bytes, which start at `guest`, and what else belongs into `clusters`.
    pub(super) fn fill(
        &self,
        plan: &Plan,
        clusters: Range<u64>,
        guest: u64,
        data: &[IoSlice<'_>],
    ) -> io::Result<()> {
        let end = guest + range::total(data);
        let host = plan.allocation.offset;
        let head = self.around(plan, clusters.start..guest)?;
        let tail = self.around(plan, end..clusters.end)?;
        let at = host + (guest - clusters.start) - head.len() as u64;
        if head.is_empty() && tail.is_empty() {
            return self.medium.write(at, data);
        }
        let mut all = Vec::with_capacity(data.len() + 2);
        all.push(IoSlice::new(&head));
        all.extend(data.iter().map(|buffer| IoSlice::new(buffer)));
        all.push(IoSlice::new(&tail));
        self.medium.write(at, &all)
    }

    /// What was there, unless it is zeroes and the new cluster is zeroes already.
    fn around(&self, plan: &Plan, range: Range<u64>) -> io::Result<Vec<u8>> {
        if range.is_empty() {
            return Ok(Vec::new());
        }
        let length = range.end - range.start;
        let run = self.find(range.start, length)?;
        if run.length == length && self.is_zero(run.kind, range.start) && plan.allocation.fresh {
            return Ok(Vec::new());
        }
        let mut bytes = vec![0; length as usize];
        self.read_at(range.start, &mut [IoSliceMut::new(&mut bytes)])?;
        Ok(bytes)
    }

    /// Makes the mapping lead to what is complete.
    pub(super) fn link(&self, guest: u64, entries: &[Entry]) -> io::Result<()> {
        loop {
            let (replaced, pressed) = {
                let mut map = self.map_mut();
                (map.replace(guest, entries).map_err(|error| self.failed(error))?, map.is_pressed())
            };
            match replaced {
                Ok(()) if pressed => {
                    self.strained.store(true, Ordering::Relaxed);
                    return Ok(());
                }
                Ok(()) => return Ok(()),
                Err(miss) => self.load(miss)?,
            }
        }
    }

    /// What these entries led to has one user less, once that is durable.
    pub(super) fn release(&self, old: &[Entry]) {
        let bits = self.geometry.cluster_bits;
        let mut space = self.space();
        for (entry, _) in old {
            let clusters = match self.geometry.l2_entry(*entry) {
                Ok(L2Entry::Data { offset, .. } | L2Entry::Zero { offset: offset @ 1.., .. }) => {
                    offset >> bits..(offset >> bits) + 1
                }
                Ok(L2Entry::Compressed { offset, length }) => {
                    offset >> bits..((offset + length - 1) >> bits) + 1
                }
                _ => continue,
            };
            match space.pending.last_mut() {
                Some(last) if last.end == clusters.start => last.end = clusters.end,
                _ => space.pending.push(clusters),
            }
        }
        if space.pending.len() > MANY {
            self.strained.store(true, Ordering::Relaxed);
        }
    }

    /// Sees to it that the L2 table which `guest` belongs to is there and the image's own.
    pub(super) fn own_table(&self, guest: u64) -> io::Result<()> {
        if self.map().owns_table(guest) {
            return Ok(());
        }
        let _tables = self.tables.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (l1_index, entry) = {
            let map = self.map();
            if map.owns_table(guest) {
                return Ok(());
            }
            let l1_index = self.geometry.l1_index(guest);
            (l1_index, map.l1.get(l1_index).copied().unwrap_or(0))
        };
        let old = tables::l1_offset(entry, &self.geometry).map_err(|error| self.failed(error))?;
        let allocation = self.allocate(1, true)?;
        if let Err(error) = self.begin_table(old, allocation) {
            self.give_back(allocation);
            return Err(error);
        }
        let bits = self.geometry.cluster_bits;
        let mut space = self.space();
        space.refcounts.protect(allocation.offset >> bits);
        let mut map = self.map_mut();
        map.set_table(l1_index, allocation.offset);
        if old != 0 {
            space.pending.push(old >> bits..(old >> bits) + 1);
            space.refcounts.unprotect(old >> bits);
            map.metadata.remove(&(old >> bits));
        }
        Ok(())
    }

    /// Writes a new table: empty, or as the one that others use too.
    fn begin_table(&self, old: u64, allocation: Allocation) -> io::Result<()> {
        if old == 0 && allocation.fresh {
            return Ok(());
        }
        let mut bytes = vec![0; self.geometry.cluster_size() as usize];
        if old != 0 {
            self.medium.read_exact(old, &mut bytes)?;
            let step = 1 << self.geometry.l2_entry_bits();
            // Who shares the table shares what it leads to.
            bytes.iter_mut().step_by(step).for_each(|byte| *byte &= 0x7F);
        }
        self.medium.write_all(allocation.offset, &bytes)
    }
}
