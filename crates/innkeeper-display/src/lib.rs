//! What a guest shows. A device is a [`Screen`]; a viewer keeps a [`Frame`] of it and brings it up to date at its
//! own pace, so that a screen without viewers costs nothing.

pub mod bells;
pub mod encode;
pub mod memory;
mod tiles;
pub mod viewer;
pub mod watch;

use std::time::Duration;

use bells::Bell;

/// A part of a frame, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rect {
    pub x: u32,
    pub y: u32,
    pub width: u32,
    pub height: u32,
}

/// One viewer's copy of a screen, row by row, `0x00RRGGBB`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    pub width: u32,
    pub height: u32,
    pub pixels: Vec<u32>,
    /// How far this copy has come: the screen's own business.
    pub seen: u64,
}

/// Rows that are compared as one, when a frame takes a whole picture.
const BAND: usize = 16;

impl Frame {
    /// Takes a whole picture, row by row; gives what is different from before, in bands of a few rows.
    pub fn assign(&mut self, width: u32, height: u32, picture: &[u32]) -> Vec<Rect> {
        assert_eq!(picture.len(), width as usize * height as usize);
        if (self.width, self.height) != (width, height) {
            (self.width, self.height) = (width, height);
            self.pixels.clear();
            self.pixels.extend_from_slice(picture);
            return if picture.is_empty() { Vec::new() } else { vec![Rect { x: 0, y: 0, width, height }] };
        }
        let stride = width as usize;
        let mut changed = Vec::new();
        for band in (0..height as usize).step_by(BAND) {
            let rows = band..(band + BAND).min(height as usize);
            let (mut left, mut right) = (stride, 0);
            for row in rows.clone().map(|row| row * stride..(row + 1) * stride) {
                let (ours, theirs) = (&mut self.pixels[row.clone()], &picture[row]);
                if ours == theirs {
                    continue;
                }
                let differs = |at: &usize| ours[*at] != theirs[*at];
                left = left.min((0..stride).find(differs).unwrap_or(stride));
                right = right.max((0..stride).rev().find(differs).map_or(0, |at| at + 1));
                ours.copy_from_slice(theirs);
            }
            if left < right {
                changed.push(Rect {
                    x: left as u32,
                    y: band as u32,
                    width: (right - left) as u32,
                    height: rows.len() as u32,
                });
            }
        }
        changed
    }
}

/// A pointer that the guest has drawn by the viewer, if it does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    pub width: u32,
    pub height: u32,
    /// `0xAARRGGBB`, row by row.
    pub pixels: Vec<u32>,
    pub hot_x: u32,
    pub hot_y: u32,
}

/// Text on a screen that shows characters, in code page 437, and where the cursor is, if it shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text {
    pub columns: u32,
    pub rows: u32,
    /// Character and attribute of each cell, row by row.
    pub cells: Vec<(u8, u8)>,
    pub cursor: Option<(u32, u32)>,
}

/// What a display device shows. Called from viewers' threads, while the guest draws.
pub trait Screen: Send + Sync {
    /// Brings `frame` up to date, its size included, and gives what changed: little work if nothing did.
    fn refresh(&self, frame: &mut Frame) -> Vec<Rect>;
    /// The pointer's shape and a number that changes with it; `None` where the guest draws its own.
    fn cursor(&self) -> Option<(u64, Cursor)> {
        None
    }
    /// The characters, in a text mode.
    fn text(&self) -> Option<Text> {
        None
    }
    /// How long this need not be looked at, unless the bell rings before: not at all where a screen can change without
    /// telling. Whoever hangs up a bell looks once more afterwards, as it may have changed before.
    fn rest(&self, _bell: &Bell) -> Duration {
        Duration::ZERO
    }
    /// A viewer would like this size; a hint.
    fn prefer(&self, _width: u32, _height: u32) {}
}
