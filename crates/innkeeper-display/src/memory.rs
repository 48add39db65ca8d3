//! A screen in memory: for whoever has pixels and no display device, and for tests.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::bells::{Bell, Bells};
use crate::{Cursor, Frame, Rect, Screen, Text};

#[derive(Default)]
struct Shown {
    width: u32,
    height: u32,
    pixels: Vec<u32>,
    /// Grows with every change, so that a frame that has come as far need not be compared.
    version: u64,
    cursor: Option<(u64, Cursor)>,
    text: Option<Text>,
    preferred: Option<(u32, u32)>,
}

/// The screen. What viewers prefer is remembered, and left to the owner.
#[derive(Default)]
pub struct MemoryScreen {
    shown: Mutex<Shown>,
    bells: Bells,
}

impl MemoryScreen {
    fn shown(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows a picture of another size, all black.
    pub fn resize(&self, width: u32, height: u32) {
        let mut shown = self.shown();
        (shown.width, shown.height) = (width, height);
        shown.pixels = vec![0; width as usize * height as usize];
        shown.version += 1;
        drop(shown);
        self.bells.ring();
    }

    /// Draws pixels, row by row; false where they do not fit into the picture or into the rectangle.
    pub fn draw(&self, rect: Rect, pixels: &[u32]) -> bool {
        let mut shown = self.shown();
        let (right, bottom) = (rect.x.checked_add(rect.width), rect.y.checked_add(rect.height));
        let fits = right.is_some_and(|right| right <= shown.width)
            && bottom.is_some_and(|bottom| bottom <= shown.height)
            && pixels.len() == rect.width as usize * rect.height as usize;
        if fits && !pixels.is_empty() {
            let stride = shown.width as usize;
            let first = rect.y as usize * stride + rect.x as usize;
            for (row, source) in pixels.chunks(rect.width as usize).enumerate() {
                let at = first + row * stride;
                shown.pixels[at..at + source.len()].copy_from_slice(source);
            }
            shown.version += 1;
            drop(shown);
            self.bells.ring();
        }
        fits
    }

    /// Gives the pointer a shape, or takes it away.
    pub fn set_cursor(&self, cursor: Option<Cursor>) {
        let mut shown = self.shown();
        shown.version += 1;
        shown.cursor = cursor.map(|cursor| (shown.version, cursor));
        drop(shown);
        self.bells.ring();
    }

    /// The characters that it shows, if it does.
    pub fn set_text(&self, text: Option<Text>) {
        self.shown().text = text;
    }

    /// The size that a viewer asked for last.
    pub fn preferred(&self) -> Option<(u32, u32)> {
        self.shown().preferred
    }
}

impl Screen for MemoryScreen {
    fn refresh(&self, frame: &mut Frame) -> Vec<Rect> {
        let shown = self.shown();
        if frame.seen == shown.version {
            return Vec::new();
        }
        frame.seen = shown.version;
        frame.assign(shown.width, shown.height, &shown.pixels)
    }

    fn cursor(&self) -> Option<(u64, Cursor)> {
        self.shown().cursor.clone()
    }

    fn text(&self) -> Option<Text> {
        self.shown().text.clone()
    }

    fn rest(&self, bell: &Bell) -> Duration {
        self.bells.hang(bell);
        Duration::MAX
    }

    fn prefer(&self, width: u32, height: u32) {
        self.shown().preferred = Some((width, height));
    }
}
