//! One image of a chain, for reading: where each part of its disk is.
//!
//! Unlike a [`crate::Disk`], a layer says at which offset of its file the bytes are, and does not ask the image below.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::{Result, ToolError};
pub use crate::Format;
use crate::medium::{HostFile, Medium, lock};
use crate::probe::{self, Guess};
use crate::qcow2::header::{EXTERNAL_DATA, MAX_HEADER};
use crate::qcow2::snapshot::MAX_TABLE;
use crate::qcow2::tables::{self, Geometry, L2Entry};
use crate::qcow2::{Header, Snapshot, codec};
use crate::range::SECTOR;

/// Decoded L2 tables that are kept, in bytes.
const CACHE: usize = 16 << 20;

/// How an image is opened, and what others may do to it meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// To read, whatever others do.
    Look,
    /// To read, while nobody writes.
    Read,
    /// To change, while nobody else uses it.
    Write,
}

/// Opens an image's file, or says who has it.
///
/// # Errors
/// The host's answer, or that somebody uses the image.
pub fn open_file(path: &Path, access: Access) -> Result<HostFile> {
    let file = HostFile::open(path, access != Access::Write)?;
    if access != Access::Look {
        take_lock(&file, access == Access::Write)?;
    }
    Ok(file)
}

/// # Errors
/// Somebody uses the image. A file system without locks is none.
pub fn take_lock(file: &HostFile, writes: bool) -> Result<()> {
    const UNKNOWN: [i32; 4] = [libc::ENOLCK, libc::EINVAL, libc::EOPNOTSUPP, libc::ENOSYS];
    match lock::take(file.file(), file.name(), writes) {
        Err(crate::Error::Host { source, .. })
            if source.raw_os_error().is_some_and(|number| UNKNOWN.contains(&number)) =>
        {
            Ok(())
        }
        done => Ok(done?),
    }
}

/// Where some bytes of a layer's disk are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Not in this layer.
    Below,
    /// They are zeroes; a place in the file may be held for them.
    Zero {
        host: Option<u64>,
    },
    Data {
        host: u64,
    },
    /// In one compressed cluster, whose bytes are these.
    Compressed {
        host: u64,
        length: u64,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    pub length: u64,
    pub place: Place,
}

pub struct Layer {
    pub path: PathBuf,
    pub medium: Arc<dyn Medium>,
    pub size: u64,
    pub qcow2: Option<Tables>,
}

/// What a qcow2 layer needs to find its clusters.
pub struct Tables {
    pub header: Header,
    pub geometry: Geometry,
    l1: Vec<u64>,
    cache: Mutex<VecDeque<(u64, Arc<Vec<u64>>)>>,
}

impl Layer {
    /// # Errors
    /// A sentence with the image's name.
    pub fn open(path: &Path, format: Option<Format>, access: Access) -> Result<Self> {
        Self::on(path, Arc::new(open_file(path, access)?), format)
    }

    /// # Errors
    /// As for [`Self::open`].
    pub fn on(path: &Path, medium: Arc<dyn Medium>, format: Option<Format>) -> Result<Self> {
        let format = match format {
            Some(format) => format,
            None => guess(&*medium)?,
        };
        let (size, qcow2) = match format {
            Format::Raw => {
                let size = medium.size().map_err(ToolError::host("find the size of", medium.name()))?;
                (size.next_multiple_of(SECTOR), None)
            }
            Format::Qcow2 => {
                let tables = Tables::read(&*medium)?;
                (tables.header.disk_size(), Some(tables))
            }
        };
        Ok(Self { path: path.into(), medium, size, qcow2 })
    }

    #[must_use]
    pub fn format(&self) -> Format {
        if self.qcow2.is_some() { Format::Qcow2 } else { Format::Raw }
    }

    /// Shows the disk as an internal snapshot kept it.
    ///
    /// # Errors
    /// If there is none of this name or id, or its table cannot be read.
    pub fn show_snapshot(&mut self, wanted: &str) -> Result<()> {
        let name = self.medium.name().to_owned();
        let Some(tables) = &mut self.qcow2 else {
            return Err(ToolError::refused(name, "a raw image has no snapshots"));
        };
        let snapshots = read_snapshots(&*self.medium, &tables.header)?;
        let snapshot = &snapshots[find_snapshot(&snapshots, wanted, &name)?];
        tables.l1 = read_table(&*self.medium, snapshot.l1_offset, u64::from(snapshot.l1_size))?;
        self.size = snapshot.disk_size.unwrap_or(self.size);
        Ok(())
    }

