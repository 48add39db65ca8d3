//! The Bochs display interface: modes beyond VGA's, at ports 1CEh and 1CFh.
//!
//! Spec: Bochs's vbe.h as its user's guide and QEMU's docs/specs/standard-vga describe it, version B0C5h. Left out:
//! the 8-bit forms of access that Bochs also takes.

use std::ops::Range;

use innkeeper_bus::plain_struct;

/// Registers by index.
const ID: u16 = 0;
const X_RESOLUTION: u16 = 1;
const Y_RESOLUTION: u16 = 2;
const BITS_PER_PIXEL: u16 = 3;
const ENABLE: u16 = 4;
const BANK: u16 = 5;
const VIRTUAL_WIDTH: u16 = 6;
const VIRTUAL_HEIGHT: u16 = 7;
const X_OFFSET: u16 = 8;
const Y_OFFSET: u16 = 9;
const MEMORY_64K: u16 = 0xA;
/// How many there are.
pub const REGISTERS: u16 = 0xB;

const OLDEST_ID: u16 = 0xB0C0;
const NEWEST_ID: u16 = 0xB0C5;

/// Bits of [`ENABLE`].
const ENABLED: u16 = 0x01;
const CAPABILITIES: u16 = 0x02;
const WIDE_DAC: u16 = 0x20;
const KEEP_MEMORY: u16 = 0x80;

/// The largest picture in either direction: what a guest can make a viewer hold.
pub const LARGEST: u16 = 4096;
const DEEPEST: u16 = 32;

#[derive(Clone)]
pub struct Dispi {
    index: u16,
    id: u16,
    width: u16,
    height: u16,
    depth: u16,
    enable: u16,
    bank: u16,
    virtual_width: u16,
    x: u16,
    y: u16,
    memory_bytes: u32,
}

/// A mode that is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mode {
    pub width: u32,
    pub height: u32,
    pub depth: u32,
    /// Bytes from a line to the next; in 4 bits per pixel, of each plane.
    pub pitch: u32,
    /// Where the picture begins, likewise.
    pub start: u32,
    /// Pixels of the first byte that are not shown, in 4 bits per pixel.
    pub pan: u32,
}

impl Mode {
    /// Where the picture is in video memory, where that is linear.
    pub fn bytes(&self) -> Range<u64> {
        let shown = u64::from(self.width) * u64::from(self.depth.div_ceil(8));
        let start = u64::from(self.start);
        start..start + u64::from(self.height - 1) * u64::from(self.pitch) + shown
    }
}

plain_struct!(Dispi {
    index, id, width, height, depth, enable, bank, virtual_width, x, y, memory_bytes,
} if Dispi::is_sound);

impl Dispi {
    fn is_sound(&self) -> bool {
        (OLDEST_ID..=NEWEST_ID).contains(&self.id)
            && self.width.max(self.height) <= LARGEST
            && self.width.is_multiple_of(8)
            && matches!(self.depth, 4 | 8 | 15 | 16 | 24 | 32)
            && (self.bank == 0 || u32::from(self.bank) << 16 < self.memory_bytes)
    }

    pub fn memory_bytes(&self) -> u32 {
        self.memory_bytes
    }

    pub fn new(memory_bytes: u32) -> Self {
        Self {
            index: 0,
            id: NEWEST_ID,
            width: 0,
            height: 0,
            depth: 8,
            enable: 0,
            bank: 0,
            virtual_width: 0,
            x: 0,
            y: 0,
            memory_bytes,
        }
    }

    pub fn select(&mut self, index: u16) {
        self.index = index;
    }

    pub fn index(&self) -> u16 {
        self.index
    }

    /// Whether the DAC has eight bits for each component.
    pub fn wide_dac(&self) -> bool {
        self.enable & WIDE_DAC != 0
    }

    /// Where the window at A0000h lies in video memory, if it is not VGA's.
    pub fn bank_start(&self) -> Option<u32> {
        self.mode().map(|_| u32::from(self.bank) << 16)
    }

