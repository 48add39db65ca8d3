//! One viewer's side of a screen: its copy of the picture, what it has not been sent yet, and how it wants that.

use crate::encode::Encoder;
use crate::tiles::Tiles;
use crate::{Frame, Rect, Screen};

/// The protocol's sizes have 16 bits; nothing that a guest sets up comes near this.
const SIDE_LIMIT: u32 = 16384;
/// A screen that has no picture yet.
const BLANK: (u32, u32) = (640, 480);
/// A message has a 16-bit number of rectangles. So many are worse than all at once, anyway.
const RECTS_LIMIT: usize = 2048;

/// A viewer.
#[derive(Default)]
pub struct Viewer {
    pub encoder: Encoder,
    frame: Frame,
    /// The size that the viewer believes the screen to have.
    told: (u32, u32),
    unseen: Tiles,
}

/// Rectangles for one FramebufferUpdate.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Update {
    pub rects: usize,
    pub body: Vec<u8>,
}

impl Viewer {
    /// Looks at the screen.
    pub fn refresh(&mut self, screen: &dyn Screen) {
        let before = (self.frame.width, self.frame.height);
        let changed = screen.refresh(&mut self.frame);
        if before != (self.frame.width, self.frame.height) {
            self.see_all_anew();
        }
        for rect in changed {
            self.unseen.add(rect);
        }
    }

    /// The screen's size when it was looked at last.
    pub fn size(&self) -> (u32, u32) {
        match (self.frame.width, self.frame.height) {
            (0, _) | (_, 0) => BLANK,
            (width, height) => (width.min(SIDE_LIMIT), height.min(SIDE_LIMIT)),
        }
    }

    /// The viewer is being told the screen's size, and has nothing of it yet.
    pub fn follow(&mut self) -> (u32, u32) {
        self.told = self.size();
        self.see_all_anew();
        self.told
    }

    /// The size that the viewer was told last.
    pub fn told(&self) -> (u32, u32) {
        self.told
    }

    fn see_all_anew(&mut self) {
        let (width, height) = self.told;
        self.unseen = Tiles::none(width, height);
        self.forget(Rect { x: 0, y: 0, width, height });
    }

    /// The viewer wants this part again, changed or not.
    pub fn forget(&mut self, rect: Rect) {
        self.unseen.add(rect);
    }

    /// Encodes what the viewer has not seen of `area`: nothing if there is no such thing. Where the picture has
    /// become smaller than the viewer believes, the rest is black.
    pub fn update(&mut self, area: Rect) -> Update {
        let mut rects = self.unseen.take(area);
        if rects.len() > RECTS_LIMIT {
            rects = vec![around(&rects)];
        }
        let mut update = Update::default();
        for rect in rects {
            let rect = self.within(rect);
            update.rects += self.encoder.encode(&self.frame, rect, &mut update.body);
        }
        update
    }

    /// A rectangle of tiles, less what lies beyond the picture.
    fn within(&self, rect: Rect) -> Rect {
        let (width, height) = self.told;
        Rect { width: rect.width.min(width - rect.x), height: rect.height.min(height - rect.y), ..rect }
    }
}

/// The smallest rectangle that has all of them.
fn around(rects: &[Rect]) -> Rect {
    let x = rects.iter().map(|rect| rect.x).min().unwrap_or(0);
    let y = rects.iter().map(|rect| rect.y).min().unwrap_or(0);
    let right = rects.iter().map(|rect| rect.x + rect.width).max().unwrap_or(0);
    let bottom = rects.iter().map(|rect| rect.y + rect.height).max().unwrap_or(0);
    Rect { x, y, width: right - x, height: bottom - y }
}
