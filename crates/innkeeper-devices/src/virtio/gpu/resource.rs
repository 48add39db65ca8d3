//! A resource: pixels on the host, and the guest's memory from which the driver has them transferred.

use innkeeper_bus::memory::{Buffer, GuestMemory, copy_out};
use innkeeper_display::Rect;

use super::protocol::{Refusal, fits};

/// The longest side: as much as a viewer's protocol can have, and more than any monitor.
pub const SIDE_LIMIT: u32 = 8192;
const PIXEL_BYTES: u64 = 4;
const OPAQUE: u32 = 0xFF00_0000;

/// How a pixel lies in the guest's memory (5.7.6.8): names say the order of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    number: u32,
    /// Alpha, or what is in its place, comes first.
    reversed: bool,
    /// Red and blue are the other way round.
    exchanged: bool,
    alpha: bool,
}

impl Format {
    pub fn new(number: u32) -> Result<Self, Refusal> {
        let (reversed, exchanged, alpha) = match number {
            1 => (false, false, true),   // B8G8R8A8
            2 => (false, false, false),  // B8G8R8X8
            3 => (true, false, true),    // A8R8G8B8
            4 => (true, false, false),   // X8R8G8B8
            67 => (false, true, true),   // R8G8B8A8
            68 => (true, true, false),   // X8B8G8R8
            121 => (true, true, true),   // A8B8G8R8
            134 => (false, true, false), // R8G8B8X8
            _ => return Err(Refusal::Parameter),
        };
        Ok(Self { number, reversed, exchanged, alpha })
    }

    pub fn number(self) -> u32 {
        self.number
    }

    /// `0xAARRGGBB`.
    pub fn pixel(self, bytes: [u8; 4]) -> u32 {
        let value = u32::from_le_bytes(bytes);
        let value = if self.reversed { value.swap_bytes() } else { value };
        let value = if self.exchanged {
            value & 0xFF00_FF00 | value >> 16 & 0xFF | (value & 0xFF) << 16
        } else {
            value
        };
        if self.alpha { value } else { value | OPAQUE }
    }
}

/// Pieces of the guest's memory, one after the other.
#[derive(Default)]
pub struct Backing {
    /// Each with what comes before it, in bytes.
    pieces: Vec<(u64, Buffer)>,
    bytes: u64,
    /// As the driver gave them: address and length.
    entries: Vec<(u64, u32)>,
}

impl Backing {
    /// What so many entries take on the host.
    pub fn cost(entries: u64) -> u64 {
        entries * (size_of::<(u64, Buffer)>() + size_of::<(u64, u32)>()) as u64
    }

    /// Adds an entry, which must be RAM as a whole.
    pub fn add(&mut self, memory: &GuestMemory, gpa: u64, length: u32) -> Result<(), Refusal> {
        let (pieces, bytes) = (&mut self.pieces, &mut self.bytes);
        let found = memory.buffers(gpa, length.into(), false, |piece| {
            pieces.push((*bytes, piece));
            *bytes += piece.len() as u64;
        });
        found.map_err(|_| Refusal::Parameter)?;
        self.entries.push((gpa, length));
        Ok(())
    }

    pub fn entries(&self) -> &[(u64, u32)] {
        &self.entries
    }

    /// Copies bytes from `offset` on, as far as there are any.
    fn read(&self, offset: u64, mut out: &mut [u8]) {
        let first = self.pieces.partition_point(|&(start, _)| start <= offset).saturating_sub(1);
        let mut at = offset;
        for (start, piece) in &self.pieces[first..] {
            if out.is_empty() {
                break;
            }
            let part = piece.part((at - start) as usize, out.len());
            let done = copy_out(&part, out);
            out = &mut out[done..];
            at += done as u64;
        }
    }
}

/// See above.
pub struct Resource {
    size: (u32, u32),
    format: Format,
    /// `0xAARRGGBB`, row by row.
    pixels: Vec<u32>,
    pub backing: Option<Backing>,
    /// What the backing's list takes.
    pub backing_cost: u64,
}

impl Resource {
    /// What one of this size takes on the host.
    pub fn cost(width: u32, height: u32) -> u64 {
        PIXEL_BYTES * u64::from(width) * u64::from(height)
    }

    /// A transparent one, of a size that was checked.
    pub fn new(width: u32, height: u32, format: Format) -> Self {
        let pixels = vec![0; width as usize * height as usize];
        Self { size: (width, height), format, pixels, backing: None, backing_cost: 0 }
    }

    pub fn size(&self) -> (u32, u32) {
        self.size
    }

    pub fn format(&self) -> Format {
        self.format
    }

    pub fn pixels(&self) -> &[u32] {
        &self.pixels
    }

    pub fn pixels_mut(&mut self) -> &mut [u32] {
        &mut self.pixels
    }

    /// Everything that it takes on the host.
    pub fn whole_cost(&self) -> u64 {
        Self::cost(self.size.0, self.size.1) + self.backing_cost
    }

    /// Copies a rectangle from the guest's memory, where its first pixel is at `offset` and its rows are as far apart as
    /// the resource's.
    pub fn transfer(&mut self, rect: Rect, offset: u64) -> Result<(), Refusal> {
        let backing = self.backing.as_ref().ok_or(Refusal::Unspecified)?;
        if !fits(rect, self.size) {
            return Err(Refusal::Parameter);
        }
        if rect.width == 0 || rect.height == 0 {
            return Ok(());
        }
        let width = self.size.0 as usize;
        let (stride, row) = (PIXEL_BYTES * width as u64, PIXEL_BYTES * u64::from(rect.width));
        let end = offset.checked_add(stride * u64::from(rect.height - 1) + row);
        if end.is_none_or(|end| end > backing.bytes) {
            return Err(Refusal::Parameter);
        }
        let mut line = vec![0; row as usize];
        for y in 0..rect.height {
            backing.read(offset + stride * u64::from(y), &mut line);
            let at = (rect.y + y) as usize * width + rect.x as usize;
            let pixels = &mut self.pixels[at..at + rect.width as usize];
            for (pixel, bytes) in pixels.iter_mut().zip(line.as_chunks().0) {
                *pixel = self.format.pixel(*bytes);
            }
        }
        Ok(())
    }
}
