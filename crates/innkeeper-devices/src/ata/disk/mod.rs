//! An ATA disk: its commands, over whatever holds its bytes.
//!
//! Spec: ATA8-ACS, 7. Left out: security, host protected area, device configuration, microcode download,
//! streaming, CFA and packets.

mod log;
mod transfer;

use std::sync::Arc;

use innkeeper_block::Disk;
use innkeeper_bus::state::{BadState, Fields, Plain, Value, map};
use innkeeper_bus::{plain_enum, plain_struct};

use super::host::{End, Host, Pio, Stop};
use super::identify;
use super::smart::{Answer, Smart};
use super::taskfile::{DEVICE_LBA, SIGNATURE_COUNT, SIGNATURE_DISK, Taskfile, error};
use log::QueueError;
use transfer::{Direction, Range, Way};

pub const SECTOR: u64 = 512;

/// What a disk is called, and how it is attached.
#[derive(Clone, Debug)]
pub struct Identity {
    pub serial: String,
    pub model: String,
    /// Behind AHCI: it queues commands.
    pub serial_link: bool,
    /// It takes TRIM.
    pub trim: bool,
}

/// What CHECK POWER MODE tells: a command that moves data wakes the disk.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Power {
    Active,
    Idle,
    Standby,
}

/// What the guest can set, and a reset may take back.
struct Settings {
    multiple: u8,
    transfer_mode: u8,
    write_cache: bool,
    look_ahead: bool,
    heads: u64,
    per_track: u64,
    /// Resets by software keep what was set.
    keep: bool,
}

plain_enum!(Power { Active, Idle, Standby });
plain_struct!(Settings {
    multiple, transfer_mode, write_cache, look_ahead, heads, per_track, keep,
} if Settings::is_sound);

const DEFAULT_TRANSFER_MODE: u8 = 0x45; // Ultra DMA 5, as a firmware chooses

impl Settings {
    fn is_sound(&self) -> bool {
        let multiple = self.multiple;
        (multiple == 0 || multiple.is_power_of_two() && multiple <= identify::MOST_MULTIPLE)
            && transfer_mode(self.transfer_mode).is_ok()
            && (1..=255).contains(&self.per_track)
            && (1..=255).contains(&self.heads)
    }

    fn new(sectors: u64) -> Self {
        let (_, heads, per_track) = identify::geometry(sectors);
        let (write_cache, look_ahead) = (true, true);
        let (multiple, transfer_mode) = (identify::MOST_MULTIPLE, DEFAULT_TRANSFER_MODE);
        Self { multiple, transfer_mode, write_cache, look_ahead, heads, per_track, keep: false }
    }
}

/// A disk.
pub struct AtaDisk {
    disk: Arc<dyn Disk>,
    identity: Identity,
    settings: Settings,
    smart: Smart,
    power: Power,
    queue_error: Option<QueueError>,
}

/// The outcome of a command without data, or the bits of the error register.
type Outcome = Result<End, u8>;

impl AtaDisk {
    pub fn new(disk: Arc<dyn Disk>, identity: Identity) -> Self {
        let settings = Settings::new(disk.size() / SECTOR);
        let smart = Smart { enabled: true };
        Self { disk, identity, settings, smart, power: Power::Active, queue_error: None }
    }

    pub fn state(&self) -> Value {
        map([
            ("settings", self.settings.save()),
            ("smart", self.smart.enabled.save()),
            ("power", self.power.save()),
            ("queue_error", self.queue_error.save()),
        ])
    }

    /// # Errors
    /// [`BadState`] for what cannot be.
    pub fn restore(&mut self, state: &Value) -> Result<(), BadState> {
        let mut fields = Fields::of(state)?;
        self.settings = fields.take("settings")?;
        self.smart = Smart { enabled: fields.take("smart")? };
        self.power = fields.take("power")?;
        self.queue_error = fields.take("queue_error")?;
        fields.end()
    }

