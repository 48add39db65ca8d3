//! Commands that read, write, verify and trim.
//!
//! Spec: ATA8-ACS, 7.5 (DATA SET MANAGEMENT), 7.25-7.36 (READ …), 7.58-7.69 (WRITE …). A failure stops a
//! command at the piece of it that failed, with that piece's first sector in the registers.

use std::io::{self, IoSlice, IoSliceMut};

use super::super::host::{End, Host, Pio, Stop};
use super::super::taskfile::{DEVICE_LBA, Taskfile, error, status};
use super::{AtaDisk, Power, QueueError, SECTOR, ended};

/// Sectors that a command moves at once: what a machine holds for a drive is bounded.
const PIECE: u64 = 512;
/// FUA, in the device register of queued commands.
const QUEUED_FUA: u8 = 0x80;
const WRITE_DMA_FUA_EXT: u8 = 0x3D;
const WRITE_MULTIPLE_FUA_EXT: u8 = 0xCE;
const WRITE_FPDMA_QUEUED: u8 = 0x61;
const TRIM: u16 = 1;
/// Bytes of a TRIM range: 48 bits of address, 16 of length.
const TRIM_RANGE: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    In,
    Out,
}

/// How data travels; `Pio` with the sectors between two interrupts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Pio(u64),
    Dma,
}

/// Sectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    pub first: u64,
    pub count: u64,
}

impl Range {
    /// Itself, if a disk of that many sectors has them.
    pub fn within(self, sectors: u64) -> Result<Self, u8> {
        let end = self.first.checked_add(self.count).ok_or(error::IDNF)?;
        if end <= sectors { Ok(self) } else { Err(error::IDNF) }
    }

    fn pieces(self) -> impl Iterator<Item = Self> {
        let end = self.first + self.count;
        (self.first..end)
            .step_by(PIECE as usize)
            .map(move |first| Self { first, count: PIECE.min(end - first) })
    }
}

impl AtaDisk {
    /// READ and WRITE in all their forms but the queued ones.
    pub fn transfer(
        &mut self,
        taskfile: &mut Taskfile,
        host: &mut dyn Host,
        direction: Direction,
        way: Way,
        wide: bool,
    ) -> Result<End, Stop> {
        self.power = Power::Active;
        let range = match self.range(taskfile, wide) {
            Ok(range) if direction == Direction::In || !self.disk.is_read_only() => range,
            Ok(_) => return Ok(ended(taskfile, Err(error::ABRT))),
            Err(bits) => return Ok(ended(taskfile, Err(bits))),
        };
        match direction {
            Direction::In => self.read_out(taskfile, host, range, way, wide),
            Direction::Out => self.write_in(taskfile, host, range, way, wide),
        }
    }

    fn read_out(
        &mut self,
        taskfile: &mut Taskfile,
        host: &mut dyn Host,
        range: Range,
        way: Way,
        wide: bool,
    ) -> Result<End, Stop> {
        for piece in range.pieces() {
            let mut data = vec![0; (piece.count * SECTOR) as usize];
            if self.read_sectors(piece.first, &mut data).is_err() {
                set_address(taskfile, piece.first, wide);
                return Ok(ended(taskfile, Err(error::UNC)));
            }
            let Way::Pio(sectors) = way else {
                host.dma_in(&data)?;
                continue;
            };
            let last = piece.first + piece.count == range.first + range.count;
            if last {
                taskfile.succeed();
            }
            let pio = Pio { block: (sectors * SECTOR) as usize, packet: false };
            host.pio_in(data, pio, last.then_some(&*taskfile))?;
        }
        match way {
            Way::Pio(_) => Ok(End::Told),
            Way::Dma => Ok(ended(taskfile, Ok(End::Interrupt))),
        }
    }

    fn write_in(
        &mut self,
        taskfile: &mut Taskfile,
        host: &mut dyn Host,
        range: Range,
        way: Way,
        wide: bool,
    ) -> Result<End, Stop> {
        let mut data = Vec::new();
        for piece in range.pieces() {
            data.resize((piece.count * SECTOR) as usize, 0);
            match way {
                Way::Dma => host.dma_out(&mut data)?,
                Way::Pio(sectors) => {
                    let pio = Pio { block: (sectors * SECTOR) as usize, packet: false };
                    host.pio_out(&mut data, pio, piece.first == range.first)?;
                }
            }
            if self.write_sectors(piece.first, &data).is_err() {
                set_address(taskfile, piece.first, wide);
                return Ok(device_fault(taskfile));
            }
        }
        let through = matches!(taskfile.command, WRITE_DMA_FUA_EXT | WRITE_MULTIPLE_FUA_EXT);
        Ok(self.written(taskfile, through))
    }

