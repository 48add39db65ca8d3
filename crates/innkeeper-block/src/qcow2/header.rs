//! A qcow2 header: parsed with every field checked, and serialised.
//!
//! `docs/interop/qcow2.rst`, "Header" and "Header extensions". The limits of tables are QEMU's, so that what we
//! accept it does too. Left out: encryption (refused by name).

use super::tables::Geometry;
use crate::error::{Error, Result};
use crate::range::SECTOR;

pub const MAGIC: [u8; 4] = *b"QFI\xfb";
/// As many bytes as must be read to have every header with its extensions: the largest cluster.
pub const MAX_HEADER: usize = 1 << MAX_CLUSTER_BITS;
pub const MIN_CLUSTER_BITS: u32 = 9;
pub const MAX_CLUSTER_BITS: u32 = 21;
/// In bytes.
pub const MAX_L1_TABLE: u64 = 32 << 20;
pub const MAX_REFCOUNT_TABLE: u64 = 8 << 20;
pub const MAX_SNAPSHOTS: u32 = 65536;
/// In bytes.
pub const MAX_BACKING_NAME: usize = 1023;

/// Incompatible features: who does not know one must not open the image.
pub const DIRTY: u64 = 1 << 0;
pub const CORRUPT: u64 = 1 << 1;
pub const EXTERNAL_DATA: u64 = 1 << 2;
pub const COMPRESSION_TYPE: u64 = 1 << 3;
pub const EXTENDED_L2: u64 = 1 << 4;
/// Compatible features: who does not know one may ignore it.
pub const LAZY_REFCOUNTS: u64 = 1 << 0;
/// Autoclear features: who does not know one clears it before writing.
pub const BITMAPS: u64 = 1 << 0;
pub const RAW_EXTERNAL_DATA: u64 = 1 << 1;

const KNOWN_INCOMPATIBLE: u64 = DIRTY | CORRUPT | EXTERNAL_DATA | COMPRESSION_TYPE | EXTENDED_L2;

/// Offsets of fields that are changed in place.
pub const SIZE_FIELD: u64 = 24;
pub const INCOMPATIBLE_FIELD: u64 = 72;
pub const AUTOCLEAR_FIELD: u64 = 88;

const V2_LENGTH: usize = 72;
const V3_LENGTH: usize = 104;
/// Of version 3 with the compression type.
const LENGTH: usize = 112;

/// Types of header extensions.
pub const EXTENSION_END: u32 = 0;
pub const EXTENSION_BACKING_FORMAT: u32 = 0xE279_2ACA;
pub const EXTENSION_FEATURE_NAMES: u32 = 0x6803_F857;
pub const EXTENSION_BITMAPS: u32 = 0x2385_2875;
pub const EXTENSION_ENCRYPTION: u32 = 0x0537_BE77;
pub const EXTENSION_DATA_FILE: u32 = 0x4441_5441;

/// How compressed clusters are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Compression {
    /// Raw deflate with a window of 4 KiB.
    #[default]
    Zlib,
    Zstd,
}

/// A header extension that this module has no field for: kept as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extension {
    pub kind: u32,
    pub data: Vec<u8>,
}

/// A header without what follows from other fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// 2 or 3.
    pub version: u32,
    pub cluster_bits: u32,
    /// Of the virtual disk, in bytes.
    pub size: u64,
    /// In entries.
    pub l1_size: u32,
    pub l1_offset: u64,
    pub refcount_table_offset: u64,
    pub refcount_table_clusters: u32,
    /// Refcounts have `1 << refcount_order` bits.
    pub refcount_order: u32,
    pub snapshot_count: u32,
    pub snapshots_offset: u64,
    pub incompatible: u64,
    pub compatible: u64,
    pub autoclear: u64,
    pub compression: Compression,
    pub backing_file: Option<String>,
    pub backing_format: Option<String>,
    /// The name of the external data file.
    pub data_file: Option<String>,
    pub extensions: Vec<Extension>,
    /// Fields of a longer header than ours, as they are; a multiple of 8 bytes.
    pub further: Vec<u8>,
}

