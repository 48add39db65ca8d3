//! Which memory each scan line shows: the CRTC's row-scan and address counters, and its split screen.

use super::super::memory::PLANE_BYTES;
use super::super::registers::Registers;

/// A scan line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// The address counter at its first character.
    pub counter: u32,
    pub row_scan: u32,
    /// Dots that are shifted out of sight at the left, as the register says.
    pub pan: u8,
    /// The first line of a row of characters, or of what is left of it.
    pub begins_row: bool,
}

/// All of them.
pub struct Lines {
    lines: Vec<Line>,
    doubled: u32,
}

impl Lines {
    pub fn none() -> Self {
        Self { lines: Vec::new(), doubled: 0 }
    }

    pub fn new(registers: &Registers) -> Self {
        let crtc = &registers.crtc;
        let last_scan = u32::from(crtc[9] & 0x1F);
        let repeats = if crtc[9] & 0x80 != 0 { 2 } else { 1 };
        let offset = 2 * u32::from(crtc[0x13]);
        let start = u32::from(crtc[0xC]) << 8 | u32::from(crtc[0xD]);
        let mut row = start + u32::from(crtc[8] >> 5 & 3);
        let (mut row_scan, mut repeat) = (u32::from(crtc[8] & 0x1F), 0);
        let mut pan = registers.attribute[0x13];
        let mut begins_row = true;
        let mut lines = Vec::with_capacity(registers.last_line() as usize + 1);
        for y in 0..=registers.last_line() {
            lines.push(Line { counter: row, row_scan, pan, begins_row });
            begins_row = false;
            repeat += 1;
            if repeat >= repeats {
                repeat = 0;
                row_scan = (row_scan + 1) & 0x1F;
                if row_scan == (last_scan + 1) & 0x1F {
                    (row_scan, begins_row) = (0, true);
                    row += offset;
                }
            }
            if y == line_compare(registers) {
                (row, row_scan, repeat, begins_row) = (0, 0, 0, true);
                if registers.attribute[0x10] & 0x20 != 0 {
                    pan =
                        if registers.sequencer[1] & 1 == 0 && registers.graphics[6] & 1 == 0 { 8 } else { 0 };
                }
            }
        }
        Self { lines, doubled: u32::from(crtc[0x17] >> 2 & 1) }
    }

    pub fn at(&self, y: u32) -> Line {
        self.lines[(y >> self.doubled) as usize]
    }

    pub fn first_of_rows(&self) -> impl Iterator<Item = &Line> {
        self.lines.iter().filter(|line| line.begins_row)
    }
}

fn line_compare(registers: &Registers) -> u32 {
    let crtc = &registers.crtc;
    u32::from(crtc[0x18]) | u32::from(crtc[7] & 0x10) << 4 | u32::from(crtc[9] & 0x40) << 3
}

/// Where in the planes a value of the address counter lies: byte, word and doubleword modes, and the row-scan bits
/// that CGA and Hercules put in their place.
pub fn memory_address(registers: &Registers, counter: u32, row_scan: u32) -> u32 {
    let mode = registers.crtc[0x17];
    let mut address = if registers.crtc[0x14] & 0x40 != 0 {
        counter << 2 | counter >> 14 & 3
    } else if mode & 0x40 == 0 {
        let wrap = if mode & 0x20 != 0 { 15 } else { 13 };
        counter << 1 | counter >> wrap & 1
    } else {
        counter
    };
    if mode & 1 == 0 {
        address = address & !(1 << 13) | (row_scan & 1) << 13;
    }
    if mode & 2 == 0 {
        address = address & !(1 << 14) | (row_scan >> 1 & 1) << 14;
    }
    address & (PLANE_BYTES - 1)
}
