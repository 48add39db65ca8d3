//! Either kind of drive, behind either controller.

use innkeeper_bus::state::{BadState, Fields, Value, map};

use super::cdrom::Cdrom;
use super::disk::AtaDisk;
use super::host::{End, Host, Stop};
use super::taskfile::{SIGNATURE_DISK, SIGNATURE_PACKET, Taskfile, error, status};

/// A drive.
pub enum Drive {
    Disk(AtaDisk),
    Cdrom(Box<Cdrom>),
}

impl Drive {
    /// Does one command; `taskfile` has its outcome afterwards.
    ///
    /// # Errors
    /// [`Stop::Gone`]: there is nobody to tell an outcome to.
    pub fn command(&mut self, taskfile: &mut Taskfile, host: &mut dyn Host) -> Result<End, Stop> {
        let end = match self {
            Self::Disk(disk) => disk.command(taskfile, host),
            Self::Cdrom(cdrom) => cdrom.command(taskfile, host),
        };
        match end {
            Err(Stop::Bus) => {
                taskfile.fail(error::ICRC | error::ABRT);
                Ok(End::Interrupt)
            }
            end => end,
        }
    }

    /// A reset by software, or by the link.
    pub fn reset(&mut self, hard: bool) {
        match self {
            Self::Disk(disk) => disk.reset(),
            Self::Cdrom(cdrom) => cdrom.reset(hard),
        }
    }

    /// What it remembers between two commands.
    pub fn state(&self) -> Value {
        match self {
            Self::Disk(disk) => map([("disk", disk.state())]),
            Self::Cdrom(cdrom) => map([("cdrom", cdrom.state())]),
        }
    }

    /// Takes on another drive's state.
    ///
    /// # Errors
    /// [`BadState`] for what cannot be.
    pub fn restore(&mut self, state: &Value) -> Result<(), BadState> {
        let mut fields = Fields::of(state)?;
        match self {
            Self::Disk(disk) => disk.restore(fields.value("disk")?),
            Self::Cdrom(cdrom) => cdrom.restore(fields.value("cdrom")?),
        }?;
        fields.end()
    }

    pub fn is_packet(&self) -> bool {
        matches!(self, Self::Cdrom(_))
    }

    /// LBA low, mid and high after a reset.
    pub fn signature(&self) -> u64 {
        if self.is_packet() { SIGNATURE_PACKET } else { SIGNATURE_DISK }
    }

    /// Status after a reset: packet devices are not "ready" before they are asked something.
    pub fn status_after_reset(&self) -> u8 {
        if self.is_packet() { 0 } else { status::READY }
    }
}
