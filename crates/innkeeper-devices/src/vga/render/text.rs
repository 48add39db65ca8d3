//! Characters: fonts in plane 2, attributes, the cursor, underlines and what blinks.

use std::ops::Range;

use super::{Line, Picture};

/// Where the eight fonts begin in plane 2, by map number.
const FONTS: [usize; 8] = [0x0000, 0x4000, 0x8000, 0xC000, 0x2000, 0x6000, 0xA000, 0xE000];
/// Bytes between two glyphs.
const GLYPH_BYTES: usize = 32;
/// Their ninth dot repeats the eighth, so that boxes have no gaps.
const LINE_GRAPHICS: std::ops::RangeInclusive<u8> = 0xC0..=0xDF;

impl Picture<'_> {
    /// The counter's value at the cursor, and its scan lines: none if it is off.
    pub(super) fn cursor_place(&self) -> (u32, Range<u32>) {
        let crtc = &self.registers.crtc;
        let place = u32::from(crtc[0xE]) << 8 | u32::from(crtc[0xF]);
        let (start, end) = (u32::from(crtc[0xA] & 0x1F), u32::from(crtc[0xB] & 0x1F));
        let off = crtc[0xA] & 0x20 != 0 || start > end;
        (place, if off { 0..0 } else { start..end + 1 })
    }

    /// Where the fonts of attribute bit 3 clear and set begin.
    fn fonts(&self) -> [usize; 2] {
        let select = usize::from(self.registers.sequencer[3]);
        [select & 3 | select >> 2 & 4, select >> 2 & 3 | select >> 3 & 4].map(|map| FONTS[map])
    }

    pub(super) fn draw_text(&self, line: Line, out: &mut [u32]) {
        let dots = self.registers.dots() as usize;
        let wide = if self.registers.half_clock() { 2 } else { 1 };
        let pan = usize::from(line.pan & 0xF);
        let shift = match (dots, pan) {
            (9, 8..) => 0,
            (9, pan) => pan + 1,
            (_, pan) => pan & 7,
        };
        let width = out.len();
        let fonts = self.fonts();
        let cells = width.div_ceil(wide * dots) + usize::from(shift > 0);
        for column in 0..cells {
            let glyph = self.glyph(line, column as u32, dots, fonts);
            let (ink, paper) = glyph.colours;
            for dot in 0..dots {
                let Some(at) = (column * dots + dot).checked_sub(shift) else { continue };
                let colour = if glyph.bits >> (8 - dot) & 1 != 0 { ink } else { paper };
                let end = (wide * (at + 1)).min(width);
                if let Some(pixels) = out.get_mut(wide * at..end) {
                    pixels.fill(colour);
                }
            }
        }
    }

    fn glyph(&self, line: Line, column: u32, dots: usize, fonts: [usize; 2]) -> Glyph {
        let registers = &self.registers;
        let counter = line.counter + column;
        let [character, attribute, ..] = self.cell(counter, line.row_scan);
        let font = fonts[usize::from(attribute >> 3 & 1)];
        let at = font + GLYPH_BYTES * usize::from(character) + line.row_scan as usize;
        let mut bits = u16::from(self.byte(4 * at + 2)) << 1;
        let repeats = registers.attribute[0x10] & 4 != 0 && LINE_GRAPHICS.contains(&character);
        if dots == 9 && repeats {
            bits |= bits >> 1 & 1;
        }
        let underlined = attribute & 0x77 == 0x01 && line.row_scan == u32::from(registers.crtc[0x14] & 0x1F);
        if underlined {
            bits = 0x1FF;
        }
        let blinks = registers.attribute[0x10] & 8 != 0;
        if blinks && attribute & 0x80 != 0 && !self.phase.characters {
            bits = 0;
        }
        let (place, lines) = self.cursor_place();
        if self.phase.cursor && counter & 0xFFFF == place && lines.contains(&line.row_scan) {
            bits = 0x1FF;
        }
        let paper = attribute >> 4 & if blinks { 7 } else { 15 };
        let colours = [attribute & 15, paper].map(|index| self.attributes[usize::from(index)]);
        Glyph { bits, colours: colours.into() }
    }
}

/// One line of a character: nine dots, the leftmost highest.
struct Glyph {
    bits: u16,
    colours: (u32, u32),
}