fn corrupt<T>(why: impl Into<String>) -> Result<T> {
    Err(Error::Corrupt(why.into()))
}

fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn be64(bytes: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

impl Header {
    /// Of an image with nothing in it: the refcount table in cluster 1, its first block in 2, the L1 table from 3 on.
    #[must_use]
    pub fn empty(version: u32, geometry: Geometry, size: u64) -> Self {
        let Geometry { cluster_bits, refcount_order, extended_l2 } = geometry;
        Self {
            version,
            cluster_bits,
            size,
            l1_size: geometry.l1_entries(size) as u32,
            l1_offset: 3 << cluster_bits,
            refcount_table_offset: 1 << cluster_bits,
            refcount_table_clusters: 1,
            refcount_order,
            snapshot_count: 0,
            snapshots_offset: 0,
            incompatible: if extended_l2 { EXTENDED_L2 } else { 0 },
            compatible: 0,
            autoclear: 0,
            compression: Compression::Zlib,
            backing_file: None,
            backing_format: None,
            data_file: None,
            extensions: vec![],
            further: vec![],
        }
    }

    /// Whether a file that begins so claims to be a qcow2 image.
    #[must_use]
    pub fn is_magic(bytes: &[u8]) -> bool {
        bytes.starts_with(&MAGIC)
    }

    /// `bytes`: the file's beginning, [`MAX_HEADER`] of it or, if it is shorter, all; `file_size`: of all of it.
    ///
    /// # Errors
    /// The field, its value and its limit; the caller adds the file's name with [`Error::of`].
    pub fn parse(bytes: &[u8], file_size: u64) -> Result<Self> {
        if !Self::is_magic(bytes) {
            return corrupt("not a qcow2 image: it does not begin with QFI\\xfb");
        }
        if bytes.len() < V2_LENGTH {
            return corrupt(format!("the image ends within its header, after {} bytes", bytes.len()));
        }
        let mut header = Self::fixed_fields(bytes);
        let length = header.version_3_fields(bytes)?;
        header.check_features(bytes, length)?;
        if be32(bytes, 32) != 0 {
            return Err(Error::Unsupported(
                "the image is encrypted, which Innkeeper cannot read: convert it to an unencrypted one"
                    .into(),
            ));
        }
        header.check_geometry()?;
        let cluster = &bytes[..bytes.len().min(1 << header.cluster_bits)];
        if length > cluster.len() {
            return corrupt(format!("header length {length} exceeds the first cluster"));
        }
        header.read_extensions(cluster, length)?;
        header.read_backing_name(bytes, cluster)?;
        header.check_tables(file_size)?;
        Ok(header)
    }

    fn fixed_fields(bytes: &[u8]) -> Self {
        Self {
            version: be32(bytes, 4),
            cluster_bits: be32(bytes, 20),
            size: be64(bytes, 24),
            l1_size: be32(bytes, 36),
            l1_offset: be64(bytes, 40),
            refcount_table_offset: be64(bytes, 48),
            refcount_table_clusters: be32(bytes, 56),
            refcount_order: 4,
            snapshot_count: be32(bytes, 60),
            snapshots_offset: be64(bytes, 64),
            incompatible: 0,
            compatible: 0,
            autoclear: 0,
            compression: Compression::Zlib,
            backing_file: None,
            backing_format: None,
            data_file: None,
            extensions: Vec::new(),
            further: Vec::new(),
        }
    }

    /// Returns the header's length.
    fn version_3_fields(&mut self, bytes: &[u8]) -> Result<usize> {
        match self.version {
            2 => return Ok(V2_LENGTH),
            3 => {}
            other => return Err(Error::Unsupported(format!("qcow2 version {other}, known are 2 and 3"))),
        }
        if bytes.len() < V3_LENGTH {
            return corrupt(format!("the image ends within its header, after {} bytes", bytes.len()));
        }
        self.incompatible = be64(bytes, 72);
        self.compatible = be64(bytes, 80);
        self.autoclear = be64(bytes, 88);
        self.refcount_order = be32(bytes, 96);
        let length = be32(bytes, 100) as usize;
        if length < V3_LENGTH || !length.is_multiple_of(8) || length > bytes.len() {
            return corrupt(format!(
                "header length {length} is not a multiple of 8 from 104 to the image's end"
            ));
        }
        if length >= LENGTH {
            self.compression = match bytes[104] {
                0 => Compression::Zlib,
                1 => Compression::Zstd,
                other => {
                    return Err(Error::Unsupported(format!(
                        "compression type {other}, known are 0 (zlib) and 1 (zstd)"
                    )));
                }
            };
            self.further = bytes[LENGTH..length].to_vec();
        }
        Ok(length)
    }

    fn check_features(&self, bytes: &[u8], length: usize) -> Result<()> {
        let unknown = self.incompatible & !KNOWN_INCOMPATIBLE;
        if unknown != 0 {
            let names: Vec<String> = (0..64)
                .filter(|bit| unknown >> bit & 1 == 1)
                .map(|bit| feature_name(bytes, length, bit).unwrap_or(format!("bit {bit}")))
                .collect();
            return Err(Error::Unsupported(format!("unknown incompatible features: {}", names.join(", "))));
        }
        let flagged = self.incompatible & COMPRESSION_TYPE != 0;
        if flagged != (self.compression != Compression::Zlib) {
            return corrupt("the compression type and its incompatible feature bit contradict each other");
        }
        Ok(())
    }

    fn check_geometry(&self) -> Result<()> {
        if !(MIN_CLUSTER_BITS..=MAX_CLUSTER_BITS).contains(&self.cluster_bits) {
            return corrupt(format!("cluster bits {}, the limits are 9 and 21", self.cluster_bits));
        }
        if self.refcount_order > 6 {
            return corrupt(format!("refcount order {}, the limit is 6", self.refcount_order));
        }
        if self.incompatible & EXTENDED_L2 != 0 && self.cluster_bits < 14 {
            return corrupt(format!(
                "extended L2 entries with cluster bits {}, the minimum is 14",
                self.cluster_bits
            ));
        }
        if self.size > i64::MAX as u64 {
            return corrupt(format!("size {} of the disk, the limit is 2^63 - 1", self.size));
        }
        Ok(())
    }

    fn read_extensions(&mut self, cluster: &[u8], mut at: usize) -> Result<()> {
        let limit = match be64(cluster, 8) {
            0 => cluster.len(),
            backing => usize::try_from(backing).unwrap_or(usize::MAX).min(cluster.len()),
        };
        while at + 8 <= limit {
            let (kind, length) = (be32(cluster, at), be32(cluster, at + 4) as usize);
            if kind == EXTENSION_END {
                break;
            }
            at += 8;
            if length > limit - at {
                return corrupt(format!(
                    "header extension {kind:#x} of {length} bytes exceeds the first cluster"
                ));
            }
            let data = &cluster[at..at + length];
            match kind {
                EXTENSION_BACKING_FORMAT => self.backing_format = Some(text(data, "backing format")?),
                EXTENSION_DATA_FILE => self.data_file = Some(text(data, "data file")?),
                _ => self.extensions.push(Extension { kind, data: data.to_vec() }),
            }
            at = (at + length).next_multiple_of(8);
        }
        Ok(())
    }

    fn read_backing_name(&mut self, bytes: &[u8], cluster: &[u8]) -> Result<()> {
        let (offset, length) = (be64(bytes, 8), be32(bytes, 16) as usize);
        if offset == 0 {
            return Ok(());
        }
        if length > MAX_BACKING_NAME {
            return corrupt(format!(
                "a backing file's name of {length} bytes, the limit is {MAX_BACKING_NAME}"
            ));
        }
        match usize::try_from(offset).ok().and_then(|at| cluster.get(at..at.checked_add(length)?)) {
            Some(name) if length > 0 => self.backing_file = Some(text(name, "backing file")?),
            Some(_) => {}
            None => return corrupt(format!("the backing file's name at {offset} exceeds the first cluster")),
        }
        Ok(())
    }

    /// What needs more than one field.
    fn check_tables(&self, file_size: u64) -> Result<()> {
        let geometry = self.geometry();
        let l1_bytes = u64::from(self.l1_size) * 8;
        if l1_bytes > MAX_L1_TABLE {
            return corrupt(format!(
                "an L1 table of {} entries, the limit is {}",
                self.l1_size,
                MAX_L1_TABLE / 8
            ));
        }
        let needed = geometry.l1_entries(self.size);
        if u64::from(self.l1_size) < needed {
            return corrupt(format!(
                "an L1 table of {} entries, a disk of {} bytes needs {needed}",
                self.l1_size, self.size
            ));
        }
        let refcount_bytes = u64::from(self.refcount_table_clusters) << self.cluster_bits;
        if refcount_bytes > MAX_REFCOUNT_TABLE.max(geometry.cluster_size()) {
            return corrupt(format!(
                "a refcount table of {refcount_bytes} bytes, the limit is {MAX_REFCOUNT_TABLE}"
            ));
        }
        if self.snapshot_count > MAX_SNAPSHOTS {
            return corrupt(format!("{} snapshots, the limit is {MAX_SNAPSHOTS}", self.snapshot_count));
        }
        let end = file_size.checked_next_multiple_of(geometry.cluster_size()).unwrap_or(u64::MAX);
        let tables = [
            ("L1 table", self.l1_offset, l1_bytes),
            ("refcount table", self.refcount_table_offset, refcount_bytes),
            ("snapshot table", self.snapshots_offset, u64::from(self.snapshot_count.min(1))),
        ];
        for (what, offset, length) in tables.into_iter().filter(|(.., length)| *length > 0) {
            if offset == 0 || !geometry.is_aligned(offset) {
                return corrupt(format!(
                    "the {what}'s offset {offset:#x} is not that of a cluster after the header"
                ));
            }
            if offset.checked_add(length).is_none_or(|table_end| table_end > end) {
                return corrupt(format!(
                    "the {what} at {offset:#x} lies beyond the image's end at {file_size:#x}: it is cut short"
                ));
            }
        }
        let external = self.incompatible & EXTERNAL_DATA != 0;
        if self.data_file.is_some() && !external {
            return corrupt("names an external data file but lacks the feature bit of one");
        }
        Ok(())
    }

    #[must_use]
    pub fn geometry(&self) -> Geometry {
        Geometry {
            cluster_bits: self.cluster_bits,
            refcount_order: self.refcount_order,
            extended_l2: self.incompatible & EXTENDED_L2 != 0,
        }
    }

    /// In bytes, rounded down to what guests can address.
    #[must_use]
    pub fn disk_size(&self) -> u64 {
        self.size / SECTOR * SECTOR
    }

    /// The header with its extensions and the backing file's name: what the first cluster begins with.
    ///
    /// # Errors
    /// It does not fit in one cluster, or version 2 cannot say it.
    pub fn serialise(&self) -> Result<Vec<u8>> {
        let mut bytes = vec![0; if self.version == 2 { V2_LENGTH } else { LENGTH }];
        self.put_fixed_fields(&mut bytes)?;
        if self.version == 3 {
            bytes.extend(&self.further);
        }
        let mut put = |kind: u32, data: &[u8]| {
            bytes.extend(kind.to_be_bytes());
            bytes.extend((data.len() as u32).to_be_bytes());
            bytes.extend(data);
            bytes.resize(bytes.len().next_multiple_of(8), 0);
        };
        if let Some(format) = &self.backing_format {
            put(EXTENSION_BACKING_FORMAT, format.as_bytes());
        }
        if let Some(name) = &self.data_file {
            put(EXTENSION_DATA_FILE, name.as_bytes());
        }
        for extension in &self.extensions {
            put(extension.kind, &extension.data);
        }
        put(EXTENSION_END, &[]);
        if let Some(name) = &self.backing_file {
            if name.len() > MAX_BACKING_NAME {
                let length = name.len();
                return Err(Error::Refused(format!(
                    "a backing file's name of {length} bytes, the limit is {MAX_BACKING_NAME}"
                )));
            }
            let at = bytes.len() as u64;
            bytes[8..16].copy_from_slice(&at.to_be_bytes());
            bytes[16..20].copy_from_slice(&(name.len() as u32).to_be_bytes());
            bytes.extend(name.as_bytes());
        }
        if bytes.len() > 1 << self.cluster_bits {
            return Err(Error::Refused(format!(
                "the header with its backing file's name takes {} bytes, a cluster has {}",
                bytes.len(),
                1 << self.cluster_bits
            )));
        }
        Ok(bytes)
    }

    fn put_fixed_fields(&self, bytes: &mut [u8]) -> Result<()> {
        let mut put32 = |at: usize, value: u32| bytes[at..at + 4].copy_from_slice(&value.to_be_bytes());
        put32(0, u32::from_be_bytes(MAGIC));
        put32(4, self.version);
        put32(20, self.cluster_bits);
        put32(36, self.l1_size);
        put32(56, self.refcount_table_clusters);
        put32(60, self.snapshot_count);
        if self.version == 3 {
            put32(96, self.refcount_order);
            put32(100, (LENGTH + self.further.len()) as u32);
        }
        let mut put64 = |at: usize, value: u64| bytes[at..at + 8].copy_from_slice(&value.to_be_bytes());
        put64(24, self.size);
        put64(40, self.l1_offset);
        put64(48, self.refcount_table_offset);
        put64(64, self.snapshots_offset);
        if self.version == 3 {
            put64(72, self.incompatible);
            put64(80, self.compatible);
            put64(88, self.autoclear);
            bytes[104] = self.compression as u8;
        } else if self.refcount_order != 4 || self.incompatible != 0 {
            return Err(Error::Refused(
                "qcow2 version 2 has refcounts of 16 bits and no features: use version 3".into(),
            ));
        }
        Ok(())
    }
}

fn text(bytes: &[u8], what: &str) -> Result<String> {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') => Ok(text.to_owned()),
        _ => corrupt(format!("the {what}'s name is not text")),
    }
}

