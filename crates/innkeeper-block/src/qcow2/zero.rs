//! Zeroes and discards: the mapping changes, data does not move.

use std::io::{self, IoSlice};
use std::ops::Range;

use super::disk::Qcow2;
use super::map::{Entry, Kind};
use super::subclusters::ALL_ZERO;
use super::tables::{L2Entry, ZERO};
use crate::Disk;

/// Zeroes that are written as data.
static ZEROES: [u8; 1 << 16] = [0; 1 << 16];

/// What becomes of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    /// Reads as zeroes, and its place is kept.
    Zero,
    /// Reads as zeroes, and its place is given up.
    Unmap,
    /// The guest needs its contents no more.
    Discard,
}

impl Qcow2 {
    pub(super) fn zero_at(&self, offset: u64, length: u64, unmap: bool) -> io::Result<()> {
        let change = if unmap { Change::Unmap } else { Change::Zero };
        // Version 2 has no zero clusters; but what has nothing below it reads as zeroes when it is not there.
        let by_mapping = self.header.version > 2 || (unmap && self.backing().is_none());
        self.pieces(offset, length, |whole, range| {
            if whole && by_mapping { self.change_clusters(range, change) } else { self.zero_bytes(range) }
        })
    }

    pub(super) fn discard_at(&self, offset: u64, length: u64) -> io::Result<()> {
        if self.header.version == 2 && self.backing().is_some() {
            return Ok(()); // what is below would show
        }
        self.pieces(
            offset,
            length,
            |whole, range| {
                if whole { self.change_clusters(range, Change::Discard) } else { Ok(()) }
            },
        )
    }

    /// Cuts a range into whole clusters, a slice of an L2 table at a time, and what is less than one.
    fn pieces(
        &self,
        offset: u64,
        length: u64,
        mut then: impl FnMut(bool, Range<u64>) -> io::Result<()>,
    ) -> io::Result<()> {
        let cluster = self.geometry.cluster_size();
        let end = offset + length;
        // The disk's end ends its last cluster.
        let whole_end = if end == self.size() { end.next_multiple_of(cluster) } else { end & !(cluster - 1) };
        let mut at = offset;
        while at < end {
            if self.geometry.is_aligned(at) && at < whole_end {
                let range = self.clusters_around(at, whole_end - at);
                at = range.end;
                then(true, range)?;
            } else {
                let next = end.min((at & !(cluster - 1)) + cluster);
                then(false, at..next)?;
                at = next;
            }
        }
        Ok(())
    }

    /// Zeroes as data, where there are none already.
    fn zero_bytes(&self, range: Range<u64>) -> io::Result<()> {
        let end = range.end.min(self.size());
        let mut at = range.start;
        while at < end {
            let run = self.find(at, (end - at).min(ZEROES.len() as u64))?;
            if !self.is_zero(run.kind, at) {
                self.write_at(at, &[IoSlice::new(&ZEROES[..run.length as usize])])?;
            }
            at += run.length;
        }
        Ok(())
    }

    fn change_clusters(&self, range: Range<u64>, change: Change) -> io::Result<()> {
        let run = self.find(range.start, range.end - range.start)?;
        let nothing = match run.kind {
            Kind::Unallocated => change == Change::Discard || range.start >= self.backing_size(),
            _ => false,
        };
        if nothing && run.length == range.end - range.start {
            return Ok(());
        }
        let _claim = self.claims.take(range.clone());
        self.own_table(range.start)?;
        let old = self.entries(range.clone())?;
        let mut new = Vec::with_capacity(old.len());
        let mut given_up = Vec::new();
        for (number, entry) in old.iter().enumerate() {
            let guest = range.start + ((number as u64) << self.geometry.cluster_bits);
            let changed = self.changed(*entry, guest, change)?;
            new.push(changed);
            if changed != *entry && changed.0 & !1 == 0 {
                given_up.push(*entry);
            }
        }
        if new != old {
            self.link(range.start, &new)?;
            self.release(&given_up);
        }
        Ok(())
    }

    fn changed(&self, entry: Entry, guest: u64, change: Change) -> io::Result<Entry> {
        let covered = guest < self.backing_size();
        let extended = self.geometry.extended_l2;
        let nowhere = match (covered, extended) {
            (false, _) => (0, 0),
            (true, false) => (ZERO, 0),
            (true, true) => (0, ALL_ZERO),
        };
        Ok(match (self.geometry.l2_entry(entry.0).map_err(|error| self.failed(error))?, change) {
            (L2Entry::Unallocated, Change::Discard) => entry,
            (L2Entry::Unallocated, _) => nowhere,
            (L2Entry::Zero { offset: 0, .. }, _) => entry,
            (L2Entry::Zero { copied: true, .. }, Change::Zero) => entry,
            (L2Entry::Data { copied: true, .. }, Change::Zero) if extended => (entry.0, ALL_ZERO),
            (L2Entry::Data { copied: true, .. }, Change::Zero) => (entry.0 | ZERO, 0),
            (_, _) => nowhere,
        })
    }
}
