//! One drive's registers, as the guest reads and writes them: each of the addressed ones is two bytes deep.

use super::super::taskfile::{DEVICE_OBSOLETE, SIGNATURE_COUNT, Taskfile};

/// Offsets in the command block.
pub const DATA: u64 = 0;
pub const ERROR_FEATURES: u64 = 1;
pub const COUNT: u64 = 2;
pub const LBA_LOW: u64 = 3;
pub const LBA_MID: u64 = 4;
pub const LBA_HIGH: u64 = 5;
pub const DEVICE: u64 = 6;
pub const STATUS_COMMAND: u64 = 7;

/// A byte, and what was written before it.
#[derive(Clone, Copy, Default)]
struct Deep {
    now: u8,
    before: u8,
}

innkeeper_bus::plain_struct!(Deep { now, before });
innkeeper_bus::plain_struct!(Registers { features, count, lba, device, status, error });

impl Deep {
    fn push(&mut self, value: u8) {
        *self = Self { now: value, before: self.now };
    }

    fn get(self, before: bool) -> u8 {
        if before { self.before } else { self.now }
    }

    fn word(self) -> u16 {
        u16::from(self.before) << 8 | u16::from(self.now)
    }

    fn set_word(&mut self, value: u16) {
        *self = Self { now: value as u8, before: (value >> 8) as u8 };
    }
}

#[derive(Clone, Copy, Default)]
pub struct Registers {
    features: Deep,
    count: Deep,
    lba: [Deep; 3],
    pub device: u8,
    pub status: u8,
    pub error: u8,
}

impl Registers {
    /// Reads any of them but data; `before` is the HOB bit.
    pub fn read(&self, offset: u64, before: bool) -> u8 {
        match offset {
            ERROR_FEATURES => self.error,
            COUNT => self.count.get(before),
            LBA_LOW | LBA_MID | LBA_HIGH => self.lba[(offset - LBA_LOW) as usize].get(before),
            DEVICE => self.device | DEVICE_OBSOLETE,
            _ => self.status,
        }
    }

    /// Writes any of them but data and command.
    pub fn write(&mut self, offset: u64, value: u8) {
        match offset {
            ERROR_FEATURES => self.features.push(value),
            COUNT => self.count.push(value),
            LBA_LOW | LBA_MID | LBA_HIGH => self.lba[(offset - LBA_LOW) as usize].push(value),
            DEVICE => self.device = value,
            _ => {}
        }
    }

    /// A command's registers.
    pub fn taskfile(&self, command: u8) -> Taskfile {
        let byte = |i: usize, before, shift: u32| u64::from(self.lba[i].get(before)) << shift;
        let low = byte(0, false, 0) | byte(1, false, 8) | byte(2, false, 16);
        Taskfile {
            command,
            features: self.features.word(),
            count: self.count.word(),
            lba: low | byte(0, true, 24) | byte(1, true, 32) | byte(2, true, 40),
            device: self.device,
            status: self.status,
            error: self.error,
        }
    }

    /// Shows what a command left.
    pub fn show(&mut self, taskfile: &Taskfile) {
        let selected = self.device & 0x10;
        self.count.set_word(taskfile.count);
        for (i, deep) in self.lba.iter_mut().enumerate() {
            let byte = |shift: usize| (taskfile.lba >> shift) as u8;
            *deep = Deep { now: byte(8 * i), before: byte(24 + 8 * i) };
        }
        self.device = taskfile.device & !0x10 | selected;
        (self.status, self.error) = (taskfile.status, taskfile.error);
    }

    /// The interrupt reason and the length of a block of packet data.
    pub fn show_block(&mut self, reason: u8, bytes: u16) {
        self.count.now = reason;
        (self.lba[1].now, self.lba[2].now) = (bytes as u8, (bytes >> 8) as u8);
    }

    /// What is there after a reset: the drive's signature.
    pub fn sign(&mut self, signature: u64, status: u8) {
        let device = self.device & 0x10;
        *self = Self { device, status, error: 0x01, ..Self::default() };
        self.count.set_word(SIGNATURE_COUNT);
        for (i, deep) in self.lba.iter_mut().enumerate() {
            deep.now = (signature >> (8 * i)) as u8;
        }
    }
}
