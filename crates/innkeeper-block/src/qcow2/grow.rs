//! Another size for an image in use: larger only, and as far as the clusters of its L1 table go. The tools do the rest,
//! with the image to themselves (`tools/resize.rs`).

use std::io::{self, ErrorKind, IoSlice};
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use super::disk::Qcow2;
use super::header;
use crate::{Disk, range};

static ZEROES: [u8; 1 << 16] = [0; 1 << 16];

impl Qcow2 {
    pub(super) fn grow_to(&self, size: u64) -> io::Result<()> {
        let mut l1_size = self.growing.lock().unwrap_or_else(PoisonError::into_inner);
        let old = self.size();
        range::check_growth(old, size)?;
        let (geometry, cluster) = (self.geometry, self.geometry.cluster_size());
        let entries = geometry.l1_entries(size);
        if self.header.version == 2 {
            return Err(self.only_alone("it has version 2"));
        }
        if self.backing_size() > old {
            return Err(self.only_alone("its backing file is larger, and would show"));
        }
        if entries * 8 > (*l1_size * 8).next_multiple_of(cluster) {
            return Err(self.only_alone("its table would need more clusters"));
        }
        let first_new = geometry.l1_entries(old) as usize;
        if self.map().l1.iter().skip(first_new).any(|entry| *entry != 0) {
            return Err(self.only_alone("it has something beyond the disk's end"));
        }
        {
            let _under_way = self.epochs.enter();
            self.clear_beyond(old, size)?;
        }
        self.flush_metadata()?;
        if entries > *l1_size {
            let at = self.header.l1_offset + 8 * *l1_size;
            self.medium.write_all(at, &vec![0; (entries - *l1_size) as usize * 8])?;
            self.medium.flush()?;
            self.map_mut().l1.resize(entries as usize, 0);
            *l1_size = entries;
        }
        // Side by side in one sector: size, encryption (none), entries of L1.
        let mut fields = [0; 16];
        fields[..8].copy_from_slice(&size.to_be_bytes());
        fields[12..].copy_from_slice(&(*l1_size as u32).to_be_bytes());
        self.medium.write_all(header::SIZE_FIELD, &fields)?;
        self.medium.flush()?;
        self.size.store(size, Ordering::Release);
        Ok(())
    }

    fn only_alone(&self, why: &str) -> io::Error {
        let text = format!(
            "{} cannot grow while it is in use: {why}; stop the machine and use inn image resize",
            self.medium.name()
        );
        io::Error::new(ErrorKind::Unsupported, text)
    }

    /// What the last L2 table has beyond the old end shall not show: the rest of the last cluster, and clusters.
    fn clear_beyond(&self, old: u64, size: u64) -> io::Result<()> {
        let (cluster, table) = (self.geometry.cluster_size(), 1u64 << self.geometry.l1_entry_bits());
        let mut at = old;
        let end = old.next_multiple_of(cluster);
        while at < end {
            let run = self.find(at, (end - at).min(ZEROES.len() as u64))?;
            if !self.is_zero(run.kind, at) {
                self.write_at(at, &[IoSlice::new(&ZEROES[..run.length as usize])])?;
            }
            at += run.length;
        }
        let last = old.next_multiple_of(table).min(size.next_multiple_of(cluster));
        if last > end { self.zero_at(end, last - end, true) } else { Ok(()) }
    }
}