    /// The end of a command that wrote: without a write cache what it wrote is kept by then.
    fn written(&self, taskfile: &mut Taskfile, through: bool) -> End {
        if (through || !self.settings.write_cache) && self.disk.flush().is_err() {
            return device_fault(taskfile);
        }
        ended(taskfile, Ok(End::Interrupt))
    }

    /// READ and WRITE FPDMA QUEUED: the count is where others have features, the tag where they have the count.
    pub fn queued(&mut self, taskfile: &mut Taskfile, host: &mut dyn Host) -> Result<End, Stop> {
        self.power = Power::Active;
        let count = u64::from(taskfile.features);
        let count = if count == 0 { 0x1_0000 } else { count };
        let writes = taskfile.command == WRITE_FPDMA_QUEUED;
        let range = Range { first: taskfile.lba, count }.within(self.sectors());
        let outcome = match range {
            Err(bits) => Ok(ended(taskfile, Err(bits))),
            Ok(_) if writes && self.disk.is_read_only() => Ok(ended(taskfile, Err(error::ABRT))),
            Ok(range) if writes => {
                let end = self.write_in(taskfile, host, range, Way::Dma, true)?;
                let through = taskfile.device & QUEUED_FUA != 0 && taskfile.status & status::ERR == 0;
                Ok(if through { self.written(taskfile, true) } else { end })
            }
            Ok(range) => self.read_out(taskfile, host, range, Way::Dma, true),
        };
        if taskfile.status & status::ERR != 0 {
            self.queue_error = Some(QueueError::new(taskfile));
        }
        outcome
    }

    /// READ VERIFY SECTORS, and SEEK: the sectors can be read.
    pub fn verify(&mut self, taskfile: &mut Taskfile, wide: bool) -> Result<(), u8> {
        const SEEK: u8 = 0x70;
        self.power = Power::Active;
        if taskfile.command == SEEK {
            let first = self.narrow_address(taskfile)?;
            return Range { first, count: 1 }.within(self.sectors()).map(drop);
        }
        let mut data = vec![0; (PIECE * SECTOR) as usize];
        for piece in self.range(taskfile, wide)?.pieces() {
            if self.read_sectors(piece.first, &mut data[..(piece.count * SECTOR) as usize]).is_err() {
                set_address(taskfile, piece.first, wide);
                return Err(error::UNC);
            }
        }
        Ok(())
    }

    /// DATA SET MANAGEMENT, of which there is TRIM. IDENTIFY promises that trimmed sectors read as zeroes.
    pub fn data_set_management(&mut self, taskfile: &mut Taskfile, host: &mut dyn Host) -> Result<End, Stop> {
        // IDENTIFY's word 105 allows one block.
        if taskfile.features != TRIM || taskfile.count != 1 || self.disk.is_read_only() {
            return Ok(ended(taskfile, Err(error::ABRT)));
        }
        let mut data = [0; SECTOR as usize];
        host.dma_out(&mut data)?;
        let (entries, _) = data.as_chunks::<TRIM_RANGE>();
        let ranges = entries.iter().map(|bytes| u64::from_le_bytes(*bytes));
        let ranges = ranges.map(|entry| Range { first: entry & 0xFFFF_FFFF_FFFF, count: entry >> 48 });
        for range in ranges.filter(|range| range.count > 0) {
            let Ok(range) = range.within(self.sectors()) else {
                return Ok(ended(taskfile, Err(error::IDNF)));
            };
            if self.disk.write_zeroes(range.first * SECTOR, range.count * SECTOR, true).is_err() {
                return Ok(device_fault(taskfile));
            }
        }
        Ok(self.written(taskfile, false))
    }

    fn read_sectors(&self, first: u64, data: &mut [u8]) -> io::Result<()> {
        self.disk.read(first * SECTOR, &mut [IoSliceMut::new(data)])
    }

    fn write_sectors(&self, first: u64, data: &[u8]) -> io::Result<()> {
        self.disk.write(first * SECTOR, &[IoSlice::new(data)])
    }
}

/// The host could not write.
fn device_fault(taskfile: &mut Taskfile) -> End {
    taskfile.fail(error::ABRT);
    taskfile.status |= status::DF;
    End::Interrupt
}

/// Where it failed. (CHS addresses of old software stay as they were: they are where the command began.)
fn set_address(taskfile: &mut Taskfile, first: u64, wide: bool) {
    if wide {
        taskfile.lba = first;
    } else if taskfile.device & DEVICE_LBA != 0 {
        taskfile.lba = first & 0xFF_FFFF;
        taskfile.device = taskfile.device & 0xF0 | (first >> 24 & 0xF) as u8;
    }
}
