//! The colours of a tile, numbered in the order in which they appear, as long as they are few.

const SLOTS: usize = 1024; // four times the most colours: short chains
const EMPTY: u16 = u16::MAX;

/// Up to 256 colours, and the number of each.
pub struct Palette {
    pub colours: Vec<u32>,
    slots: Box<[u16; SLOTS]>,
}

impl Default for Palette {
    fn default() -> Self {
        Self { colours: Vec::with_capacity(256), slots: Box::new([EMPTY; SLOTS]) }
    }
}

impl Palette {
    /// Takes the colours of these pixels; false if there are more than `limit`, which is at most 256.
    pub fn fill(&mut self, pixels: &[u32], limit: usize) -> bool {
        self.colours.clear();
        self.slots.fill(EMPTY);
        let mut last = None;
        for &pixel in pixels {
            if last == Some(pixel) {
                continue;
            }
            last = Some(pixel);
            let slot = self.find(pixel);
            if self.slots[slot] == EMPTY {
                if self.colours.len() == limit {
                    return false;
                }
                self.slots[slot] = self.colours.len() as u16;
                self.colours.push(pixel);
            }
        }
        true
    }

    /// The number of a colour that is in it.
    pub fn number(&self, pixel: u32) -> u8 {
        self.slots[self.find(pixel)] as u8
    }

    fn find(&self, pixel: u32) -> usize {
        let mut slot = (pixel.wrapping_mul(0x9E37_79B1) >> 22) as usize;
        while self.slots[slot] != EMPTY && self.colours[usize::from(self.slots[slot])] != pixel {
            slot = (slot + 1) % SLOTS;
        }
        slot
    }
}
