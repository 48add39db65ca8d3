//! Entries of qcow2's tables: L1, L2, refcounts. Numbers only; where tables lie is not known here.
//!
//! `docs/interop/qcow2.rst`, "Host cluster management" and "Cluster mapping".

use crate::error::{Error, Result};

/// L1 and standard L2 entries: the cluster's refcount is exactly one.
pub const COPIED: u64 = 1 << 63;
/// L2 entries: compressed.
pub const COMPRESSED: u64 = 1 << 62;
/// Standard L2 entries of version 3 without subclusters: reads as zeroes.
pub const ZERO: u64 = 1;
/// The host offset in L1 entries and standard L2 entries.
pub const OFFSET: u64 = 0x00FF_FFFF_FFFF_FE00;
/// Subclusters of a cluster where L2 entries are extended.
pub const SUBCLUSTERS: u32 = 32;

/// What every offset's arithmetic depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    pub cluster_bits: u32,
    pub refcount_order: u32,
    pub extended_l2: bool,
}

impl Geometry {
    #[must_use]
    pub fn cluster_size(&self) -> u64 {
        1 << self.cluster_bits
    }

    /// log2 of an L2 entry's bytes.
    #[must_use]
    pub fn l2_entry_bits(&self) -> u32 {
        if self.extended_l2 { 4 } else { 3 }
    }

    /// log2 of the entries in an L2 table.
    #[must_use]
    pub fn l2_bits(&self) -> u32 {
        self.cluster_bits - self.l2_entry_bits()
    }

    /// log2 of the guest bytes below one L1 entry.
    #[must_use]
    pub fn l1_entry_bits(&self) -> u32 {
        self.l2_bits() + self.cluster_bits
    }

    /// As many L1 entries as a disk of this size needs.
    #[must_use]
    pub fn l1_entries(&self, size: u64) -> u64 {
        size.div_ceil(1 << self.l1_entry_bits())
    }

    #[must_use]
    pub fn l1_index(&self, guest: u64) -> usize {
        (guest >> self.l1_entry_bits()) as usize
    }

    #[must_use]
    pub fn l2_index(&self, guest: u64) -> usize {
        ((guest >> self.cluster_bits) & ((1 << self.l2_bits()) - 1)) as usize
    }

    #[must_use]
    pub fn within_cluster(&self, offset: u64) -> u64 {
        offset & (self.cluster_size() - 1)
    }

    #[must_use]
    pub fn is_aligned(&self, offset: u64) -> bool {
        self.within_cluster(offset) == 0
    }

    /// log2 of the refcounts in a refcount block.
    #[must_use]
    pub fn refcount_block_bits(&self) -> u32 {
        self.cluster_bits + 3 - self.refcount_order
    }

    /// The largest refcount.
    #[must_use]
    pub fn max_refcount(&self) -> u64 {
        u64::MAX >> (64 - (1u32 << self.refcount_order))
    }

    /// Bytes that share one "allocated" state: a cluster, or a subcluster where there are such.
    #[must_use]
    pub fn unit_bits(&self) -> u32 {
        if self.extended_l2 { self.cluster_bits - SUBCLUSTERS.ilog2() } else { self.cluster_bits }
    }

    /// What an L2 entry says.
    ///
    /// # Errors
    /// Its host offset is not that of a cluster.
    pub fn l2_entry(&self, entry: u64) -> Result<L2Entry> {
        if entry & COMPRESSED != 0 {
            return Ok(self.compressed(entry));
        }
        let offset = entry & OFFSET;
        if !self.is_aligned(offset) {
            return Err(Error::Corrupt(format!("an L2 entry leads to {offset:#x}, which is no cluster")));
        }
        let copied = entry & COPIED != 0;
        let zero = !self.extended_l2 && entry & ZERO != 0;
        Ok(match (zero, offset) {
            (true, _) => L2Entry::Zero { offset, copied },
            (false, 0) => L2Entry::Unallocated,
            (false, _) => L2Entry::Data { offset, copied },
        })
    }

    fn compressed(&self, entry: u64) -> L2Entry {
        let sector_bits = self.cluster_bits - 8;
        let offset_bits = 62 - sector_bits;
        let offset = entry & ((1 << offset_bits) - 1);
        let sectors = (entry >> offset_bits) & ((1 << sector_bits) - 1);
        // The first sector is the one that `offset` lies in, and counts only from there on.
        L2Entry::Compressed { offset, length: (sectors + 1) * 512 - (offset & 511) }
    }

    /// The L2 entry of `length` bytes of compressed data at `offset`.
    ///
    /// # Errors
    /// The offset is too large for the entry.
    pub fn compressed_entry(&self, offset: u64, length: u64) -> Result<u64> {
        let sector_bits = self.cluster_bits - 8;
        let offset_bits = 62 - sector_bits;
        let sectors = ((offset + length - 1) >> 9) - (offset >> 9);
        if offset >> offset_bits != 0 || sectors >> sector_bits != 0 {
            return Err(Error::Refused(format!(
                "{length} compressed bytes at {offset:#x} do not fit an L2 entry"
            )));
        }
        Ok(COMPRESSED | sectors << offset_bits | offset)
    }
}

