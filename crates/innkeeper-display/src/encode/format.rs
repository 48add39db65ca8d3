//! A viewer's pixels: the format that it asked for, and the bytes they become.
//!
//! Spec: RFC 6143 7.4. Left out: colour maps, which are refused; every viewer since the nineties takes true colour.

use crate::Frame;

/// `0x00RRGGBB` → the viewer's pixel value → bytes.
#[derive(Clone, Debug)]
pub struct PixelFormat {
    bytes: usize,
    depth: u8,
    big_endian: bool,
    shifts: [u8; 3],
    max: [u16; 3],
    /// The contribution of each red, green and blue to a pixel's value.
    tables: Box<[[u32; 256]; 3]>,
}

/// How a pixel's value is written within an encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// All bytes of it.
    Whole,
    /// The three least significant of four.
    LowThree,
    /// The three most significant of four.
    HighThree,
    /// Red, green and blue, a byte each.
    Rgb,
}

impl Default for PixelFormat {
    /// What a server offers: 32 bits, little-endian, `0x00RRGGBB`.
    fn default() -> Self {
        Self::new(32, 24, false, [255; 3], [16, 8, 0])
    }
}

impl PixelFormat {
    fn new(bits: u8, depth: u8, big_endian: bool, max: [u16; 3], shifts: [u8; 3]) -> Self {
        let mut tables = Box::new([[0; 256]; 3]);
        for (table, (max, shift)) in tables.iter_mut().zip(max.iter().zip(shifts)) {
            for (value, entry) in (0u32..).zip(table) {
                *entry = ((value * u32::from(*max) + 127) / 255) << shift;
            }
        }
        Self { bytes: usize::from(bits / 8), depth, big_endian, shifts, max, tables }
    }

    /// Reads the sixteen bytes of a PIXEL_FORMAT; says what is wrong with one that cannot be.
    pub fn parse(bytes: &[u8; 16]) -> Result<Self, &'static str> {
        let [bits, depth, big_endian, true_colour, ..] = *bytes;
        let word = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
        let (max, shifts) = ([word(4), word(6), word(8)], [bytes[10], bytes[11], bytes[12]]);
        if !matches!(bits, 8 | 16 | 32) {
            return Err("its pixels have neither 8, 16 nor 32 bits");
        }
        if true_colour == 0 {
            return Err("it asks for a colour map; only true colour is offered");
        }
        for (max, shift) in max.iter().zip(shifts) {
            if max & (max.wrapping_add(1)) != 0 || u32::from(shift) + max.count_ones() > u32::from(bits) {
                return Err("its colours do not fit into a pixel");
            }
        }
        Ok(Self::new(bits, depth, big_endian != 0, max, shifts))
    }

    /// Bytes of a whole pixel.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The viewer's value of a frame's pixel.
    pub fn value(&self, pixel: u32) -> u32 {
        let [_, red, green, blue] = pixel.to_be_bytes();
        self.tables[0][usize::from(red)]
            | self.tables[1][usize::from(green)]
            | self.tables[2][usize::from(blue)]
    }

    fn is_identity(&self) -> bool {
        self.max == [255; 3] && self.shifts == [16, 8, 0]
    }

    /// Part of a frame in the viewer's values, row by row; black where the frame ends.
    pub fn fetch(&self, frame: &Frame, (x, y, width, height): (u32, u32, u32, u32), out: &mut Vec<u32>) {
        out.clear();
        let shown = frame.width.saturating_sub(x).min(width) as usize;
        for row in y..y + height {
            let begin = out.len();
            if row < frame.height && shown > 0 {
                let at = row as usize * frame.width as usize + x as usize;
                let pixels = &frame.pixels[at..at + shown];
                if self.is_identity() {
                    out.extend(pixels.iter().map(|pixel| pixel & 0xFF_FFFF));
                } else {
                    out.extend(pixels.iter().map(|pixel| self.value(*pixel)));
                }
            }
            out.resize(begin + width as usize, 0);
        }
    }

    /// A CPIXEL of ZRLE: three bytes where they hold all there is.
    pub fn compact(&self) -> Packing {
        if self.bytes != 4 || self.depth > 24 {
            return Packing::Whole;
        }
        let used =
            self.max.iter().zip(self.shifts).fold(0u32, |all, (max, shift)| all | u32::from(*max) << shift);
        if used & 0xFF00_0000 == 0 {
            Packing::LowThree
        } else if used & 0xFF == 0 {
            Packing::HighThree
        } else {
            Packing::Whole
        }
    }

    /// A TPIXEL of Tight.
    pub fn tight(&self) -> Packing {
        if self.bytes == 4 && self.depth == 24 && self.max == [255; 3] {
            Packing::Rgb
        } else {
            Packing::Whole
        }
    }

    /// Appends one pixel.
    pub fn put(&self, value: u32, packing: Packing, out: &mut Vec<u8>) {
        let (little, big) = (value.to_le_bytes(), value.to_be_bytes());
        match (packing, self.big_endian) {
            (Packing::Whole, false) => out.extend_from_slice(&little[..self.bytes]),
            (Packing::Whole, true) => out.extend_from_slice(&big[4 - self.bytes..]),
            (Packing::LowThree, false) => out.extend_from_slice(&little[..3]),
            (Packing::LowThree, true) => out.extend_from_slice(&big[1..]),
            (Packing::HighThree, false) => out.extend_from_slice(&little[1..]),
            (Packing::HighThree, true) => out.extend_from_slice(&big[..3]),
            (Packing::Rgb, _) => out.extend(self.shifts.map(|shift| (value >> shift) as u8)),
        }
    }

    /// Appends pixels one after the other.
    pub fn put_all(&self, values: &[u32], packing: Packing, out: &mut Vec<u8>) {
        out.reserve(values.len() * self.size(packing));
        match (packing, self.bytes, self.big_endian) {
            (Packing::Whole, 4, false) => out.extend(values.iter().flat_map(|value| value.to_le_bytes())),
            (Packing::Rgb, ..) => {
                let [red, green, blue] = self.shifts;
                out.extend(
                    values.iter().flat_map(|v| [(v >> red) as u8, (v >> green) as u8, (v >> blue) as u8]),
                );
            }
            _ => values.iter().for_each(|value| self.put(*value, packing, out)),
        }
    }

    /// Bytes of a packed pixel.
    pub fn size(&self, packing: Packing) -> usize {
        if packing == Packing::Whole { self.bytes } else { 3 }
    }
}
