//! Clusters that an image takes over from what lies below it, while guests go on reading and writing.
//!
//! Who changes the mapping of clusters has claimed them: so of a guest that writes where something is being taken over, one waits for the
//! other, and what the guest wrote is what stays. Left out: images with extended L2 entries.

use std::io::{self, IoSliceMut};
use std::ops::Range;

use super::disk::Qcow2;
use super::tables::{COPIED, L2Entry, ZERO};

impl Qcow2 {
    /// Whether its clusters can be taken over one by one.
    pub fn can_populate(&self) -> bool {
        !self.geometry.extended_l2 && self.header.snapshot_count == 0
    }

    /// Holds by itself from now on what `range` shows, where it does not yet. `hides` is whether what it will lie over has
    /// something there that must not show.
    ///
    /// # Errors
    /// The host's answer; the image shows what it did.
    pub fn populate(&self, range: Range<u64>, hides: bool) -> io::Result<()> {
        self.check_write(range.start, range.end - range.start)?;
        let mut at = range.start;
        while at < range.end {
            let clusters = self.clusters_around(at, range.end - at);
            at = clusters.end;
            let _under_way = self.epochs.enter();
            self.take_over(clusters, hides)?;
        }
        self.relieve()
    }

    fn take_over(&self, clusters: Range<u64>, hides: bool) -> io::Result<()> {
        let _claim = self.claims.take(clusters.clone());
        let cluster = self.geometry.cluster_size();
        let entries = self.entries(clusters.clone())?;
        let mut bytes = vec![0; cluster as usize];
        for (number, entry) in entries.into_iter().enumerate() {
            let kind = self.geometry.l2_entry(entry.0).map_err(|error| self.failed(error))?;
            if kind != L2Entry::Unallocated {
                continue;
            }
            let guest = clusters.start + number as u64 * cluster;
            self.read_at(guest, &mut [IoSliceMut::new(&mut bytes)])?;
            let zero = bytes.iter().all(|byte| *byte == 0);
            if zero && !hides {
                continue;
            }
            self.own_table(guest)?;
            if zero && self.header.version > 2 {
                self.link(guest, &[(ZERO, 0)])?;
                continue;
            }
            let taken = self.allocate(1, true)?;
            let done = self
                .medium
                .write_all(taken.offset, &bytes)
                .and_then(|()| self.link(guest, &[(taken.offset | COPIED, 0)]));
            if let Err(error) = done {
                self.give_back(taken);
                return Err(error);
            }
        }
        Ok(())
    }
}
