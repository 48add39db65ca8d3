//! Hextile: tiles of 16 × 16, each a background with rectangles on it, or raw.
//!
//! Spec: RFC 6143 7.7.4.

use super::format::{Packing, PixelFormat};
use super::palette::Palette;
use crate::{Frame, Rect};

const SIDE: u32 = 16;
const RAW: u8 = 1;
const BACKGROUND: u8 = 2;
const FOREGROUND: u8 = 4;
const SUBRECTS: u8 = 8;
const COLOURED: u8 = 16;

/// What tiles have in common with those before them, within one rectangle.
#[derive(Default)]
struct Carried {
    background: Option<u32>,
    foreground: Option<u32>,
}

/// A single-coloured part of a tile.
struct Part {
    colour: u32,
    x: usize,
    y: usize,
    width: usize,
    height: usize,
}

/// Appends the tiles of a rectangle.
pub fn encode(frame: &Frame, rect: Rect, format: &PixelFormat, palette: &mut Palette, out: &mut Vec<u8>) {
    let mut carried = Carried::default();
    let mut pixels = Vec::with_capacity((SIDE * SIDE) as usize);
    for y in (rect.y..rect.y + rect.height).step_by(SIDE as usize) {
        for x in (rect.x..rect.x + rect.width).step_by(SIDE as usize) {
            let width = SIDE.min(rect.x + rect.width - x);
            let height = SIDE.min(rect.y + rect.height - y);
            format.fetch(frame, (x, y, width, height), &mut pixels);
            tile(&pixels, width as usize, format, palette, &mut carried, out);
        }
    }
}

fn tile(
    pixels: &[u32],
    width: usize,
    format: &PixelFormat,
    palette: &mut Palette,
    carried: &mut Carried,
    out: &mut Vec<u8>,
) {
    let few = palette.fill(pixels, pixels.len());
    debug_assert!(few, "a tile has no more colours than pixels");
    let background = commonest(pixels, palette);
    let parts = parts(pixels, width, background);
    let coloured = palette.colours.len() > 2;
    let size = parts.len() * (2 + if coloured { format.bytes() } else { 0 });
    if size + 2 * format.bytes() + 1 >= pixels.len() * format.bytes() {
        out.push(RAW);
        format.put_all(pixels, Packing::Whole, out);
        *carried = Carried::default();
        return;
    }
    let at = out.len();
    out.push(0);
    let mut how = 0;
    if carried.background != Some(background) {
        how |= BACKGROUND;
        format.put(background, Packing::Whole, out);
        carried.background = Some(background);
    }
    if coloured {
        how |= COLOURED;
        carried.foreground = None;
    } else if let Some(first) = parts.first()
        && carried.foreground != Some(first.colour)
    {
        how |= FOREGROUND;
        format.put(first.colour, Packing::Whole, out);
        carried.foreground = Some(first.colour);
    }
    if !parts.is_empty() {
        how |= SUBRECTS;
        out.push(parts.len() as u8); // at most 255: one pixel of 256 is background
        for part in &parts {
            if coloured {
                format.put(part.colour, Packing::Whole, out);
            }
            out.push((part.x << 4 | part.y) as u8);
            out.push(((part.width - 1) << 4 | (part.height - 1)) as u8);
        }
    }
    out[at] = how;
}

fn commonest(pixels: &[u32], palette: &Palette) -> u32 {
    let mut counts = [0u16; 256];
    for pixel in pixels {
        counts[usize::from(palette.number(*pixel))] += 1;
    }
    let most = (0..palette.colours.len()).max_by_key(|number| counts[*number]).unwrap_or(0);
    palette.colours[most]
}

/// Covers all that is not background with rectangles, as large as they come from the top left.
fn parts(pixels: &[u32], width: usize, background: u32) -> Vec<Part> {
    let height = pixels.len() / width;
    let mut covered = [false; (SIDE * SIDE) as usize];
    let mut found = Vec::new();
    for y in 0..height {
        for x in 0..width {
            let colour = pixels[y * width + x];
            if colour == background || covered[y * width + x] {
                continue;
            }
            let is_free = |x: usize, y: usize| pixels[y * width + x] == colour && !covered[y * width + x];
            let wide = (x..width).take_while(|x| is_free(*x, y)).count();
            let high = (y..height).take_while(|y| (x..x + wide).all(|x| is_free(x, *y))).count();
            for row in y..y + high {
                covered[row * width + x..row * width + x + wide].fill(true);
            }
            found.push(Part { colour, x, y, width: wide, height: high });
        }
    }
    found
}
