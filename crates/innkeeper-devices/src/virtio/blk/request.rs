//! One request: what its header asks for, done on the disk, and answered with a status (virtio 1.2, 5.2.6).

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use innkeeper_block::Disk;

use super::SECTOR;
use super::config::{RANGE_SECTORS, RANGES};
use crate::virtio::queue::{Chain, Fault};

const IN: u32 = 0;
const OUT: u32 = 1;
const FLUSH: u32 = 4;
const GET_ID: u32 = 8;
const DISCARD: u32 = 11;
const WRITE_ZEROES: u32 = 13;

const HEADER_BYTES: u64 = 16;
const RANGE_BYTES: usize = 16;
const RANGE_UNMAP: u32 = 1;
const ID_BYTES: usize = 20;

/// What a request is answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    Ok = 0,
    IoError = 1,
    Unsupported = 2,
}

/// Whether written data may wait for a flush.
pub enum WriteCache {
    Back,
    Through,
    /// As the driver last wrote it to configuration space.
    Toggled(Arc<AtomicBool>),
    /// Even a flush does nothing.
    Ignored,
}

impl WriteCache {
    fn is_through(&self) -> bool {
        match self {
            Self::Back | Self::Ignored => false,
            Self::Through => true,
            Self::Toggled(writeback) => !writeback.load(Ordering::Relaxed),
        }
    }
}

/// What all threads of a disk need to serve its driver.
pub struct Server {
    pub disk: Arc<dyn Disk>,
    pub read_only: bool,
    pub cache: WriteCache,
    pub discard: bool,
    pub serial: String,
}

impl Server {
    /// Does what the chain asks for; gives how many bytes were written to it, the status included.
    ///
    /// # Errors
    /// [`Fault::Request`] if it has no header, or no room for a status.
    pub fn serve(&self, chain: &Chain) -> Result<u32, Fault> {
        let mut header = [0; HEADER_BYTES as usize];
        let room = chain.writable().checked_sub(1).ok_or(Fault::Request)?;
        if chain.read(0, &mut header) < header.len() {
            return Err(Fault::Request);
        }
        let [k0, k1, k2, k3, _, _, _, _, sector @ ..] = header;
        let (kind, sector) = (u32::from_le_bytes([k0, k1, k2, k3]), u64::from_le_bytes(sector));
        let status = self.answer(kind, sector, chain, room).unwrap_or_else(|error| error.0);
        chain.write(room, &[status as u8]);
        Ok(chain.writable() as u32)
    }

    /// Whether a request is of a kind that waits for the host's device.
    pub fn waits(&self, chain: &Chain) -> bool {
        let mut kind = [0; 4];
        let kind = if chain.read(0, &mut kind) == 4 { u32::from_le_bytes(kind) } else { return false };
        matches!(kind, FLUSH | DISCARD | WRITE_ZEROES) || kind == OUT && self.cache.is_through()
    }

    fn answer(&self, kind: u32, sector: u64, chain: &Chain, room: u64) -> Result<Status, Refused> {
        match kind {
            IN => self.read(sector, chain, room),
            OUT => self.writing(|| self.write(sector, chain)),
            FLUSH => self.flush(),
            GET_ID => Ok(self.identify(chain, room)),
            DISCARD if self.discard => self.writing(|| self.ranges(chain, false)),
            WRITE_ZEROES => self.writing(|| self.ranges(chain, true)),
            _ => Ok(Status::Unsupported),
        }
    }

    fn writing(&self, write: impl FnOnce() -> Result<Status, Refused>) -> Result<Status, Refused> {
        if self.read_only {
            return Ok(Status::IoError);
        }
        let status = write()?;
        if status == Status::Ok && self.cache.is_through() {
            self.disk.flush()?;
        }
        Ok(status)
    }

    /// The place of `bytes` from `sector` on; refused unless all of it is on the disk.
    fn place(&self, sector: u64, bytes: u64) -> Result<u64, Refused> {
        let offset = sector.checked_mul(SECTOR).ok_or(REFUSED)?;
        let end = offset.checked_add(bytes).ok_or(REFUSED)?;
        if end > self.disk.size() || !bytes.is_multiple_of(SECTOR) { Err(REFUSED) } else { Ok(offset) }
    }

    fn read(&self, sector: u64, chain: &Chain, room: u64) -> Result<Status, Refused> {
        let offset = self.place(sector, room)?;
        let result = self.disk.read(offset, &mut chain.writable_slices(0, room));
        chain.wrote(0, room); // whatever became of it
        result?;
        Ok(Status::Ok)
    }

    fn write(&self, sector: u64, chain: &Chain) -> Result<Status, Refused> {
        let bytes = chain.readable() - HEADER_BYTES;
        let offset = self.place(sector, bytes)?;
        self.disk.write(offset, &chain.readable_slices(HEADER_BYTES, bytes))?;
        Ok(Status::Ok)
    }

    fn flush(&self) -> Result<Status, Refused> {
        if !self.read_only && !matches!(self.cache, WriteCache::Ignored) {
            self.disk.flush()?;
        }
        Ok(Status::Ok)
    }

    fn identify(&self, chain: &Chain, room: u64) -> Status {
        let mut id = [0; ID_BYTES];
        let length = self.serial.len().min(ID_BYTES);
        id[..length].copy_from_slice(&self.serial.as_bytes()[..length]);
        chain.write(0, &id[..ID_BYTES.min(room as usize)]);
        Status::Ok
    }

    /// Discards or zeroes the ranges of a request: all are checked before the first is touched.
    fn ranges(&self, chain: &Chain, zeroes: bool) -> Result<Status, Refused> {
        let bytes = (chain.readable() - HEADER_BYTES) as usize;
        if !bytes.is_multiple_of(RANGE_BYTES) || bytes > RANGES as usize * RANGE_BYTES {
            return Ok(Status::IoError);
        }
        let mut raw = vec![0; bytes];
        chain.read(HEADER_BYTES, &mut raw);
        let mut ranges = Vec::new();
        for range in raw.chunks_exact(RANGE_BYTES) {
            let word =
                |at: usize| u32::from_le_bytes([range[at], range[at + 1], range[at + 2], range[at + 3]]);
            let (sector, count, flags) = (u64::from(word(0)) | u64::from(word(4)) << 32, word(8), word(12));
            if flags & !RANGE_UNMAP != 0 || !zeroes && flags != 0 {
                return Ok(Status::Unsupported);
            }
            let bytes = u64::from(count) * SECTOR;
            if count > RANGE_SECTORS {
                return Ok(Status::IoError);
            }
            ranges.push((self.place(sector, bytes)?, bytes, flags & RANGE_UNMAP != 0));
        }
        for (offset, bytes, unmap) in ranges.into_iter().filter(|range| range.1 > 0) {
            if zeroes {
                self.disk.write_zeroes(offset, bytes, unmap && self.discard)?;
            } else {
                self.disk.discard(offset, bytes)?;
            }
        }
        Ok(Status::Ok)
    }
}

/// Why a request was not done, as a status.
struct Refused(Status);

const REFUSED: Refused = Refused(Status::IoError);

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::Unsupported => Self(Status::Unsupported),
            _ => REFUSED,
        }
    }
}
