//! ZRLE: tiles of 64 × 64, run lengths and palettes, all through one zlib stream.
//!
//! Spec: RFC 6143 7.7.6.

use super::format::{Packing, PixelFormat};
use super::palette::Palette;
use crate::{Frame, Rect};

const SIDE: u32 = 64;
const PALETTE_LIMIT: usize = 127;
const PACKED_LIMIT: usize = 16;
const RAW: u8 = 0;
const SOLID: u8 = 1;
const RUNS: u8 = 128;

/// Appends the tiles of a rectangle, not yet compressed.
pub fn tiles(frame: &Frame, rect: Rect, format: &PixelFormat, palette: &mut Palette, out: &mut Vec<u8>) {
    let packing = format.compact();
    let mut pixels = Vec::with_capacity((SIDE * SIDE) as usize);
    for y in (rect.y..rect.y + rect.height).step_by(SIDE as usize) {
        for x in (rect.x..rect.x + rect.width).step_by(SIDE as usize) {
            let width = SIDE.min(rect.x + rect.width - x);
            let height = SIDE.min(rect.y + rect.height - y);
            format.fetch(frame, (x, y, width, height), &mut pixels);
            let tile = Tile { pixels: &pixels, width: width as usize, format, packing };
            tile.encode(palette, out);
        }
    }
}

struct Tile<'a> {
    pixels: &'a [u32],
    width: usize,
    format: &'a PixelFormat,
    packing: Packing,
}

impl Tile<'_> {
    fn encode(&self, palette: &mut Palette, out: &mut Vec<u8>) {
        let few = palette.fill(self.pixels, PALETTE_LIMIT);
        let colours = palette.colours.len();
        if few && colours == 1 {
            out.push(SOLID);
            self.put(self.pixels[0], out);
            return;
        }
        let bytes = self.format.size(self.packing);
        let (mut runs, mut lengths, mut singles) = (0, 0, 0);
        for run in self.pixels.chunk_by(PartialEq::eq) {
            runs += 1;
            lengths += (run.len() - 1) / 255 + 1;
            singles += usize::from(run.len() == 1);
        }
        let raw = self.pixels.len() * bytes;
        let plain_runs = runs * bytes + lengths;
        let palette_runs = if few { colours * bytes + runs + lengths - singles } else { usize::MAX };
        let packed = if few && colours <= PACKED_LIMIT {
            colours * bytes + self.row_bytes(colours) * (self.pixels.len() / self.width)
        } else {
            usize::MAX
        };
        let best = raw.min(plain_runs).min(palette_runs).min(packed);
        if best == packed {
            self.packed(palette, out);
        } else if best == palette_runs {
            self.palette_runs(palette, out);
        } else if best == plain_runs {
            self.plain_runs(out);
        } else {
            out.push(RAW);
            self.format.put_all(self.pixels, self.packing, out);
        }
    }

    fn put(&self, value: u32, out: &mut Vec<u8>) {
        self.format.put(value, self.packing, out);
    }

    fn bits(colours: usize) -> usize {
        match colours {
            0..=2 => 1,
            3..=4 => 2,
            _ => 4,
        }
    }

    fn row_bytes(&self, colours: usize) -> usize {
        (self.width * Self::bits(colours)).div_ceil(8)
    }

    fn packed(&self, palette: &Palette, out: &mut Vec<u8>) {
        out.push(palette.colours.len() as u8);
        self.format.put_all(&palette.colours, self.packing, out);
        let bits = Self::bits(palette.colours.len());
        for row in self.pixels.chunks(self.width) {
            for group in row.chunks(8 / bits) {
                let first = 8 - bits;
                out.push(
                    (0..).zip(group).fold(0, |byte, (place, pixel)| {
                        byte | palette.number(*pixel) << (first - place * bits)
                    }),
                );
            }
        }
    }

    fn palette_runs(&self, palette: &Palette, out: &mut Vec<u8>) {
        out.push(RUNS + palette.colours.len() as u8);
        self.format.put_all(&palette.colours, self.packing, out);
        for run in self.pixels.chunk_by(PartialEq::eq) {
            let number = palette.number(run[0]);
            if run.len() == 1 {
                out.push(number);
            } else {
                out.push(number | RUNS);
                put_length(run.len(), out);
            }
        }
    }

    fn plain_runs(&self, out: &mut Vec<u8>) {
        out.push(RUNS);
        for run in self.pixels.chunk_by(PartialEq::eq) {
            self.put(run[0], out);
            put_length(run.len(), out);
        }
    }
}

/// One less than the length, in as many 255 as fit and a rest.
fn put_length(length: usize, out: &mut Vec<u8>) {
    let mut rest = length - 1;
    while rest >= 255 {
        out.push(255);
        rest -= 255;
    }
    out.push(rest as u8);
}
