//! Drivers for drives and controllers, as short as a driver can be, and a disk that is memory.

mod ahci;
mod cdrom;
mod disk;
mod ide;
mod properties;

use std::io::{self, IoSlice, IoSliceMut};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use innkeeper_block::{Disk, Extent};
use innkeeper_bus::interrupt::Line;

use super::disk::{AtaDisk, Identity};
use super::host::{End, Host, Last, Pio, Stop};
use super::taskfile::Taskfile;
use super::{Drive, Tray};

/// A disk whose sectors hold their number, and which can be made to fail.
pub struct MemoryDisk {
    pub bytes: Mutex<Vec<u8>>,
    pub read_only: bool,
    pub broken: AtomicBool,
    pub flushes: AtomicU64,
}

impl MemoryDisk {
    pub fn new(sectors: u64) -> Arc<Self> {
        let bytes = (0..sectors).flat_map(|sector| sector.to_le_bytes().repeat(64)).collect();
        let (broken, flushes) = (AtomicBool::new(false), AtomicU64::new(0));
        Arc::new(Self { bytes: Mutex::new(bytes), read_only: false, broken, flushes })
    }

    pub fn sector(&self, index: usize) -> Vec<u8> {
        self.bytes.lock().unwrap()[512 * index..512 * (index + 1)].to_vec()
    }

    fn check(&self, offset: u64, length: u64) -> io::Result<()> {
        if self.broken.load(Ordering::SeqCst) {
            return Err(io::Error::other("broken"));
        }
        let end = offset.checked_add(length).filter(|&end| end <= self.size());
        end.map(drop).ok_or_else(|| io::ErrorKind::InvalidInput.into())
    }
}

impl Disk for MemoryDisk {
    fn size(&self) -> u64 {
        self.bytes.lock().unwrap().len() as u64
    }

    fn is_read_only(&self) -> bool {
        self.read_only
    }

    fn read(&self, offset: u64, buffers: &mut [IoSliceMut<'_>]) -> io::Result<()> {
        let mut at = offset as usize;
        for buffer in buffers {
            self.check(at as u64, buffer.len() as u64)?;
            let end = at + buffer.len();
            buffer.copy_from_slice(&self.bytes.lock().unwrap()[at..end]);
            at = end;
        }
        Ok(())
    }

    fn write(&self, offset: u64, buffers: &[IoSlice<'_>]) -> io::Result<()> {
        let mut at = offset as usize;
        for buffer in buffers {
            self.check(at as u64, buffer.len() as u64)?;
            self.bytes.lock().unwrap()[at..at + buffer.len()].copy_from_slice(buffer);
            at += buffer.len();
        }
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        self.check(0, 0)?;
        self.flushes.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    fn write_zeroes(&self, offset: u64, length: u64, _unmap: bool) -> io::Result<()> {
        self.check(offset, length)?;
        self.bytes.lock().unwrap()[offset as usize..(offset + length) as usize].fill(0);
        Ok(())
    }

    fn discard(&self, offset: u64, length: u64) -> io::Result<()> {
        self.check(offset, length)
    }

    fn extent(&self, offset: u64, length: u64) -> io::Result<Extent> {
        self.check(offset, length)?;
        Ok(Extent { offset, length, zero: false, here: true })
    }
}

/// An interrupt line that counts how often it rose.
#[derive(Default)]
pub struct Wire {
    pub level: AtomicBool,
    pub edges: AtomicU64,
}

impl Line for Wire {
    fn set(&self, level: bool) {
        if level && !self.level.swap(level, Ordering::SeqCst) {
            self.edges.fetch_add(1, Ordering::SeqCst);
        }
        self.level.store(level, Ordering::SeqCst);
    }
}

/// The host end of single commands: what came, and what is to be sent.
#[derive(Default)]
pub struct Bench {
    pub packet: [u8; 12],
    pub sent: Vec<u8>,
    /// What the guest has for the drive.
    pub given: Vec<u8>,
    /// Bytes that fit into the guest's descriptors.
    pub room: Option<usize>,
    pub blocks: Vec<usize>,
    pub last: Option<Taskfile>,
}

impl Host for Bench {
    fn pio_in(&mut self, data: Vec<u8>, pio: Pio, last: Last<'_>) -> Result<(), Stop> {
        self.blocks.push(pio.block);
        self.sent.extend(data);
        self.last = last.copied();
        Ok(())
    }

    fn pio_out(&mut self, data: &mut [u8], pio: Pio, _first: bool) -> Result<(), Stop> {
        if self.given.len() < data.len() {
            return Err(Stop::Gone);
        }
        self.blocks.push(pio.block);
        let rest = self.given.split_off(data.len());
        data.copy_from_slice(&std::mem::replace(&mut self.given, rest));
        Ok(())
    }

    fn dma_in(&mut self, data: &[u8]) -> Result<(), Stop> {
        if self.room.is_some_and(|room| self.sent.len() + data.len() > room) {
            return Err(Stop::Bus);
        }
        self.sent.extend(data);
        Ok(())
    }

    fn dma_out(&mut self, data: &mut [u8]) -> Result<(), Stop> {
        if self.given.len() < data.len() {
            return Err(Stop::Bus);
        }
        self.pio_out(data, Pio { block: 0, packet: false }, true)
    }

    fn packet(&mut self) -> Result<[u8; 12], Stop> {
        Ok(self.packet)
    }
}

/// Does a command and gives its registers afterwards.
pub fn perform(drive: &mut Drive, bench: &mut Bench, mut taskfile: Taskfile) -> Taskfile {
    match drive.command(&mut taskfile, bench).expect("nobody went away") {
        End::Interrupt => taskfile,
        End::Told => bench.last.expect("the registers at the end"),
    }
}

pub fn ata_disk(disk: &Arc<MemoryDisk>, serial_link: bool) -> Drive {
    let identity = Identity { serial: "S1".into(), model: "A DISK".into(), serial_link, trim: true };
    Drive::Disk(AtaDisk::new(disk.clone(), identity))
}

/// A drive with a disc of that many blocks, after its unit attentions.
pub fn cdrom(blocks: u64) -> (Drive, Arc<Tray>, Arc<MemoryDisk>) {
    let disc = MemoryDisk::new(4 * blocks);
    let tray = Tray::new(Some(disc.clone()));
    let drive = super::cdrom::Cdrom::new(Arc::clone(&tray), "S2".into(), "A DRIVE".into(), false);
    (Drive::Cdrom(Box::new(drive)), tray, disc)
}

/// Waits for what other threads do.
pub fn until(what: &str, done: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < end, "{what} did not happen");
        std::thread::yield_now();
    }
}
