//! The registers of a command, as both front ends hand them over.
//!
//! Spec: ATA8-ACS, 6 (register definitions) and 7 (commands).

/// Status register.
pub mod status {
    pub const BSY: u8 = 0x80;
    pub const DRDY: u8 = 0x40;
    /// Device fault.
    pub const DF: u8 = 0x20;
    /// Seek complete, in drives of old; drivers of old wait for it.
    pub const DSC: u8 = 0x10;
    pub const DRQ: u8 = 0x08;
    pub const ERR: u8 = 0x01;
    /// What a disk that has nothing to do shows.
    pub const READY: u8 = DRDY | DSC;
}

/// Error register.
pub mod error {
    /// A DMA transfer by the host failed (its CRC, on a cable).
    pub const ICRC: u8 = 0x80;
    /// Uncorrectable data.
    pub const UNC: u8 = 0x40;
    /// The address is not found.
    pub const IDNF: u8 = 0x10;
    /// Aborted: the command is unknown or cannot be.
    pub const ABRT: u8 = 0x04;
}

/// Device register.
pub const DEVICE_LBA: u8 = 0x40;
pub const DEVICE_SELECT: u8 = 0x10;
/// What was always one in old drives.
pub const DEVICE_OBSOLETE: u8 = 0xA0;

/// Interrupt reason, in the count register of packet commands.
pub const REASON_COMMAND: u8 = 0x01;
pub const REASON_TO_HOST: u8 = 0x02;

/// What a drive says it is after a reset: count, LBA low, mid and high as the low bytes of `lba`.
pub const SIGNATURE_COUNT: u16 = 1;
pub const SIGNATURE_DISK: u64 = 0x00_00_01;
pub const SIGNATURE_PACKET: u64 = 0xEB_14_01;

/// The registers: as the guest wrote them when the command begins, as the guest reads them when it ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taskfile {
    pub command: u8,
    /// High bytes are what was written before, and count for 48-bit commands alone.
    pub features: u16,
    pub count: u16,
    /// 48 bits; of a 28-bit address bits 27 to 24 are in `device`.
    pub lba: u64,
    pub device: u8,
    pub status: u8,
    pub error: u8,
}

innkeeper_bus::plain_struct!(Taskfile { command, features, count, lba, device, status, error });

impl Taskfile {
    /// The command ended well.
    pub fn succeed(&mut self) {
        (self.status, self.error) = (status::READY, 0);
    }

    /// The command ended with these bits of the error register.
    pub fn fail(&mut self, bits: u8) {
        (self.status, self.error) = (status::READY | status::ERR, bits);
    }

    /// LBA mid and high: how many bytes a packet command's data block may have or has.
    pub fn byte_count(&self) -> u16 {
        (self.lba >> 8) as u16
    }

    pub fn set_byte_count(&mut self, bytes: u16) {
        self.lba = self.lba & !0xFF_FF00 | u64::from(bytes) << 8;
    }
}