    /// Where the bytes from `offset` on are, as far as they are together, and at most `length`.
    ///
    /// # Errors
    /// The host's answer, or what is wrong with the image's tables.
    pub fn status(&self, offset: u64, length: u64) -> Result<Status> {
        match &self.qcow2 {
            None => {
                let stretch =
                    self.medium.stretch(offset).map_err(ToolError::host("read", self.medium.name()))?;
                let place = if stretch.hole {
                    Place::Zero { host: Some(offset) }
                } else {
                    Place::Data { host: offset }
                };
                Ok(Status { length: stretch.length.min(length), place })
            }
            Some(tables) => {
                tables.status(&*self.medium, offset, length).map_err(|error| named(error, self.medium.name()))
            }
        }
    }

    /// Reads what [`Self::status`] found; `skip` bytes of it are passed over.
    ///
    /// # Errors
    /// The host's answer, or compressed data that is none.
    pub fn read(&self, offset: u64, place: Place, buffer: &mut [u8]) -> Result<()> {
        match (place, &self.qcow2) {
            (Place::Data { host }, _) => {
                self.medium.read_exact(host, buffer).map_err(ToolError::host("read", self.medium.name()))
            }
            (Place::Compressed { host, length }, Some(tables)) => {
                let cluster = tables.geometry.cluster_size() as usize;
                let mut packed = vec![0; length as usize];
                self.medium
                    .read_exact(host, &mut packed)
                    .map_err(ToolError::host("read", self.medium.name()))?;
                let mut plain = vec![0; cluster];
                codec::decompress(tables.header.compression, &packed, &mut plain)
                    .map_err(|error| error.of(&format!("{}, at {host:#x}", self.medium.name())))?;
                let skip = tables.geometry.within_cluster(offset) as usize;
                buffer.copy_from_slice(&plain[skip..skip + buffer.len()]);
                Ok(())
            }
            _ => {
                buffer.fill(0);
                Ok(())
            }
        }
    }
}

impl Tables {
    fn read(medium: &dyn Medium) -> Result<Self> {
        let header = read_header(medium)?;
        if header.incompatible & EXTERNAL_DATA != 0 {
            let why = "its data is in an external file, which the image tools cannot read";
            return Err(ToolError::unsupported(medium.name(), why));
        }
        let geometry = header.geometry();
        let l1 = read_table(medium, header.l1_offset, u64::from(header.l1_size))?;
        Ok(Self { header, geometry, l1, cache: Mutex::default() })
    }

    fn status(&self, medium: &dyn Medium, offset: u64, length: u64) -> Result<Status> {
        let geometry = &self.geometry;
        let below_l1 = (1u64 << geometry.l1_entry_bits()) - (offset & ((1 << geometry.l1_entry_bits()) - 1));
        let entry = self.l1.get(geometry.l1_index(offset)).copied().unwrap_or(0);
        let l2_offset = tables::l1_offset(entry, geometry)?;
        if l2_offset == 0 {
            return Ok(Status { length: length.min(below_l1), place: Place::Below });
        }
        let l2 = self.l2(medium, l2_offset)?;
        let unit = 1u64 << geometry.unit_bits();
        let place = self.place(&l2, offset)?;
        let mut reach = unit - (offset & (unit - 1));
        if matches!(place, Place::Compressed { .. }) {
            reach = geometry.cluster_size() - geometry.within_cluster(offset);
        } else {
            while reach < length.min(below_l1) && self.place(&l2, offset + reach)? == moved(place, reach) {
                reach += unit;
            }
        }
        Ok(Status { length: length.min(reach), place })
    }

    /// What the tables say of one byte.
    fn place(&self, l2: &[u64], offset: u64) -> Result<Place> {
        let geometry = &self.geometry;
        let index = geometry.l2_index(offset);
        let within = geometry.within_cluster(offset);
        if !geometry.extended_l2 {
            return Ok(match geometry.l2_entry(l2[index])? {
                L2Entry::Unallocated => Place::Below,
                L2Entry::Zero { offset: 0, .. } => Place::Zero { host: None },
                L2Entry::Zero { offset, .. } => Place::Zero { host: Some(offset + within) },
                L2Entry::Data { offset, .. } => Place::Data { host: offset + within },
                L2Entry::Compressed { offset, length } => Place::Compressed { host: offset, length },
            });
        }
        let (entry, bitmap) = (geometry.l2_entry(l2[2 * index])?, l2[2 * index + 1]);
        let subcluster = within >> geometry.unit_bits();
        let (data, zero) = (bitmap >> subcluster & 1 == 1, bitmap >> (subcluster + 32) & 1 == 1);
        Ok(match (entry, data, zero) {
            (L2Entry::Compressed { offset, length }, ..) => Place::Compressed { host: offset, length },
            (_, true, true) => {
                let why = format!("both allocated and zero is the subcluster at {offset:#x} of the disk");
                return Err(crate::Error::Corrupt(why).into());
            }
            (L2Entry::Data { offset, .. }, true, _) => Place::Data { host: offset + within },
            (L2Entry::Data { offset, .. }, _, true) => Place::Zero { host: Some(offset + within) },
            (_, _, true) => Place::Zero { host: None },
            (_, true, _) => {
                let why = format!("no place has the subcluster at {offset:#x} of the disk");
                return Err(crate::Error::Corrupt(why).into());
            }
            (_, false, false) => Place::Below,
        })
    }

