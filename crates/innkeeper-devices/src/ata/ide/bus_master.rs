//! The bus master registers of a channel, and its walk through the guest's descriptors.
//!
//! Spec: Programming Interface for Bus Master IDE Controller 1.0, 2 and 3.

use innkeeper_bus::memory::GuestMemory;

pub const COMMAND: u64 = 0;
pub const STATUS: u64 = 2;
pub const TABLE: u64 = 4;

const COMMAND_START: u8 = 0x01;
const COMMAND_TO_MEMORY: u8 = 0x08;
const STATUS_ACTIVE: u8 = 0x01;
const STATUS_ERROR: u8 = 0x02;
const STATUS_INTERRUPT: u8 = 0x04;
const STATUS_CAPABLE: u8 = 0x60;
/// Bytes of a descriptor: address, length (0 is 64 KiB), and in the top bit whether it is the last.
const DESCRIPTOR: usize = 8;
const LAST: u32 = 1 << 31;
/// A table may not cross 64 KiB.
const MOST_DESCRIPTORS: u32 = 0x1_0000 / DESCRIPTOR as u32;

/// What is left of the current descriptor, and where the next one is.
#[derive(Clone, Copy, Debug, Default)]
struct Walk {
    next: u64,
    seen: u32,
    address: u64,
    left: u64,
    last: bool,
}

/// A piece of guest memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    pub address: u64,
    pub length: usize,
}

#[derive(Default)]
pub struct BusMaster {
    command: u8,
    status: u8,
    table: u32,
    walk: Walk,
}

innkeeper_bus::plain_struct!(Walk { next, seen, address, left, last } if Walk::is_sound);
innkeeper_bus::plain_struct!(BusMaster { command, status, table, walk });

impl Walk {
    fn is_sound(&self) -> bool {
        // Descriptors and what they name are below 4 GiB.
        self.next.max(self.address) <= 1 << 33 && self.left <= 0x1_0000 && self.seen <= MOST_DESCRIPTORS
    }
}

impl BusMaster {
    pub fn read(&self, offset: u64) -> u8 {
        match offset {
            COMMAND => self.command,
            STATUS => self.status,
            TABLE..=7 => self.table.to_le_bytes()[(offset - TABLE) as usize],
            _ => 0,
        }
    }

    /// Tells whether a transfer may begin now.
    pub fn write(&mut self, offset: u64, value: u8) -> bool {
        match offset {
            COMMAND => return self.write_command(value),
            STATUS => {
                let cleared = value & (STATUS_ERROR | STATUS_INTERRUPT);
                self.status = self.status & !cleared & !STATUS_CAPABLE | value & STATUS_CAPABLE;
            }
            TABLE..=7 => {
                let mut bytes = self.table.to_le_bytes();
                bytes[(offset - TABLE) as usize] = value;
                self.table = u32::from_le_bytes(bytes) & !3;
            }
            _ => {}
        }
        false
    }

    fn write_command(&mut self, value: u8) -> bool {
        let starts = value & !self.command & COMMAND_START != 0;
        self.command = value & (COMMAND_START | COMMAND_TO_MEMORY);
        if starts {
            self.walk = Walk { next: self.table.into(), ..Walk::default() };
            self.status |= STATUS_ACTIVE;
        } else if value & COMMAND_START == 0 {
            self.status &= !STATUS_ACTIVE;
        }
        starts
    }

    pub fn started(&self) -> bool {
        self.command & COMMAND_START != 0
    }

    /// Whether the guest told the controller this direction.
    pub fn goes(&self, to_memory: bool) -> bool {
        (self.command & COMMAND_TO_MEMORY != 0) == to_memory
    }

    /// The drive asks for an interrupt: all of its data is in memory by then.
    pub fn interrupt(&mut self) {
        self.status |= STATUS_INTERRUPT;
        if self.walk.last && self.walk.left == 0 {
            self.status &= !STATUS_ACTIVE;
        }
    }

    /// It could not go on.
    pub fn fail(&mut self) {
        self.status = (self.status | STATUS_ERROR) & !STATUS_ACTIVE;
    }

    /// The next piece of memory, of at most `most` bytes. `None` if the descriptors end, or are not in memory.
    pub fn next(&mut self, memory: &GuestMemory, most: usize) -> Option<Piece> {
        let walk = &mut self.walk;
        if walk.left == 0 {
            if walk.last || walk.seen == MOST_DESCRIPTORS {
                return None;
            }
            let mut bytes = [0; DESCRIPTOR];
            memory.read(walk.next, &mut bytes).ok()?;
            let [address, length] = [&bytes[..4], &bytes[4..]]
                .map(|half| u32::from_le_bytes(half.try_into().expect("four bytes")));
            walk.next += DESCRIPTOR as u64;
            walk.seen += 1;
            walk.address = u64::from(address & !1);
            walk.left = u64::from(length & 0xFFFE);
            walk.left = if walk.left == 0 { 0x1_0000 } else { walk.left };
            walk.last = length & LAST != 0;
        }
        let length = walk.left.min(most as u64);
        let piece = Piece { address: walk.address, length: length as usize };
        (walk.address, walk.left) = (walk.address + length, walk.left - length);
        Some(piece)
    }
}
