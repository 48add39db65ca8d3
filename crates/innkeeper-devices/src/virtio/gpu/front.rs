//! What viewers see: the picture as it was flushed, and when each of its tiles changed last.
//!
//! It outlives the driver: of a guest that crashed or turned itself off the last picture stays.

use innkeeper_display::{Cursor, Frame, Rect};

use crate::monitor::changes::{Changes, HEIGHT, WIDTH};

const COLOUR: u32 = 0x00FF_FFFF;

/// A part of someone's picture.
pub struct Source<'pixels> {
    pub pixels: &'pixels [u32],
    /// Pixels from row to row.
    pub stride: usize,
    pub x: u32,
    pub y: u32,
}

/// See above; at first 0 × 0.
#[derive(Default)]
pub struct Front {
    size: (u32, u32),
    pixels: Vec<u32>,
    /// Rises when the picture changes.
    generation: u64,
    /// The generation in which each tile changed last, row by row.
    tiles: Vec<u64>,
    columns: usize,
    cursor: Option<(u64, Cursor)>,
    cursors: u64,
}

impl Front {
    /// Has another size from now on, all black.
    pub fn resize(&mut self, size: (u32, u32)) {
        if size == self.size {
            return;
        }
        let (width, height) = (size.0 as usize, size.1 as usize);
        self.size = size;
        self.pixels = vec![0; width * height];
        self.columns = width.div_ceil(WIDTH);
        self.generation += 1;
        self.tiles = vec![self.generation; self.columns * height.div_ceil(HEIGHT as usize)];
    }

    /// Black, at the same size.
    pub fn blank(&mut self) {
        self.pixels.fill(0);
        self.generation += 1;
        self.tiles.fill(self.generation);
    }

    /// Copies into a rectangle, which must lie in the picture, as the source's part must in its own.
    pub fn draw(&mut self, rect: Rect, source: &Source<'_>) {
        let (next, stride) = (self.generation + 1, self.size.0 as usize);
        let (left, right) = (rect.x as usize, (rect.x + rect.width) as usize);
        for row in 0..rect.height {
            let y = rect.y + row;
            let from = (source.y + row) as usize * source.stride + source.x as usize;
            let fresh = &source.pixels[from..from + rect.width as usize];
            let line = &mut self.pixels[y as usize * stride..][..stride];
            let mut at = left;
            while at < right {
                let end = ((at / WIDTH + 1) * WIDTH).min(right);
                if copied(&mut line[at..end], &fresh[at - left..end - left]) {
                    self.tiles[(y / HEIGHT) as usize * self.columns + at / WIDTH] = next;
                    self.generation = next;
                }
                at = end;
            }
        }
    }

    /// Brings a viewer's frame up to date.
    pub fn refresh(&self, frame: &mut Frame) -> Vec<Rect> {
        let (seen, same) = (frame.seen, (frame.width, frame.height) == self.size);
        if seen == self.generation && same {
            return Vec::new();
        }
        frame.seen = self.generation;
        let (width, height) = self.size;
        if !same {
            (frame.width, frame.height) = self.size;
            frame.pixels.clone_from(&self.pixels);
            return if self.pixels.is_empty() {
                Vec::new()
            } else {
                vec![Rect { x: 0, y: 0, width, height }]
            };
        }
        let mut changes = Changes::new(self.size);
        for (tile, _) in self.tiles.iter().enumerate().filter(|&(_, &changed)| changed > seen) {
            let (column, row) = (tile % self.columns, tile / self.columns);
            changes.mark(column, row);
            let (left, right) = (column * WIDTH, ((column + 1) * WIDTH).min(width as usize));
            let top = row * HEIGHT as usize;
            for y in top..(top + HEIGHT as usize).min(height as usize) {
                let span = y * width as usize + left..y * width as usize + right;
                frame.pixels[span.clone()].copy_from_slice(&self.pixels[span]);
            }
        }
        changes.rectangles()
    }

    pub fn cursor(&self) -> Option<(u64, Cursor)> {
        self.cursor.clone()
    }

    pub fn set_cursor(&mut self, cursor: Cursor) {
        self.cursors += 1;
        self.cursor = Some((self.cursors, cursor));
    }

    /// A pointer that viewers had drawn is not seen any more. Before there was one, they keep their own.
    pub fn hide_cursor(&mut self) {
        if self.cursor.is_some() {
            self.set_cursor(Cursor { width: 1, height: 1, pixels: vec![0], hot_x: 0, hot_y: 0 });
        }
    }

    /// A driver begins: nothing is shown yet, and the guest has no pointer.
    pub fn restart(&mut self) {
        self.blank();
        self.cursor = None;
    }
}

/// Copies colours; tells whether anything was new.
fn copied(old: &mut [u32], new: &[u32]) -> bool {
    let mut differs = false;
    for (old, new) in old.iter_mut().zip(new) {
        differs |= *old != new & COLOUR;
        *old = new & COLOUR;
    }
    differs
}