/// The name of an incompatible feature from the image's own table of them.
fn feature_name(bytes: &[u8], mut at: usize, bit: u32) -> Option<String> {
    while at + 8 <= bytes.len() {
        let (kind, length) = (be32(bytes, at), be32(bytes, at + 4) as usize);
        let data = bytes.get(at + 8..(at + 8).checked_add(length)?)?;
        match kind {
            EXTENSION_END => return None,
            EXTENSION_FEATURE_NAMES => {
                let entry =
                    data.chunks_exact(48).find(|entry| entry[0] == 0 && u32::from(entry[1]) == bit)?;
                let name: String = String::from_utf8_lossy(&entry[2..]).trim_end_matches('\0').into();
                return Some(name.chars().filter(|letter| !letter.is_control()).collect());
            }
            _ => at = (at + 8 + length).next_multiple_of(8),
        }
    }
    None
}

impl Extension {
    /// The table of feature names that new images of version 3 carry.
    #[must_use]
    pub fn feature_names() -> Self {
        const NAMES: [(u8, u8, &str); 8] = [
            (0, 0, "dirty bit"),
            (0, 1, "corrupt bit"),
            (0, 2, "external data file"),
            (0, 3, "compression type"),
            (0, 4, "extended L2 entries"),
            (1, 0, "lazy refcounts"),
            (2, 0, "bitmaps"),
            (2, 1, "raw external data"),
        ];
        let mut data = vec![0; NAMES.len() * 48];
        for (entry, (kind, bit, name)) in data.chunks_exact_mut(48).zip(NAMES) {
            entry[0] = kind;
            entry[1] = bit;
            entry[2..2 + name.len()].copy_from_slice(name.as_bytes());
        }
        Self { kind: EXTENSION_FEATURE_NAMES, data }
    }
}

#[cfg(test)]
mod tests;