    /// The mode, if one is on and lies in video memory.
    pub fn mode(&self) -> Option<Mode> {
        if self.enable & ENABLED == 0 {
            return None;
        }
        let (width, height, depth) = (u32::from(self.width), u32::from(self.height), u32::from(self.depth));
        let (pitch, left) = self.pitch_and_left();
        let memory = if depth == 4 { self.memory_bytes / 4 } else { self.memory_bytes };
        let start = u64::from(self.y) * u64::from(pitch) + u64::from(left);
        let shown = (u64::from(width) * u64::from(depth.next_multiple_of(8))).div_ceil(8);
        let last = start + u64::from(height.max(1) - 1) * u64::from(pitch) + shown.min(u64::from(pitch));
        let exists = width > 0 && height > 0 && last <= u64::from(memory);
        let pan = if depth == 4 { u32::from(self.x) % 8 } else { 0 };
        exists.then_some(Mode { width, height, depth, pitch, start: start as u32, pan })
    }

    /// Bytes of a line, and where in it the picture begins.
    fn pitch_and_left(&self) -> (u32, u32) {
        let virtual_width = u32::from(self.virtual_width.max(self.width));
        match self.depth {
            4 => (virtual_width.div_ceil(8), u32::from(self.x) / 8),
            depth => {
                let bytes = u32::from(depth).div_ceil(8);
                (virtual_width * bytes, u32::from(self.x) * bytes)
            }
        }
    }

    fn virtual_height(&self) -> u16 {
        let (pitch, _) = self.pitch_and_left();
        let memory = if self.depth == 4 { self.memory_bytes / 4 } else { self.memory_bytes };
        u16::try_from(memory / pitch.max(1)).unwrap_or(u16::MAX)
    }

    pub fn read(&self, index: u16) -> u16 {
        let asks = self.enable & CAPABILITIES != 0;
        match index {
            ID => self.id,
            X_RESOLUTION | Y_RESOLUTION if asks => LARGEST,
            BITS_PER_PIXEL if asks => DEEPEST,
            X_RESOLUTION => self.width,
            Y_RESOLUTION => self.height,
            BITS_PER_PIXEL => self.depth,
            ENABLE => self.enable,
            BANK => self.bank,
            VIRTUAL_WIDTH => self.virtual_width,
            VIRTUAL_HEIGHT if self.enable & ENABLED != 0 => self.virtual_height(),
            X_OFFSET => self.x,
            Y_OFFSET => self.y,
            MEMORY_64K => (self.memory_bytes >> 16) as u16,
            _ => 0,
        }
    }

    /// Writes a register; gives how many bytes of video memory are to be zeroed, from the start.
    pub fn write(&mut self, index: u16, value: u16) -> usize {
        match index {
            ID if (OLDEST_ID..=NEWEST_ID).contains(&value) => self.id = value,
            X_RESOLUTION if value <= LARGEST => self.width = value & !7,
            Y_RESOLUTION if value <= LARGEST => self.height = value,
            BITS_PER_PIXEL if value == 0 => self.depth = 8,
            BITS_PER_PIXEL if matches!(value, 4 | 8 | 15 | 16 | 24 | 32) => self.depth = value,
            BANK if u32::from(value) << 16 < self.memory_bytes => self.bank = value,
            ENABLE => return self.switch(value),
            VIRTUAL_WIDTH if value >= self.width => self.virtual_width = value,
            X_OFFSET => self.x = value,
            Y_OFFSET => self.y = value,
            _ => {}
        }
        0
    }

    fn switch(&mut self, value: u16) -> usize {
        let comes_on = value & !self.enable & ENABLED != 0;
        self.enable = value;
        if comes_on {
            (self.x, self.y, self.bank, self.virtual_width) = (0, 0, 0, self.width);
        }
        match self.mode() {
            Some(mode) if comes_on && value & KEEP_MEMORY == 0 => {
                let bytes = mode.pitch * mode.height * if mode.depth == 4 { 4 } else { 1 };
                bytes.min(self.memory_bytes) as usize
            }
            _ => 0,
        }
    }
}
