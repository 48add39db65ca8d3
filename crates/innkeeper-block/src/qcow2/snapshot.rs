//! The table of internal snapshots: parsed and serialised.
//!
//! `docs/interop/qcow2.rst`, "Snapshots". Limits are QEMU's.

use super::header::MAX_L1_TABLE;
use super::tables::Geometry;
use crate::error::{Error, Result};

/// Of one snapshot, in bytes.
const MAX_EXTRA: usize = 1024;
/// Of the table, in bytes.
pub const MAX_TABLE: usize = 64 << 20;
const FIXED: usize = 40;
/// The longest entry, in bytes.
pub const MAX_ENTRY: usize = FIXED + MAX_EXTRA + 2 * 65536;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    pub id: String,
    pub name: String,
    pub l1_offset: u64,
    /// In entries.
    pub l1_size: u32,
    /// Since the epoch.
    pub seconds: u32,
    pub nanoseconds: u32,
    /// How long the guest had run, in nanoseconds.
    pub vm_clock: u64,
    /// Of the saved state of the machine, in bytes.
    pub vm_state_size: u64,
    /// Of the disk then; `None` in old images: as now.
    pub disk_size: Option<u64>,
    /// Instructions executed; `None` where unknown.
    pub icount: Option<u64>,
    /// Extra data of a newer program, as it is.
    pub further: Vec<u8>,
}

fn be16(bytes: &[u8], at: usize) -> usize {
    usize::from(u16::from_be_bytes([bytes[at], bytes[at + 1]]))
}

fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn be64(bytes: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

impl Snapshot {
    /// `bytes`: the file from the table's offset on, at most [`MAX_TABLE`]. Also returns the table's length.
    ///
    /// # Errors
    /// Which snapshot is wrong, and how.
    pub fn parse_table(bytes: &[u8], count: u32, geometry: &Geometry) -> Result<(Vec<Self>, usize)> {
        let mut snapshots = Vec::new();
        let mut at = 0;
        for number in 1..=count {
            let (snapshot, length) = Self::parse(&bytes[at.min(bytes.len())..], geometry)
                .map_err(|error| error.of(&format!("snapshot {number}")))?;
            snapshots.push(snapshot);
            at += length;
        }
        Ok((snapshots, at))
    }

    fn parse(bytes: &[u8], geometry: &Geometry) -> Result<(Self, usize)> {
        let short = || Error::Corrupt("it exceeds the image or the limit of 64 MiB for all".into());
        if bytes.len() < FIXED {
            return Err(short());
        }
        let (id_length, name_length) = (be16(bytes, 12), be16(bytes, 14));
        let extra_length = be32(bytes, 36) as usize;
        if extra_length > MAX_EXTRA {
            return Err(Error::Corrupt(format!(
                "{extra_length} bytes of extra data, the limit is {MAX_EXTRA}"
            )));
        }
        let length = FIXED + extra_length + id_length + name_length;
        let bytes = bytes.get(..length).ok_or_else(short)?;
        let (extra, names) = bytes[FIXED..].split_at(extra_length);
        let extra64 = |at: usize| (extra.len() >= at + 8).then(|| be64(extra, at));
        let snapshot = Self {
            id: String::from_utf8_lossy(&names[..id_length]).into_owned(),
            name: String::from_utf8_lossy(&names[id_length..]).into_owned(),
            l1_offset: be64(bytes, 0),
            l1_size: be32(bytes, 8),
            seconds: be32(bytes, 16),
            nanoseconds: be32(bytes, 20),
            vm_clock: be64(bytes, 24),
            vm_state_size: extra64(0).unwrap_or(u64::from(be32(bytes, 32))),
            disk_size: extra64(8),
            icount: extra64(16).filter(|count| *count != u64::MAX),
            further: extra.get(24..).unwrap_or_default().to_vec(),
        };
        snapshot.check(geometry)?;
        Ok((snapshot, length.next_multiple_of(8)))
    }

    fn check(&self, geometry: &Geometry) -> Result<()> {
        if u64::from(self.l1_size) * 8 > MAX_L1_TABLE {
            return Err(Error::Corrupt(format!(
                "an L1 table of {} entries, the limit is {}",
                self.l1_size,
                MAX_L1_TABLE / 8
            )));
        }
        if self.l1_size > 0 && (self.l1_offset == 0 || !geometry.is_aligned(self.l1_offset)) {
            return Err(Error::Corrupt(format!(
                "its L1 table at {:#x} is no cluster after the header",
                self.l1_offset
            )));
        }
        Ok(())
    }

    /// # Errors
    /// An id or name is longer than 65535 bytes, or the table than [`MAX_TABLE`].
    pub fn serialise_table(snapshots: &[Self]) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        for snapshot in snapshots {
            snapshot.serialise(&mut bytes)?;
        }
        if bytes.len() > MAX_TABLE {
            return Err(Error::Refused(format!(
                "a snapshot table of {} bytes, the limit is {MAX_TABLE}",
                bytes.len()
            )));
        }
        Ok(bytes)
    }

    fn serialise(&self, bytes: &mut Vec<u8>) -> Result<()> {
        let length = |text: &str| {
            u16::try_from(text.len()).map_err(|_| {
                Error::Refused(format!("a snapshot's name of {} bytes, the limit is 65535", text.len()))
            })
        };
        let mut extra = self.vm_state_size.to_be_bytes().to_vec();
        if let Some(size) = self.disk_size {
            extra.extend(size.to_be_bytes());
            extra.extend(self.icount.unwrap_or(u64::MAX).to_be_bytes());
            extra.extend(&self.further);
        }
        bytes.extend(self.l1_offset.to_be_bytes());
        bytes.extend(self.l1_size.to_be_bytes());
        bytes.extend(length(&self.id)?.to_be_bytes());
        bytes.extend(length(&self.name)?.to_be_bytes());
        bytes.extend(self.seconds.to_be_bytes());
        bytes.extend(self.nanoseconds.to_be_bytes());
        bytes.extend(self.vm_clock.to_be_bytes());
        bytes.extend(u32::try_from(self.vm_state_size).unwrap_or(u32::MAX).to_be_bytes());
        bytes.extend((extra.len() as u32).to_be_bytes());
        bytes.extend(extra);
        bytes.extend(self.id.as_bytes());
        bytes.extend(self.name.as_bytes());
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_comes_back_as_it_was_written() {
        let geometry = Geometry { cluster_bits: 16, refcount_order: 4, extended_l2: false };
        let first = Snapshot {
            id: "1".into(),
            name: "before the upgrade".into(),
            l1_offset: 0x5_0000,
            l1_size: 3,
            seconds: 1_700_000_000,
            nanoseconds: 5,
            vm_clock: 77,
            vm_state_size: 1 << 33,
            disk_size: Some(1 << 30),
            icount: None,
            further: vec![1; 8],
        };
        let second = Snapshot { id: "2".into(), disk_size: None, further: vec![], ..first.clone() };
        let bytes = Snapshot::serialise_table(&[first.clone(), second.clone()]).unwrap();
        let (parsed, length) = Snapshot::parse_table(&bytes, 2, &geometry).unwrap();
        assert_eq!((parsed, length), (vec![first, second], bytes.len()));
        for cut in 0..bytes.len() - 7 {
            let _ = Snapshot::parse_table(&bytes[..cut], 2, &geometry);
            assert!(Snapshot::parse_table(&bytes[..cut], 3, &geometry).is_err());
        }
    }
}