/// What an L2 entry says of its cluster; where L2 entries are extended, the bitmap beside it says more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum L2Entry {
    Unallocated,
    /// Reads as zeroes. `offset` is not 0 where a cluster is held nevertheless.
    Zero {
        offset: u64,
        copied: bool,
    },
    Data {
        offset: u64,
        copied: bool,
    },
    /// `offset` is that of a byte; the compressed data ends somewhere within the next `length` bytes.
    Compressed {
        offset: u64,
        length: u64,
    },
}

/// The offset of an L2 table; 0 if there is none.
///
/// # Errors
/// It is not that of a cluster.
pub fn l1_offset(entry: u64, geometry: &Geometry) -> Result<u64> {
    let offset = entry & OFFSET;
    if geometry.is_aligned(offset) {
        Ok(offset)
    } else {
        Err(Error::Corrupt(format!("an L1 entry leads to {offset:#x}, which is no cluster")))
    }
}

/// The offset of a refcount block; 0 if there is none.
///
/// # Errors
/// It is not that of a cluster.
pub fn refcount_block_offset(entry: u64, geometry: &Geometry) -> Result<u64> {
    let offset = entry & !511;
    if geometry.is_aligned(offset) {
        Ok(offset)
    } else {
        Err(Error::Corrupt(format!("a refcount table entry leads to {offset:#x}, which is no cluster")))
    }
}

/// A refcount of `1 << order` bits in a block of them.
#[must_use]
pub fn refcount(block: &[u8], order: u32, index: usize) -> u64 {
    if order < 3 {
        // The lowest bits of a byte are the lowest index.
        let bits = 1 << order;
        let (byte, shift) = ((index << order) / 8, (index << order) % 8);
        return u64::from(block[byte] >> shift) & ((1 << bits) - 1);
    }
    let bytes = 1 << (order - 3);
    block[index * bytes..][..bytes].iter().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

/// Its counterpart; `value` fits.
pub fn set_refcount(block: &mut [u8], order: u32, index: usize, value: u64) {
    if order < 3 {
        let mask = ((1u16 << (1 << order)) - 1) as u8;
        let (byte, shift) = ((index << order) / 8, (index << order) % 8);
        block[byte] = block[byte] & !(mask << shift) | (value as u8 & mask) << shift;
        return;
    }
    let bytes = 1 << (order - 3);
    block[index * bytes..][..bytes].copy_from_slice(&value.to_be_bytes()[8 - bytes..]);
}

/// Big-endian words of a table.
pub fn words(bytes: &[u8]) -> impl Iterator<Item = u64> {
    bytes.chunks_exact(8).map(|word| u64::from_be_bytes(word.try_into().expect("eight bytes")))
}

/// Their bytes.
#[must_use]
pub fn bytes(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn geometry(cluster_bits: u32) -> Geometry {
        Geometry { cluster_bits, refcount_order: 4, extended_l2: false }
    }

    #[test]
    fn refcounts_of_every_width_keep_to_themselves() {
        for order in 0..=6 {
            let geometry = Geometry { refcount_order: order, ..geometry(9) };
            let count = 1usize << geometry.refcount_block_bits();
            let mut block = vec![0; 512];
            for index in [0, 1, 7, count / 2, count - 1] {
                set_refcount(&mut block, order, index, geometry.max_refcount());
                assert_eq!(refcount(&block, order, index), geometry.max_refcount());
                let sum: u32 = block.iter().map(|byte| byte.count_ones()).sum();
                assert_eq!(sum, 1 << order, "order {order}, index {index}");
                set_refcount(&mut block, order, index, 0);
                assert!(block.iter().all(|byte| *byte == 0));
            }
        }
    }

    #[test]
    fn a_refcount_of_two_bits_is_where_qemu_has_it() {
        let mut block = vec![0; 512];
        set_refcount(&mut block, 1, 5, 2); // bits 2 and 3 of byte 1
        assert_eq!(block[1], 0b1000);
        set_refcount(&mut block, 4, 1, 0x0102);
        assert_eq!(block[2..4], [1, 2]);
    }

    #[test]
    fn compressed_entries_say_where_and_how_long() {
        for bits in [9, 16, 21] {
            let geometry = geometry(bits);
            for (offset, length) in
                [(0x50_0000, 100), (0x50_01ff, 1), (0x50_01ff, 2), (0x50_0100, 1 << (bits - 1))]
            {
                let entry = geometry.compressed_entry(offset, length).unwrap();
                let L2Entry::Compressed { offset: at, length: upto } = geometry.l2_entry(entry).unwrap()
                else {
                    panic!("not compressed")
                };
                assert_eq!(at, offset);
                assert!(upto >= length && (at + upto).is_multiple_of(512) && upto < length + 512);
            }
        }
        assert!(geometry(21).compressed_entry(1 << 50, 100).is_err());
    }

    #[test]
    fn an_entry_between_clusters_is_refused() {
        assert!(geometry(16).l2_entry(0x8000).is_err());
        assert!(l1_offset(0x8000 | COPIED, &geometry(16)).is_err());
        assert_eq!(
            geometry(16).l2_entry(COPIED | 0x5_0000).unwrap(),
            L2Entry::Data { offset: 0x5_0000, copied: true }
        );
        assert_eq!(geometry(16).l2_entry(1).unwrap(), L2Entry::Zero { offset: 0, copied: false });
    }
}
