//! Tight: single colours, palettes and full colour through four zlib streams, and JPEG where a viewer allows loss.
//!
//! Spec: the RFB community's "Tight Encoding". Left out: the gradient filter, and resetting streams.

use jpeg_encoder::{ColorType, Encoder as Jpeg};

use super::format::{Packing, PixelFormat};
use super::palette::Palette;
use super::zlib::Stream;
use crate::{Frame, Rect};

/// Small enough for most tiles of a desktop to have few colours, large enough for headers not to matter.
const TILE_WIDTH: u32 = 256;
const TILE_HEIGHT: u32 = 64;
const FILL: u8 = 0x80;
const JPEG: u8 = 0x90;
const WITH_FILTER: u8 = 0x40;
const FILTER_PALETTE: u8 = 1;
const FULL_COLOUR: usize = 0;
const TWO_COLOURS: usize = 1;
const MANY_COLOURS: usize = 2;
/// Fewer bytes than these are sent as they are.
const LEAST_COMPRESSED: usize = 12;
/// Pictures with fewer colours are drawings, which JPEG spoils.
const JPEG_COLOURS: usize = 96;
const JPEG_PIXELS: usize = 256;

/// The streams of one viewer.
#[derive(Default)]
pub struct Tight {
    streams: [Option<Stream>; 3],
    pixels: Vec<u32>,
    plain: Vec<u8>,
    packed: Vec<u8>,
}

/// How a viewer wants it.
#[derive(Clone, Copy)]
pub struct Wishes {
    pub level: u32,
    /// JPEG's 1 to 100; none where every pixel shall be exact.
    pub quality: Option<u8>,
}

/// The parts into which a rectangle is cut, each a rectangle of its own to the viewer.
pub fn parts(rect: Rect) -> impl Iterator<Item = Rect> {
    let rows = (rect.y..rect.y + rect.height).step_by(TILE_HEIGHT as usize);
    rows.flat_map(move |y| {
        (rect.x..rect.x + rect.width).step_by(TILE_WIDTH as usize).map(move |x| Rect {
            x,
            y,
            width: TILE_WIDTH.min(rect.x + rect.width - x),
            height: TILE_HEIGHT.min(rect.y + rect.height - y),
        })
    })
}

impl Tight {
    /// Appends one part.
    pub fn encode(
        &mut self,
        frame: &Frame,
        part: Rect,
        format: &PixelFormat,
        palette: &mut Palette,
        wishes: Wishes,
        out: &mut Vec<u8>,
    ) {
        let mut pixels = std::mem::take(&mut self.pixels);
        format.fetch(frame, (part.x, part.y, part.width, part.height), &mut pixels);
        let packing = format.tight();
        // A byte a pixel is what a palette would cost, too.
        let most = if format.bytes() == 1 { 2 } else { 256.min(pixels.len() / 2).max(2) };
        let few = palette.fill(&pixels, most);
        match (palette.colours.len(), wishes.quality) {
            (1, _) if few => {
                out.push(FILL);
                format.put(pixels[0], packing, out);
            }
            (2, _) if few => {
                self.two_colours(&pixels, part.width as usize, format, palette, wishes.level, out)
            }
            (colours, Some(quality))
                if (!few || colours > JPEG_COLOURS) && pixels.len() >= JPEG_PIXELS && format.bytes() > 1 =>
            {
                self.jpeg(frame, part, quality, out);
            }
            _ if few => self.many_colours(&pixels, format, palette, wishes.level, out),
            _ => {
                out.push((FULL_COLOUR << 4) as u8);
                let mut plain = self.take_plain();
                format.put_all(&pixels, packing, &mut plain);
                self.put_compressed(FULL_COLOUR, plain, wishes.level, out);
            }
        }
        self.pixels = pixels;
    }

    fn put_palette(
        stream: usize,
        format: &PixelFormat,
        palette: &Palette,
        packing: Packing,
        out: &mut Vec<u8>,
    ) {
        out.push((stream << 4) as u8 | WITH_FILTER);
        out.push(FILTER_PALETTE);
        out.push((palette.colours.len() - 1) as u8);
        format.put_all(&palette.colours, packing, out);
    }

    fn two_colours(
        &mut self,
        pixels: &[u32],
        width: usize,
        format: &PixelFormat,
        palette: &Palette,
        level: u32,
        out: &mut Vec<u8>,
    ) {
        Self::put_palette(TWO_COLOURS, format, palette, format.tight(), out);
        let second = palette.colours[1];
        let mut plain = self.take_plain();
        for row in pixels.chunks(width) {
            plain.extend(row.chunks(8).map(|group| {
                (0..)
                    .zip(group)
                    .fold(0u8, |byte, (place, pixel)| byte | u8::from(*pixel == second) << (7 - place))
            }));
        }
        self.put_compressed(TWO_COLOURS, plain, level, out);
    }

    fn many_colours(
        &mut self,
        pixels: &[u32],
        format: &PixelFormat,
        palette: &Palette,
        level: u32,
        out: &mut Vec<u8>,
    ) {
        Self::put_palette(MANY_COLOURS, format, palette, format.tight(), out);
        let mut plain = self.take_plain();
        for run in pixels.chunk_by(PartialEq::eq) {
            plain.resize(plain.len() + run.len(), palette.number(run[0]));
        }
        self.put_compressed(MANY_COLOURS, plain, level, out);
    }

    fn take_plain(&mut self) -> Vec<u8> {
        let mut plain = std::mem::take(&mut self.plain);
        plain.clear();
        plain
    }

    fn put_compressed(&mut self, stream: usize, plain: Vec<u8>, level: u32, out: &mut Vec<u8>) {
        if plain.len() < LEAST_COMPRESSED {
            out.extend_from_slice(&plain);
        } else {
            self.packed.clear();
            self.streams[stream].get_or_insert_with(|| Stream::new(level)).compress(&plain, &mut self.packed);
            put_length(self.packed.len(), out);
            out.extend_from_slice(&self.packed);
        }
        self.plain = plain;
    }

    fn jpeg(&mut self, frame: &Frame, part: Rect, quality: u8, out: &mut Vec<u8>) {
        let mut plain = self.take_plain();
        for y in part.y..part.y + part.height {
            for x in part.x..part.x + part.width {
                let inside = x < frame.width && y < frame.height;
                let pixel =
                    if inside { frame.pixels[y as usize * frame.width as usize + x as usize] } else { 0 };
                plain.extend_from_slice(&pixel.to_be_bytes()[1..]);
            }
        }
        self.packed.clear();
        // A part's sides are within JPEG's limits, and a vector takes every byte: there is nothing to fail.
        let encoder = Jpeg::new(&mut self.packed, quality);
        encoder
            .encode(&plain, part.width as u16, part.height as u16, ColorType::Rgb)
            .expect("a part of at most 256 × 64 pixels can be a JPEG");
        out.push(JPEG);
        put_length(self.packed.len(), out);
        out.extend_from_slice(&self.packed);
        self.plain = plain;
    }
}

/// Seven bits a byte, the lowest first, the top bit where more follow; the third byte has eight.
fn put_length(length: usize, out: &mut Vec<u8>) {
    debug_assert!(length < 1 << 22);
    if length < 1 << 7 {
        out.push(length as u8);
    } else if length < 1 << 14 {
        out.extend([length as u8 & 0x7F | 0x80, (length >> 7) as u8]);
    } else {
        out.extend([length as u8 & 0x7F | 0x80, (length >> 7) as u8 & 0x7F | 0x80, (length >> 14) as u8]);
    }
}
