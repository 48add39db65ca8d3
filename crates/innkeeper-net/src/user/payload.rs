//! A stretch of a frame where the guest has it: not copied until it goes where it is going.

use std::io::IoSlice;

/// Parts that are passed on at once.
const PARTS: usize = 32;

/// `length` bytes after the first `skip` of some slices.
#[derive(Clone, Copy)]
pub struct Payload<'a> {
    slices: &'a [IoSlice<'a>],
    skip: usize,
    length: usize,
}

impl<'a> Payload<'a> {
    /// From `start` to `end` of `slices`, or as far as those go.
    pub fn new(slices: &'a [IoSlice<'a>], start: usize, end: usize) -> Self {
        let total: usize = slices.iter().map(|slice| slice.len()).sum();
        let end = end.min(total);
        Self { slices, skip: start.min(end), length: end.saturating_sub(start) }
    }

    pub fn len(&self) -> usize {
        self.length
    }

    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Without its first `count` bytes.
    #[must_use]
    pub fn after(self, count: usize) -> Self {
        let count = count.min(self.length);
        Self { skip: self.skip + count, length: self.length - count, ..self }
    }

    /// No more than its first `count` bytes.
    #[must_use]
    pub fn truncated(self, count: usize) -> Self {
        Self { length: self.length.min(count), ..self }
    }

    pub fn parts(self) -> impl Iterator<Item = &'a [u8]> {
        let (mut skip, mut left) = (self.skip, self.length);
        self.slices.iter().filter_map(move |slice| {
            let start = skip.min(slice.len());
            let end = (start + left).min(slice.len());
            skip -= start;
            left -= end - start;
            (end > start).then(|| &slice[start..end])
        })
    }

    /// Its first parts, for one system call, and how many they are.
    pub fn vectors(self) -> ([IoSlice<'a>; PARTS], usize) {
        let mut vectors = [IoSlice::new(&[]); PARTS];
        let mut count = 0;
        for (vector, part) in vectors.iter_mut().zip(self.parts()) {
            *vector = IoSlice::new(part);
            count += 1;
        }
        (vectors, count)
    }

    /// Copies its first bytes; says how many.
    pub fn copy_to(self, out: &mut [u8]) -> usize {
        let mut done = 0;
        for part in self.parts() {
            let count = part.len().min(out.len() - done);
            out[done..done + count].copy_from_slice(&part[..count]);
            done += count;
        }
        done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_that_stretch_however_it_is_cut() {
        let bytes: Vec<u8> = (0..40).collect();
        let slices: Vec<IoSlice<'_>> = bytes.chunks(7).map(IoSlice::new).collect();
        for start in 0..45usize {
            for end in 0..45 {
                let expected = bytes.get(start..end.min(40)).unwrap_or(&[]);
                let payload = Payload::new(&slices, start, end);
                let found: Vec<u8> = payload.parts().flatten().copied().collect();
                assert_eq!(found, expected);
                assert_eq!(payload.len(), expected.len());
                let mut out = [0; 5];
                let count = payload.copy_to(&mut out);
                assert_eq!(out[..count], expected[..expected.len().min(5)]);
            }
        }
        let payload = Payload::new(&slices, 3, 30).after(5).truncated(9);
        assert!(payload.parts().flatten().eq(&bytes[8..17]));
    }
}