    /// Does one command. See [`super::Drive::command`].
    ///
    /// # Errors
    /// [`Stop`].
    pub fn command(&mut self, taskfile: &mut Taskfile, host: &mut dyn Host) -> Result<End, Stop> {
        use Direction::{In, Out};
        let multiple = Way::Pio(u64::from(self.settings.multiple));
        match taskfile.command {
            0x20 | 0x21 => self.transfer(taskfile, host, In, Way::Pio(1), false),
            0x24 => self.transfer(taskfile, host, In, Way::Pio(1), true),
            0x25 => self.transfer(taskfile, host, In, Way::Dma, true),
            0xC8 | 0xC9 => self.transfer(taskfile, host, In, Way::Dma, false),
            0x30 | 0x31 => self.transfer(taskfile, host, Out, Way::Pio(1), false),
            0x34 => self.transfer(taskfile, host, Out, Way::Pio(1), true),
            0x35 | 0x3D => self.transfer(taskfile, host, Out, Way::Dma, true),
            0xCA | 0xCB => self.transfer(taskfile, host, Out, Way::Dma, false),
            0xC4 if self.settings.multiple > 0 => self.transfer(taskfile, host, In, multiple, false),
            0x29 if self.settings.multiple > 0 => self.transfer(taskfile, host, In, multiple, true),
            0xC5 if self.settings.multiple > 0 => self.transfer(taskfile, host, Out, multiple, false),
            0x39 | 0xCE if self.settings.multiple > 0 => self.transfer(taskfile, host, Out, multiple, true),
            0x60 | 0x61 if self.identity.serial_link => self.queued(taskfile, host),
            0x06 if self.identity.trim => self.data_set_management(taskfile, host),
            0x2F => self.read_log(taskfile, host, false),
            0x47 => self.read_log(taskfile, host, true),
            0xEC => {
                self.power = Power::Active;
                Self::answer(taskfile, host, identify::disk(self))
            }
            0xB0 => match self.smart.command(taskfile) {
                Answer::Data(data) => Self::answer(taskfile, host, data),
                Answer::Done => Ok(ended(taskfile, Ok(End::Interrupt))),
                Answer::Abort => Ok(ended(taskfile, Err(error::ABRT))),
            },
            _ => {
                let outcome = self.without_data(taskfile);
                Ok(ended(taskfile, outcome))
            }
        }
    }

    /// Hands over one block of data, and with it the command's end.
    fn answer(taskfile: &mut Taskfile, host: &mut dyn Host, data: Vec<u8>) -> Result<End, Stop> {
        taskfile.succeed();
        host.pio_in(data, Pio { block: SECTOR as usize, packet: false }, Some(taskfile))?;
        Ok(End::Told)
    }

    fn without_data(&mut self, taskfile: &mut Taskfile) -> Outcome {
        match taskfile.command {
            0x40 | 0x41 | 0x70 => self.verify(taskfile, false)?,
            0x42 => self.verify(taskfile, true)?,
            0x10..=0x1F => {}
            0x90 => {
                self.diagnose(taskfile);
                return Ok(End::Interrupt);
            }
            0x91 => self.set_geometry(taskfile)?,
            0xC6 => self.set_multiple(taskfile)?,
            0xE7 | 0xEA => self.flush()?,
            0xEF => self.set_features(taskfile)?,
            0xE0 | 0xE2 | 0xE6 | 0x94 | 0x96 | 0x99 => {
                self.flush()?;
                self.power = Power::Standby;
            }
            0xE1 | 0xE3 | 0x95 | 0x97 => self.power = Power::Idle,
            0xE5 | 0x98 => taskfile.count = self.power_mode(),
            0xF8 => self.native_size(taskfile, false),
            0x27 => self.native_size(taskfile, true),
            _ => return Err(error::ABRT),
        }
        Ok(End::Interrupt)
    }

    fn power_mode(&self) -> u16 {
        match self.power {
            Power::Active => 0xFF,
            Power::Idle => 0x80,
            Power::Standby => 0x00,
        }
    }

    /// READ NATIVE MAX ADDRESS: the last sector.
    fn native_size(&self, taskfile: &mut Taskfile, wide: bool) {
        let last = self.sectors().saturating_sub(1);
        if wide {
            taskfile.lba = last;
        } else {
            let last = last.min(0x0FFF_FFFF);
            taskfile.lba = last & 0xFF_FFFF;
            taskfile.device = taskfile.device & 0xF0 | (last >> 24) as u8;
        }
    }

    fn diagnose(&mut self, taskfile: &mut Taskfile) {
        (taskfile.count, taskfile.lba) = (SIGNATURE_COUNT, SIGNATURE_DISK);
        taskfile.device &= 0x10;
        taskfile.succeed();
        taskfile.error = 0x01; // no fault
    }

    fn set_geometry(&mut self, taskfile: &Taskfile) -> Result<(), u8> {
        let (heads, per_track) = (u64::from(taskfile.device & 0xF) + 1, u64::from(taskfile.count & 0xFF));
        if per_track == 0 {
            return Err(error::ABRT);
        }
        (self.settings.heads, self.settings.per_track) = (heads, per_track);
        Ok(())
    }

