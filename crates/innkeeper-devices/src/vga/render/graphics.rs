//! Dots from planes, CGA's pairs of bits, bytes, and the Bochs extensions' pixels.

use super::super::dispi::Mode;
use super::super::memory::copy_out;
use super::{Kind, Line, Picture};

/// The widest line in bytes that is copied at once.
const CHUNK_PIXELS: usize = 1024;

impl Picture<'_> {
    pub(super) fn draw_planes(&self, line: Line, out: &mut [u32]) {
        let half = if self.registers.half_clock() { 2 } else { 1 };
        // A pixel of eight bits is shifted out in two dots.
        let (per_cell, wide) = if self.kind == Kind::Bytes { (4, 2 * half) } else { (8, half) };
        let pan = usize::from(line.pan & 7);
        let shift = if self.kind == Kind::Bytes { pan / 2 } else { pan };
        let mut pixels = [0; 8];
        let mut at = 0;
        for column in 0.. {
            let cell = self.cell(line.counter + column, line.row_scan);
            self.serialise(cell, &mut pixels);
            let skipped = if column == 0 { shift } else { 0 };
            for &pixel in &pixels[skipped..per_cell] {
                let end = (at + wide).min(out.len());
                out[at..end].fill(pixel);
                at = end;
            }
            if at == out.len() {
                return;
            }
        }
    }

    /// The pixels of a character clock: eight, or four where each is a byte.
    fn serialise(&self, cell: [u8; 4], pixels: &mut [u32; 8]) {
        match self.kind {
            Kind::Bytes => {
                for (pixel, byte) in pixels.iter_mut().zip(cell) {
                    *pixel = self.dac[usize::from(byte)];
                }
            }
            Kind::Pairs => {
                let low = u16::from_be_bytes([cell[0], cell[1]]);
                let high = u16::from_be_bytes([cell[2], cell[3]]);
                for (number, pixel) in pixels.iter_mut().enumerate() {
                    let shift = 14 - 2 * number;
                    let index = low >> shift & 3 | (high >> shift & 3) << 2;
                    *pixel = self.attributes[usize::from(index)];
                }
            }
            _ => {
                for (number, pixel) in pixels.iter_mut().enumerate() {
                    *pixel = self.attributes[of_planes(cell, 7 - number)];
                }
            }
        }
    }

    pub(super) fn draw_linear(&self, mode: Mode, y: u32, out: &mut [u32]) {
        let start = (mode.start + y * mode.pitch) as usize;
        if mode.depth == 4 {
            for (x, pixel) in out.iter_mut().enumerate() {
                let x = x + mode.pan as usize;
                let mut cell = [0; 4];
                copy_out(self.memory, 4 * (start + x / 8), &mut cell);
                *pixel = self.attributes[of_planes(cell, 7 - x % 8)];
            }
            return;
        }
        let bytes = mode.depth.div_ceil(8) as usize;
        let mut chunk = [0u8; 4 * CHUNK_PIXELS];
        for (number, pixels) in out.chunks_mut(CHUNK_PIXELS).enumerate() {
            let raw = &mut chunk[..bytes * pixels.len()];
            copy_out(self.memory, start + bytes * CHUNK_PIXELS * number, raw);
            self.convert(mode.depth, raw, pixels);
        }
    }

    fn convert(&self, depth: u32, raw: &[u8], pixels: &mut [u32]) {
        match depth {
            8 => pixels.iter_mut().zip(raw).for_each(|(pixel, &byte)| *pixel = self.dac[usize::from(byte)]),
            15 | 16 => {
                let colour = if depth == 15 { of_555 } else { of_565 };
                for (pixel, bytes) in pixels.iter_mut().zip(raw.chunks_exact(2)) {
                    *pixel = colour(u32::from(u16::from_le_bytes([bytes[0], bytes[1]])));
                }
            }
            24 => {
                for (pixel, bytes) in pixels.iter_mut().zip(raw.chunks_exact(3)) {
                    *pixel = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], 0]);
                }
            }
            _ => {
                for (pixel, bytes) in pixels.iter_mut().zip(raw.chunks_exact(4)) {
                    *pixel = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], 0]);
                }
            }
        }
    }
}

/// The attribute that the planes' bits at a place make.
fn of_planes(cell: [u8; 4], bit: usize) -> usize {
    (0..4).map(|plane| usize::from(cell[plane] >> bit & 1) << plane).sum()
}

fn of_555(value: u32) -> u32 {
    let wide = |value: u32| value << 3 | value >> 2;
    wide(value >> 10 & 31) << 16 | wide(value >> 5 & 31) << 8 | wide(value & 31)
}

fn of_565(value: u32) -> u32 {
    let green = value >> 5 & 63;
    let wide = |value: u32| value << 3 | value >> 2;
    wide(value >> 11) << 16 | (green << 2 | green >> 4) << 8 | wide(value & 31)
}
