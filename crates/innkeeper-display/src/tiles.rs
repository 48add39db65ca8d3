//! Which parts of a picture a viewer has not seen yet: one bit for each tile of 16 × 16 pixels, so that it never
//! grows, however often and wherever the picture changes.

use crate::Rect;

/// A tile's side in pixels.
pub const SIDE: u32 = 16;

/// A set of tiles.
#[derive(Clone, Debug, Default)]
pub struct Tiles {
    columns: u32,
    rows: u32,
    bits: Vec<u64>,
}

impl Tiles {
    /// None of a picture's tiles.
    pub fn none(width: u32, height: u32) -> Self {
        let (columns, rows) = (width.div_ceil(SIDE), height.div_ceil(SIDE));
        Self { columns, rows, bits: vec![0; rows as usize * columns.div_ceil(64) as usize] }
    }

    fn words(&self) -> usize {
        self.columns.div_ceil(64) as usize
    }

    /// The tiles that a rectangle touches, as columns and rows.
    fn touched(&self, rect: Rect) -> (std::ops::Range<u32>, std::ops::Range<u32>) {
        let end = |at: u32, size: u32, most: u32| at.saturating_add(size).div_ceil(SIDE).min(most);
        if rect.width == 0 || rect.height == 0 {
            return (0..0, 0..0);
        }
        let columns = rect.x / SIDE..end(rect.x, rect.width, self.columns);
        (columns, rect.y / SIDE..end(rect.y, rect.height, self.rows))
    }

    fn is_set(&self, column: u32, row: u32) -> bool {
        self.bits[row as usize * self.words() + (column / 64) as usize] >> (column % 64) & 1 != 0
    }

    fn set(&mut self, column: u32, row: u32, value: bool) {
        let word = row as usize * self.words() + (column / 64) as usize;
        let bit = 1 << (column % 64);
        self.bits[word] = if value { self.bits[word] | bit } else { self.bits[word] & !bit };
    }

    /// Adds all tiles that a rectangle touches; what lies outside is nobody's.
    pub fn add(&mut self, rect: Rect) {
        let (columns, rows) = self.touched(rect);
        for row in rows {
            for column in columns.clone() {
                self.set(column, row, true);
            }
        }
    }

    #[cfg(test)]
    fn is_empty(&self) -> bool {
        self.bits.iter().all(|word| *word == 0)
    }

    /// Takes the tiles that touch `area` out, as rectangles of whole tiles that do not overlap.
    pub fn take(&mut self, area: Rect) -> Vec<Rect> {
        let (columns, rows) = self.touched(area);
        let mut taken: Vec<Rect> = Vec::new();
        // Rectangles that ended in the row before may grow by this row.
        let mut growing: Vec<usize> = Vec::new();
        for row in rows {
            let mut grown = Vec::new();
            let mut column = columns.start;
            while column < columns.end {
                let begin = column;
                while column < columns.end && self.is_set(column, row) {
                    self.set(column, row, false);
                    column += 1;
                }
                if column > begin {
                    grown.push(grow(&mut taken, &growing, begin, column - begin, row));
                } else {
                    column += 1;
                }
            }
            growing = grown;
        }
        taken.iter_mut().for_each(|rect| {
            *rect = Rect {
                x: rect.x * SIDE,
                y: rect.y * SIDE,
                width: rect.width * SIDE,
                height: rect.height * SIDE,
            };
        });
        taken
    }
}

/// Lets one of the rectangles of the row before grow by this run, or begins one; tells which.
fn grow(taken: &mut Vec<Rect>, growing: &[usize], x: u32, width: u32, row: u32) -> usize {
    if let Some(index) = growing.iter().find(|index| (taken[**index].x, taken[**index].width) == (x, width)) {
        taken[*index].height += 1;
        return *index;
    }
    taken.push(Rect { x, y: row, width, height: 1 });
    taken.len() - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rect(x: u32, y: u32, width: u32, height: u32) -> Rect {
        Rect { x, y, width, height }
    }

    #[test]
    fn what_is_added_is_taken_once_as_whole_tiles() {
        let mut tiles = Tiles::none(1024, 768);
        tiles.add(rect(17, 17, 1, 40));
        assert_eq!(tiles.take(rect(0, 0, 1024, 768)), [rect(16, 16, 16, 48)]);
        assert!(tiles.is_empty());
        assert!(tiles.take(rect(0, 0, 1024, 768)).is_empty());
    }

    #[test]
    fn what_lies_outside_is_nobodys() {
        let mut tiles = Tiles::none(100, 100);
        tiles.add(rect(u32::MAX, 5, u32::MAX, u32::MAX));
        tiles.add(rect(0, 0, 0, 5));
        assert!(tiles.is_empty());
        tiles.add(rect(90, 90, u32::MAX, u32::MAX));
        assert_eq!(tiles.take(rect(0, 0, u32::MAX, u32::MAX)), [rect(80, 80, 32, 32)]);
    }

    #[test]
    fn tiles_outside_the_area_stay() {
        let mut tiles = Tiles::none(320, 16);
        tiles.add(rect(0, 0, 320, 16));
        assert_eq!(tiles.take(rect(160, 0, 16, 16)), [rect(160, 0, 16, 16)]);
        assert_eq!(tiles.take(rect(0, 0, 320, 16)), [rect(0, 0, 160, 16), rect(176, 0, 144, 16)]);
    }

    #[test]
    fn an_l_becomes_two_rectangles() {
        let mut tiles = Tiles::none(64, 64);
        tiles.add(rect(0, 0, 16, 64));
        tiles.add(rect(0, 48, 64, 16));
        assert_eq!(tiles.take(rect(0, 0, 64, 64)), [rect(0, 0, 16, 48), rect(0, 48, 64, 16)]);
    }
}
