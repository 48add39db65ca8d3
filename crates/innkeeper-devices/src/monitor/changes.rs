//! What is new in a viewer's frame: marked in tiles while lines are drawn, told in rectangles.

use innkeeper_display::Rect;

/// A tile's size in pixels.
pub const WIDTH: usize = 64;
pub const HEIGHT: u32 = 16;

/// The changed tiles of a frame: a bit for each, row of tiles by row.
pub struct Changes {
    size: (u32, u32),
    rows: Vec<Vec<bool>>,
}

impl Changes {
    pub fn new(size: (u32, u32)) -> Self {
        let (width, height) = size;
        let columns = (width as usize).div_ceil(WIDTH);
        Self { size, rows: vec![vec![false; columns]; height.div_ceil(HEIGHT) as usize] }
    }

    /// Copies a fresh line over an old one; marks and tells whether they differ.
    pub fn update(&mut self, y: u32, old: &mut [u32], new: &[u32]) -> bool {
        if old == new {
            return false;
        }
        let row = &mut self.rows[(y / HEIGHT) as usize];
        for ((old, new), tile) in old.chunks_mut(WIDTH).zip(new.chunks(WIDTH)).zip(row) {
            if old != new {
                old.copy_from_slice(new);
                *tile = true;
            }
        }
        true
    }

    /// Marks the tile in this column and row of tiles.
    pub fn mark(&mut self, column: usize, row: usize) {
        self.rows[row][column] = true;
    }

    /// Rectangles that cover what changed: runs of tiles, joined with the same runs below.
    pub fn rectangles(&self) -> Vec<Rect> {
        let mut done: Vec<Rect> = Vec::new();
        let mut open: Vec<Rect> = Vec::new();
        for (number, row) in self.rows.iter().enumerate() {
            let y = number as u32 * HEIGHT;
            let height = HEIGHT.min(self.size.1 - y);
            let mut next = Vec::new();
            for (x, width) in self.runs(row) {
                match open.iter().position(|above| above.x == x && above.width == width) {
                    Some(at) => {
                        let above = open.swap_remove(at);
                        next.push(Rect { height: above.height + height, ..above });
                    }
                    None => next.push(Rect { x, y, width, height }),
                }
            }
            done.append(&mut open);
            open = next;
        }
        done.append(&mut open);
        done.sort_by_key(|rect| (rect.y, rect.x));
        done
    }

    /// Left edge and width in pixels of each run of changed tiles.
    fn runs(&self, row: &[bool]) -> Vec<(u32, u32)> {
        let mut runs = Vec::new();
        let mut at = 0;
        while let Some(start) = row[at..].iter().position(|&tile| tile).map(|skipped| at + skipped) {
            let length = row[start..].iter().take_while(|&&tile| tile).count();
            at = start + length;
            let (left, right) = ((start * WIDTH) as u32, ((at * WIDTH) as u32).min(self.size.0));
            runs.push((left, right - left));
        }
        runs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changed_tiles_become_few_rectangles() {
        let mut changes = Changes::new((200, 50));
        let (mut old, mut new) = (vec![0; 200], vec![0; 200]);
        (new[70], new[199]) = (1, 2);
        for y in [17, 40, 49] {
            assert!(changes.update(y, &mut old.clone(), &new));
        }
        assert!(changes.update(3, &mut old, &new) && old == new);
        assert!(!changes.update(3, &mut old, &new));
        let expected =
            [Rect { x: 64, y: 0, width: 64, height: 50 }, Rect { x: 192, y: 0, width: 8, height: 50 }];
        assert_eq!(changes.rectangles(), expected);
    }
}
