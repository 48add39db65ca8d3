//! An ATAPI CD-ROM drive: the ATA commands that it knows, and PACKET with the commands in it.
//!
//! Spec: ATA8-ACS, 7 (PACKET feature set); the packets' are MMC-6 and SPC-4. Left out: audio, writing, raw
//! sectors (sync, header, EDC and ECC of READ CD), changers, overlapped commands.

mod features;
pub mod iso;
mod packets;
pub mod sense;
mod toc;
pub mod tray;

use std::sync::Arc;

use innkeeper_block::Disk;
use innkeeper_bus::state::{BadState, Fields, Plain, Value, map};

use super::disk::transfer_mode;
use super::host::{End, Host, Pio, Stop};
use super::identify;
use super::taskfile::{
    REASON_COMMAND, REASON_TO_HOST, SIGNATURE_COUNT, SIGNATURE_PACKET, Taskfile, error, status,
};
use packets::Reply;
use sense::{Sense, UNRECOVERED_READ};
use tray::Tray;

/// Bytes of a block, and how many of them are read at once.
pub const BLOCK: u64 = 2048;
const PIECE: u64 = 32;
/// Beyond 80 minutes a disc cannot be a CD, so it is a DVD.
const MOST_CD_BLOCKS: u64 = 80 * 60 * 75;

const FEATURE_DMA: u16 = 1;
const FEATURE_OVERLAP: u16 = 2;
const DEFAULT_TRANSFER_MODE: u8 = 0x42; // Ultra DMA 2

/// A drive.
pub struct Cdrom {
    tray: Arc<Tray>,
    serial: String,
    model: String,
    serial_link: bool,
    transfer_mode: u8,
    sense: Sense,
    /// What it has to say before it does anything else.
    attention: Option<Sense>,
}

/// Blocks of a disc; a last one that is not full is filled with zeroes.
fn blocks(disc: &dyn Disk) -> u64 {
    disc.size().div_ceil(BLOCK).min(u64::from(u32::MAX))
}

impl Cdrom {
    pub fn new(tray: Arc<Tray>, serial: String, model: String, serial_link: bool) -> Self {
        let attention = Some(sense::WAS_RESET);
        let transfer_mode = DEFAULT_TRANSFER_MODE;
        Self { tray, serial, model, serial_link, transfer_mode, sense: Sense::default(), attention }
    }

    pub fn state(&self) -> Value {
        map([
            ("transfer_mode", self.transfer_mode.save()),
            ("sense", self.sense.save()),
            ("attention", self.attention.save()),
            ("tray", self.tray.state()),
        ])
    }

    /// # Errors
    /// [`BadState`] for what cannot be.
    pub fn restore(&mut self, state: &Value) -> Result<(), BadState> {
        let mut fields = Fields::of(state)?;
        let mode: u8 = fields.take("transfer_mode")?;
        self.transfer_mode =
            transfer_mode(mode).map_err(|_| BadState::new("transfer_mode: there is no such"))?;
        (self.sense, self.attention) = (fields.take("sense")?, fields.take("attention")?);
        self.tray.restore(fields.value("tray")?).map_err(|error| error.within("tray"))?;
        fields.end()
    }

    /// Does one command. See [`super::Drive::command`].
    ///
    /// # Errors
    /// [`Stop`].
    pub fn command(&mut self, taskfile: &mut Taskfile, host: &mut dyn Host) -> Result<End, Stop> {
        let outcome = match taskfile.command {
            0xA0 => return self.packet_command(taskfile, host),
            0xA1 => {
                taskfile.succeed();
                let data = identify::cdrom(&self.serial, &self.model, self.transfer_mode, self.serial_link);
                host.pio_in(data, Pio { block: 512, packet: false }, Some(taskfile))?;
                return Ok(End::Told);
            }
            // A packet device answers disks' commands with what it is, and an abort.
            0x20 | 0xEC => {
                self.sign(taskfile);
                Err(error::ABRT)
            }
            0x08 => {
                self.reset(false);
                self.sign(taskfile);
                (taskfile.status, taskfile.error) = (0, 0x01);
                return Ok(End::Interrupt);
            }
            0x90 => {
                self.sign(taskfile);
                (taskfile.status, taskfile.error) = (0, 0x01);
                return Ok(End::Interrupt);
            }
            0xE0..=0xE3 | 0xE6 => Ok(()),
            0xE5 => {
                taskfile.count = 0xFF;
                Ok(())
            }
            0xEF => self.set_features(taskfile),
            _ => Err(error::ABRT),
        };
        match outcome {
            Ok(()) => taskfile.succeed(),
            Err(bits) => taskfile.fail(bits),
        }
        Ok(End::Interrupt)
    }