    fn l2(&self, medium: &dyn Medium, at: u64) -> Result<Arc<Vec<u64>>> {
        {
            let cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((_, table)) = cache.iter().find(|(offset, _)| *offset == at) {
                return Ok(Arc::clone(table));
            }
        }
        let table = Arc::new(read_table(medium, at, self.geometry.cluster_size() / 8)?);
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if (cache.len() + 1) << self.geometry.cluster_bits > CACHE && cache.len() > 1 {
            cache.pop_front();
        }
        cache.push_back((at, Arc::clone(&table)));
        Ok(table)
    }
}

/// Where the bytes `by` further would be if they were in one piece with these.
fn moved(place: Place, by: u64) -> Place {
    match place {
        Place::Below => Place::Below,
        Place::Zero { host } => Place::Zero { host: host.map(|host| host + by) },
        Place::Data { host } => Place::Data { host: host + by },
        Place::Compressed { host, length } => Place::Compressed { host, length },
    }
}

fn named(error: ToolError, name: &str) -> ToolError {
    match error {
        ToolError::Image(error @ crate::Error::Corrupt(_)) => ToolError::Image(error.of(name)),
        other => other,
    }
}

/// # Errors
/// The host's answer; formats that are known and not ours.
pub fn guess(medium: &dyn Medium) -> Result<Format> {
    let mut start = [0; probe::LENGTH];
    medium.read_exact(0, &mut start).map_err(ToolError::host("read", medium.name()))?;
    match probe::probe(&start) {
        Guess::Qcow2 => Ok(Format::Qcow2),
        Guess::Raw => Ok(Format::Raw),
        Guess::Foreign(kind) => {
            let why = format!(
                "looks like a {kind} image, and only raw and qcow2 are known; if it is raw, say -f raw"
            );
            Err(ToolError::unsupported(medium.name(), why))
        }
    }
}

pub fn read_header(medium: &dyn Medium) -> Result<Header> {
    let size = medium.size().map_err(ToolError::host("find the size of", medium.name()))?;
    let mut start = vec![0; size.min(MAX_HEADER as u64) as usize];
    medium.read_exact(0, &mut start).map_err(ToolError::host("read", medium.name()))?;
    Ok(Header::parse(&start, size).map_err(|error| error.of(medium.name()))?)
}

/// A table of big-endian words; the caller has checked its length.
pub fn read_table(medium: &dyn Medium, offset: u64, entries: u64) -> Result<Vec<u64>> {
    let mut bytes = vec![0; entries as usize * 8];
    medium.read_exact(offset, &mut bytes).map_err(ToolError::host("read", medium.name()))?;
    Ok(tables::words(&bytes).collect())
}

pub fn read_snapshots(medium: &dyn Medium, header: &Header) -> Result<Vec<Snapshot>> {
    if header.snapshot_count == 0 {
        return Ok(Vec::new());
    }
    let size = medium.size().map_err(ToolError::host("find the size of", medium.name()))?;
    let length = size.saturating_sub(header.snapshots_offset).min(MAX_TABLE as u64);
    let mut bytes = vec![0; length as usize];
    medium.read_exact(header.snapshots_offset, &mut bytes).map_err(ToolError::host("read", medium.name()))?;
    let (snapshots, _) = Snapshot::parse_table(&bytes, header.snapshot_count, &header.geometry())
        .map_err(|error| error.of(medium.name()))?;
    Ok(snapshots)
}

/// The index of the snapshot with this id, or else this name.
pub fn find_snapshot(snapshots: &[Snapshot], wanted: &str, image: &str) -> Result<usize> {
    let by_id = snapshots.iter().position(|snapshot| snapshot.id == wanted);
    by_id.or_else(|| snapshots.iter().position(|snapshot| snapshot.name == wanted)).ok_or_else(|| {
        let names: Vec<&str> = snapshots.iter().map(|snapshot| snapshot.name.as_str()).collect();
        let others =
            if names.is_empty() { "it has none".into() } else { format!("it has {}", names.join(", ")) };
        ToolError::refused(image, format!("no snapshot {wanted:?}; {others}"))
    })
}