    fn set_multiple(&mut self, taskfile: &Taskfile) -> Result<(), u8> {
        let wanted = taskfile.count as u8;
        if wanted != 0 && (!wanted.is_power_of_two() || wanted > identify::MOST_MULTIPLE) {
            return Err(error::ABRT);
        }
        self.settings.multiple = wanted;
        Ok(())
    }

    fn set_features(&mut self, taskfile: &Taskfile) -> Result<(), u8> {
        match taskfile.features as u8 {
            0x02 => self.settings.write_cache = true,
            0x82 => {
                self.flush()?;
                self.settings.write_cache = false;
            }
            0x03 => self.settings.transfer_mode = transfer_mode(taskfile.count as u8)?,
            0x55 => self.settings.look_ahead = false,
            0xAA => self.settings.look_ahead = true,
            0x66 => self.settings.keep = true,
            0xCC => self.settings.keep = false,
            _ => return Err(error::ABRT),
        }
        Ok(())
    }

    fn flush(&self) -> Result<(), u8> {
        self.disk.flush().map_err(|_| error::ABRT)
    }

    /// A reset: by software unless the guest said to keep its settings, by the link always.
    pub fn reset(&mut self) {
        if !self.settings.keep {
            let mode = self.settings.transfer_mode;
            self.settings = Settings { transfer_mode: mode, ..Settings::new(self.sectors()) };
        }
        self.power = Power::Active;
        self.queue_error = None;
    }

    /// Where the sectors of a command are; the bits of the error register if there are none such.
    fn range(&self, taskfile: &Taskfile, wide: bool) -> Result<Range, u8> {
        let (first, count) = if wide {
            let count = u64::from(taskfile.count);
            (taskfile.lba, if count == 0 { 0x1_0000 } else { count })
        } else {
            let count = u64::from(taskfile.count & 0xFF);
            (self.narrow_address(taskfile)?, if count == 0 { 0x100 } else { count })
        };
        Range { first, count }.within(self.sectors())
    }

    /// 28 bits, or cylinder, head and sector.
    fn narrow_address(&self, taskfile: &Taskfile) -> Result<u64, u8> {
        let (low, head) = (taskfile.lba & 0xFF_FFFF, u64::from(taskfile.device & 0xF));
        if taskfile.device & DEVICE_LBA != 0 {
            return Ok(head << 24 | low);
        }
        let (cylinder, sector) = (low >> 8, low & 0xFF);
        let Settings { heads, per_track, .. } = self.settings;
        if sector == 0 || sector > per_track || head >= heads {
            return Err(error::IDNF);
        }
        Ok((cylinder * heads + head) * per_track + sector - 1)
    }

    // ---- what IDENTIFY tells --------------------------------------------------------------------

    pub fn sectors(&self) -> u64 {
        self.disk.size() / SECTOR
    }

    pub fn serial(&self) -> &str {
        &self.identity.serial
    }

    pub fn model(&self) -> &str {
        &self.identity.model
    }

    pub fn serial_link(&self) -> bool {
        self.identity.serial_link
    }

    pub fn can_trim(&self) -> bool {
        self.identity.trim
    }

    /// Heads, sectors a track.
    pub fn geometry(&self) -> (u64, u64) {
        (self.settings.heads, self.settings.per_track)
    }

    pub fn multiple(&self) -> u8 {
        self.settings.multiple
    }

    pub fn transfer_mode(&self) -> u8 {
        self.settings.transfer_mode
    }

    pub fn write_cache(&self) -> bool {
        self.settings.write_cache
    }

    pub fn look_ahead(&self) -> bool {
        self.settings.look_ahead
    }

    pub fn smart_enabled(&self) -> bool {
        self.smart.enabled
    }
}

/// PIO by default or flow-controlled, multiword DMA 0 to 2, Ultra DMA 0 to 5.
pub fn transfer_mode(mode: u8) -> Result<u8, u8> {
    match mode {
        0x00 | 0x01 | 0x08..=0x0C | 0x20..=0x22 | 0x40..=0x45 => Ok(mode),
        _ => Err(error::ABRT),
    }
}

/// Puts the outcome into the registers.
fn ended(taskfile: &mut Taskfile, outcome: Outcome) -> End {
    match outcome {
        // The self-test's answer is in the error register, without an error.
        Ok(_) if taskfile.command == 0x90 => {}
        Ok(_) => taskfile.succeed(),
        Err(bits) => taskfile.fail(bits),
    }
    End::Interrupt
}