    fn sign(&self, taskfile: &mut Taskfile) {
        (taskfile.count, taskfile.lba) = (SIGNATURE_COUNT, SIGNATURE_PACKET);
        taskfile.device &= 0x10;
    }

    fn set_features(&mut self, taskfile: &Taskfile) -> Result<(), u8> {
        match taskfile.features as u8 {
            0x03 => self.transfer_mode = transfer_mode(taskfile.count as u8)?,
            // Settings that are kept over a reset, or not: there are none that it loses.
            0x66 | 0xCC => {}
            _ => return Err(error::ABRT),
        }
        Ok(())
    }

    /// A reset by software leaves the tray alone; one by power or by the link makes itself known.
    pub fn reset(&mut self, hard: bool) {
        self.sense = Sense::default();
        if hard {
            self.attention = Some(sense::WAS_RESET);
        }
    }

    // ---- packets --------------------------------------------------------------------------------

    fn packet_command(&mut self, taskfile: &mut Taskfile, host: &mut dyn Host) -> Result<End, Stop> {
        if taskfile.features & FEATURE_OVERLAP != 0 {
            taskfile.fail(error::ABRT);
            return Ok(End::Interrupt);
        }
        let packet = host.packet()?;
        let outcome = match self.execute(&packet) {
            Ok(Reply::Done) => Ok(End::Interrupt),
            Ok(Reply::Data(data)) if data.is_empty() => Ok(End::Interrupt),
            Ok(Reply::Data(data)) => {
                set_end(taskfile, None);
                send(taskfile, host, data, true).map(Ok)?
            }
            Ok(Reply::Blocks { first, count }) => self.send_blocks(taskfile, host, first, count)?,
            Err(sense) => Err(sense),
        };
        match outcome {
            Ok(End::Told) => Ok(End::Told),
            Ok(End::Interrupt) => {
                set_end(taskfile, None);
                Ok(End::Interrupt)
            }
            Err(sense) => {
                self.sense = sense;
                set_end(taskfile, Some(sense));
                Ok(End::Interrupt)
            }
        }
    }

    fn send_blocks(
        &self,
        taskfile: &mut Taskfile,
        host: &mut dyn Host,
        first: u32,
        count: u32,
    ) -> Result<Result<End, Sense>, Stop> {
        let disc = match self.tray.medium() {
            Ok(disc) => disc,
            Err(sense) => return Ok(Err(sense)),
        };
        let (first, end) = (u64::from(first), u64::from(first) + u64::from(count));
        for at in (first..end).step_by(PIECE as usize) {
            let blocks = PIECE.min(end - at);
            let Ok(data) = packets::read_blocks(&*disc, at, blocks) else {
                return Ok(Err(UNRECOVERED_READ.at(at as u32)));
            };
            let last = at + blocks == end;
            if last {
                set_end(taskfile, None);
            }
            if send(taskfile, host, data, last)? == End::Told {
                return Ok(Ok(End::Told));
            }
        }
        Ok(Ok(End::Interrupt))
    }
}

/// Sends data the way that the command's features say.
fn send(taskfile: &mut Taskfile, host: &mut dyn Host, data: Vec<u8>, last: bool) -> Result<End, Stop> {
    if taskfile.features & FEATURE_DMA != 0 {
        host.dma_in(&data)?;
        return Ok(End::Interrupt);
    }
    // A block's length is even, unless it is all there is; no limit means the largest one.
    let limit = match usize::from(taskfile.byte_count()) {
        0 | 0xFFFF => 0xFFFE,
        1 => 2,
        odd if odd % 2 == 1 && odd < data.len() => odd - 1,
        limit => limit,
    };
    host.pio_in(data, Pio { block: limit, packet: true }, last.then_some(&*taskfile))?;
    Ok(if last { End::Told } else { End::Interrupt })
}

/// The registers after a packet command.
fn set_end(taskfile: &mut Taskfile, sense: Option<Sense>) {
    taskfile.count = u16::from(REASON_COMMAND | REASON_TO_HOST);
    match sense {
        None => taskfile.succeed(),
        Some(sense) => {
            taskfile.fail(
                sense.key << 4 | if sense.key == sense::key::ILLEGAL_REQUEST { error::ABRT } else { 0 },
            );
        }
    }
    taskfile.status &= !status::DSC;
}
