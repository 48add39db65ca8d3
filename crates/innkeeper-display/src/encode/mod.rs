//! Rectangles of a frame as a viewer wants them: encodings, in the viewer's pixel format, through its streams.
//!
//! Spec: RFC 6143 7.7, and the RFB community's protocol document for Tight and Zlib. Left out: CopyRect, which only
//! someone who draws can know; RRE and the encodings that nobody prefers.

mod format;
mod hextile;
mod palette;
mod tight;
mod zlib;
mod zrle;

use crate::{Cursor, Frame, Rect};
use format::Packing;
pub use format::PixelFormat;
use palette::Palette;
use tight::{Tight, Wishes};
use zlib::Stream;

/// How the pixels of a rectangle are sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    #[default]
    Raw = 0,
    Hextile = 5,
    Zlib = 6,
    Tight = 7,
    Zrle = 16,
}

const QUALITIES: std::ops::RangeInclusive<i32> = -32..=-23;
const LEVELS: std::ops::RangeInclusive<i32> = -256..=-247;
/// A loopback viewer wants it soon, not small.
const DEFAULT_LEVEL: u32 = 1;

impl Encoding {
    fn of(number: i32) -> Option<Self> {
        [Self::Raw, Self::Hextile, Self::Zlib, Self::Tight, Self::Zrle]
            .into_iter()
            .find(|encoding| *encoding as i32 == number)
    }
}

/// What one viewer has asked for, and the state of its streams.
pub struct Encoder {
    format: PixelFormat,
    encoding: Encoding,
    wishes: Wishes,
    palette: Palette,
    tight: Tight,
    zlib: Option<Stream>,
    zrle: Option<Stream>,
    plain: Vec<u8>,
    packed: Vec<u8>,
}

impl Default for Encoder {
    fn default() -> Self {
        Self {
            format: PixelFormat::default(),
            encoding: Encoding::Raw,
            wishes: Wishes { level: DEFAULT_LEVEL, quality: None },
            palette: Palette::default(),
            tight: Tight::default(),
            zlib: None,
            zrle: None,
            plain: Vec::new(),
            packed: Vec::new(),
        }
    }
}

impl Encoder {
    /// From now on, pixels are sent like this.
    pub fn set_format(&mut self, format: PixelFormat) {
        self.format = format;
    }

    /// The viewer's list, dearest first. A stream keeps the level with which it began.
    pub fn set_encodings(&mut self, numbers: &[i32]) {
        self.encoding = numbers.iter().find_map(|number| Encoding::of(*number)).unwrap_or_default();
        let of = |range: std::ops::RangeInclusive<i32>| {
            numbers.iter().find(|number| range.contains(number)).map(|number| (number - range.start()) as u32)
        };
        self.wishes = Wishes {
            level: of(LEVELS).unwrap_or(DEFAULT_LEVEL),
            quality: of(QUALITIES).map(|step| (15 + 9 * step) as u8),
        };
    }

    /// The encoding in use.
    pub fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// Appends a rectangle with its header, as one or more rectangles, and tells how many.
    pub fn encode(&mut self, frame: &Frame, rect: Rect, out: &mut Vec<u8>) -> usize {
        if self.encoding == Encoding::Tight {
            return tight::parts(rect).map(|part| self.encode_one(frame, part, out)).count();
        }
        self.encode_one(frame, rect, out);
        1
    }

    fn encode_one(&mut self, frame: &Frame, rect: Rect, out: &mut Vec<u8>) {
        put_header(rect, self.encoding as i32, out);
        match self.encoding {
            Encoding::Raw => put_raw(frame, rect, &self.format, out),
            Encoding::Hextile => hextile::encode(frame, rect, &self.format, &mut self.palette, out),
            Encoding::Tight => {
                self.tight.encode(frame, rect, &self.format, &mut self.palette, self.wishes, out);
            }
            Encoding::Zlib => {
                self.plain.clear();
                put_raw(frame, rect, &self.format, &mut self.plain);
                self.put_zlib(out);
            }
            Encoding::Zrle => {
                self.plain.clear();
                zrle::tiles(frame, rect, &self.format, &mut self.palette, &mut self.plain);
                self.put_zlib(out);
            }
        }
    }

    /// The plain bytes through the encoding's stream, and before them how many they have become.
    fn put_zlib(&mut self, out: &mut Vec<u8>) {
        let stream = if self.encoding == Encoding::Zlib { &mut self.zlib } else { &mut self.zrle };
        self.packed.clear();
        let level = self.wishes.level;
        stream.get_or_insert_with(|| Stream::new(level)).compress(&self.plain, &mut self.packed);
        out.extend_from_slice(&(self.packed.len() as u32).to_be_bytes());
        out.extend_from_slice(&self.packed);
    }

    /// The body of a Cursor rectangle: pixels, then a bit for each that shows, row by row.
    pub fn cursor(&self, cursor: &Cursor) -> Vec<u8> {
        let mut out = Vec::new();
        for pixel in &cursor.pixels {
            self.format.put(self.format.value(*pixel), Packing::Whole, &mut out);
        }
        for row in cursor.pixels.chunks(cursor.width.max(1) as usize) {
            out.extend(row.chunks(8).map(|group| {
                (0..)
                    .zip(group)
                    .fold(0u8, |byte, (place, pixel)| byte | u8::from(pixel >> 31 != 0) << (7 - place))
            }));
        }
        out
    }
}

/// The body of an alpha cursor's rectangle: the encoding Raw, and red, green, blue, alpha, the colours multiplied by it.
pub fn alpha_cursor(cursor: &Cursor) -> Vec<u8> {
    let mut out = (Encoding::Raw as i32).to_be_bytes().to_vec();
    for pixel in &cursor.pixels {
        let [alpha, colours @ ..] = pixel.to_be_bytes();
        out.extend(colours.map(|colour| (u32::from(colour) * u32::from(alpha) / 255) as u8));
        out.push(alpha);
    }
    out
}

/// x, y, width, height and encoding. The sides of what is shown fit in 16 bits.
fn put_header(rect: Rect, encoding: i32, out: &mut Vec<u8>) {
    for side in [rect.x, rect.y, rect.width, rect.height] {
        out.extend_from_slice(&(side as u16).to_be_bytes());
    }
    out.extend_from_slice(&encoding.to_be_bytes());
}

fn put_raw(frame: &Frame, rect: Rect, format: &PixelFormat, out: &mut Vec<u8>) {
    let mut row = Vec::with_capacity(rect.width as usize);
    for y in rect.y..rect.y + rect.height {
        format.fetch(frame, (rect.x, y, rect.width, 1), &mut row);
        format.put_all(&row, Packing::Whole, out);
    }
}
