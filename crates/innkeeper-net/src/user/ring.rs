//! Bytes on their way between guest and host: rings of a fixed size, and the few of them that there are.
//!
//! A connection has a ring only while it has bytes to keep, so idle ones cost nothing, and a guest that opens
//! many and reads none holds no more than the pool.

use std::io::IoSlice;

/// Bytes in a ring.
pub const RING_BYTES: usize = 256 << 10;
/// Rings of one link: 64 MiB.
const RINGS: usize = 256;

/// The rings that nobody uses.
#[derive(Default)]
pub struct Pool {
    free: Vec<Box<[u8]>>,
    lent: usize,
}

impl Pool {
    fn lend(&mut self) -> Option<Box<[u8]>> {
        if self.lent == RINGS {
            return None;
        }
        self.lent += 1;
        Some(self.free.pop().unwrap_or_else(|| vec![0; RING_BYTES].into_boxed_slice()))
    }

    /// Whether none is left.
    pub fn is_empty(&self) -> bool {
        self.lent == RINGS
    }
}

/// A queue of bytes.
#[derive(Default)]
pub struct Ring {
    bytes: Option<Box<[u8]>>,
    start: usize,
    length: usize,
}

impl Ring {
    pub fn len(&self) -> usize {
        self.length
    }

    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    pub fn room(&self) -> usize {
        RING_BYTES - self.length
    }

    /// Appends as much as there is room for; says how much that was.
    pub fn push(&mut self, pool: &mut Pool, data: &[u8]) -> usize {
        let mut done = 0;
        while done < data.len() {
            let Some(room) = self.contiguous_room(pool).filter(|room| !room.is_empty()) else { break };
            let part = room.len().min(data.len() - done);
            room[..part].copy_from_slice(&data[done..done + part]);
            self.length += part;
            done += part;
        }
        self.give_back(pool);
        done
    }

    /// The next free bytes, up to where they wrap; None if the pool has no ring. Tell with [`Self::filled`] how much
    /// was written there.
    pub fn contiguous_room(&mut self, pool: &mut Pool) -> Option<&mut [u8]> {
        if self.bytes.is_none() {
            (self.bytes, self.start) = (Some(pool.lend()?), 0);
        }
        let bytes = self.bytes.as_mut()?;
        let at = (self.start + self.length) % RING_BYTES;
        let end = if at < self.start { self.start } else { RING_BYTES };
        if self.length == RING_BYTES { Some(&mut []) } else { Some(&mut bytes[at..end]) }
    }

    pub fn filled(&mut self, pool: &mut Pool, count: usize) {
        debug_assert!(count <= self.room());
        self.length += count;
        self.give_back(pool);
    }

    /// `length` bytes from `from` on, in two parts as they may wrap.
    pub fn slices(&self, from: usize, length: usize) -> [IoSlice<'_>; 2] {
        debug_assert!(from + length <= self.length);
        let Some(bytes) = self.bytes.as_ref().filter(|_| length > 0) else {
            return [IoSlice::new(&[]), IoSlice::new(&[])];
        };
        let at = (self.start + from) % RING_BYTES;
        let first = length.min(RING_BYTES - at);
        [IoSlice::new(&bytes[at..at + first]), IoSlice::new(&bytes[..length - first])]
    }

    pub fn drop_front(&mut self, pool: &mut Pool, count: usize) {
        debug_assert!(count <= self.length);
        self.start = (self.start + count) % RING_BYTES;
        self.length -= count;
        self.give_back(pool);
    }

    pub fn clear(&mut self, pool: &mut Pool) {
        self.length = 0;
        self.give_back(pool);
    }

    fn give_back(&mut self, pool: &mut Pool) {
        if self.length == 0
            && let Some(bytes) = self.bytes.take()
        {
            pool.lent -= 1;
            pool.free.push(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    #[test]
    fn it_is_a_queue_of_bytes() {
        let (mut pool, mut ring, mut model) = (Pool::default(), Ring::default(), VecDeque::new());
        let mut seed = 7u64;
        let mut next = |limit: usize| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) as usize % limit
        };
        for _ in 0..2000 {
            let data: Vec<u8> = (0..next(60_000)).map(|i| (i * 7) as u8).collect();
            let taken = ring.push(&mut pool, &data);
            assert_eq!(taken, data.len().min(RING_BYTES - model.len()));
            model.extend(&data[..taken]);
            let (from, length) = (next(model.len() + 1), model.len());
            let [one, two] = ring.slices(from, length - from);
            assert!(one.iter().chain(two.iter()).eq(model.iter().skip(from)));
            let gone = next(model.len() + 1);
            ring.drop_front(&mut pool, gone);
            model.drain(..gone);
            assert_eq!(ring.len(), model.len());
        }
        ring.clear(&mut pool);
        assert_eq!(pool.lent, 0);
    }

    #[test]
    fn there_are_no_more_than_the_pool_has() {
        let mut pool = Pool::default();
        let mut rings: Vec<Ring> = (0..=RINGS).map(|_| Ring::default()).collect();
        let taken: usize = rings.iter_mut().map(|ring| ring.push(&mut pool, b"x")).sum();
        assert_eq!(taken, RINGS);
        rings[0].drop_front(&mut pool, 1);
        assert_eq!(rings[RINGS].push(&mut pool, b"x"), 1);
    }
}
