//! From registers and video memory to pixels, one scan line after the other, as the beam would draw them.
//!
//! A picture is taken of the registers; video memory is read while the guest goes on. Spec: as for the registers.
//! Left out: counting by two and by four character clocks (CRTC 14h bit 5, 17h bit 3), character and cursor skew,
//! the border.

mod graphics;
mod lines;
mod text;

use std::sync::atomic::Ordering;

use innkeeper_bus::memory::Ram;
use innkeeper_display::Text;

use super::dispi::Mode;
use super::memory::copy_out;
use super::registers::Registers;
use lines::{Line, Lines};

/// What a screen without a signal shows: black, this large.
const NO_SIGNAL: (u32, u32) = (640, 480);
/// Fewer dots or lines than these are no picture: timings that nobody programmed yet.
const LEAST: u32 = 64;

/// How the serialisers read the planes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Blank,
    Text,
    /// One bit from each plane.
    Planes,
    /// Two bits at a time from planes 0 and 1, and two more from 2 and 3: CGA's four colours.
    Pairs,
    /// A byte for each pixel, which is two dots wide.
    Bytes,
    /// A mode of the Bochs extensions, that of four bits per pixel included.
    Linear(Mode),
}

/// What blinks now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Phase {
    pub cursor: bool,
    pub characters: bool,
}

/// One moment's picture of the registers.
pub struct Picture<'a> {
    registers: Registers,
    memory: &'a Ram,
    kind: Kind,
    phase: Phase,
    lines: Lines,
    /// Colours of the 16 attributes, through palette and DAC.
    attributes: [u32; 16],
    /// Colours of the DAC itself.
    dac: [u32; 256],
}

impl<'a> Picture<'a> {
    pub fn new(registers: Registers, memory: &'a Ram, phase: Phase) -> Self {
        let kind = kind(&registers);
        let dac = dac(&registers);
        let attributes = attributes(&registers, &dac);
        let lines = if matches!(kind, Kind::Blank | Kind::Linear(_)) {
            Lines::none()
        } else {
            Lines::new(&registers)
        };
        Self { registers, memory, kind, phase, lines, attributes, dac }
    }

    /// Whether guests can change it without the chip's knowledge.
    pub fn is_linear(&self) -> bool {
        matches!(self.kind, Kind::Linear(mode) if mode.depth != 4)
    }

    pub fn size(&self) -> (u32, u32) {
        match self.kind {
            Kind::Linear(mode) => (mode.width, mode.height),
            Kind::Blank => timed_size(&self.registers).unwrap_or(NO_SIGNAL),
            _ => timed_size(&self.registers).expect("a picture without a size is blank"),
        }
    }

    /// Draws line `y` into `out`, which has the picture's width.
    pub fn draw(&self, y: u32, out: &mut [u32]) {
        match self.kind {
            Kind::Blank => out.fill(0),
            Kind::Linear(mode) => self.draw_linear(mode, y, out),
            _ => {
                let line = self.lines.at(y);
                match self.kind {
                    Kind::Text => self.draw_text(line, out),
                    _ => self.draw_planes(line, out),
                }
            }
        }
    }

    /// The four planes' bytes at an address of the CRTC's counter.
    fn cell(&self, counter: u32, row_scan: u32) -> [u8; 4] {
        let at = 4 * lines::memory_address(&self.registers, counter, row_scan) as usize;
        let mut cell = [0; 4];
        copy_out(self.memory, at, &mut cell);
        cell
    }

    fn byte(&self, at: usize) -> u8 {
        self.memory.bytes().get(at).map_or(0, |byte| byte.load(Ordering::Relaxed))
    }

    /// The characters, in a text mode.
    pub fn text(&self) -> Option<Text> {
        if self.kind != Kind::Text {
            return None;
        }
        let columns = u32::from(self.registers.crtc[1]) + 1;
        let (cursor_at, cursor_lines) = self.cursor_place();
        let mut text = Text { columns, ..Text::default() };
        for line in self.lines.first_of_rows() {
            for column in 0..columns {
                let counter = line.counter + column;
                let [character, attribute, ..] = self.cell(counter, 0);
                text.cells.push((character, attribute));
                if counter & 0xFFFF == cursor_at && !cursor_lines.is_empty() {
                    text.cursor = Some((column, text.rows));
                }
            }
            text.rows += 1;
        }
        Some(text)
    }
}

fn kind(registers: &Registers) -> Kind {
    if !registers.palette_on() || registers.sequencer[1] & 0x20 != 0 {
        return Kind::Blank;
    }
    if let Some(mode) = registers.dispi.mode() {
        return Kind::Linear(mode);
    }
    if timed_size(registers).is_none() {
        return Kind::Blank;
    }
    if registers.graphics[6] & 1 == 0 {
        return Kind::Text;
    }
    match registers.graphics[5] >> 5 & 3 {
        0 => Kind::Planes,
        1 => Kind::Pairs,
        _ => Kind::Bytes,
    }
}

/// Which of them are seen to blink at all, in this mode.
pub fn blinks(registers: &Registers) -> Phase {
    let text = kind(registers) == Kind::Text;
    Phase {
        cursor: text && registers.crtc[0xA] & 0x20 == 0,
        characters: text && registers.attribute[0x10] & 8 != 0,
    }
}

/// The size by the CRTC's timings, if they are a picture's.
fn timed_size(registers: &Registers) -> Option<(u32, u32)> {
    let cell = if registers.graphics[6] & 1 == 0 { registers.dots() } else { 8 };
    let cell = if registers.half_clock() { 2 * cell } else { cell };
    let width = (u32::from(registers.crtc[1]) + 1) * cell;
    let doubled = u32::from(registers.crtc[0x17] >> 2 & 1);
    let height = (registers.last_line() + 1) << doubled;
    (width >= LEAST && height >= LEAST).then_some((width, height))
}

fn dac(registers: &Registers) -> [u32; 256] {
    let wide = registers.dispi.wide_dac();
    let component = |value: u8| u32::from(if wide { value } else { value << 2 | value >> 4 & 3 });
    std::array::from_fn(|index| {
        let [red, green, blue] = registers.dac.colours[index & usize::from(registers.dac.mask)];
        component(red) << 16 | component(green) << 8 | component(blue)
    })
}

fn attributes(registers: &Registers, dac: &[u32; 256]) -> [u32; 16] {
    let [mode, select] = [registers.attribute[0x10], registers.attribute[0x14]];
    std::array::from_fn(|index| {
        let mut colour = registers.attribute[index & usize::from(registers.attribute[0x12])] & 0x3F;
        if mode & 0x80 != 0 {
            colour = colour & 0x0F | (select & 3) << 4;
        }
        dac[usize::from(colour | (select >> 2 & 3) << 6)]
    })
}
