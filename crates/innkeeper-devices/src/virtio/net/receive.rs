//! From the link into the driver's buffers.
//!
//! Spec: virtio 1.2, 5.1.6.3 and 5.1.6.4.

use std::io::IoSlice;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use innkeeper_net::{Card, HEADER_BYTES};

use super::filter::Steering;
use super::{Shared, lock};
use crate::virtio::class::VirtQueue;
use crate::virtio::queue::Chain;

/// Where the count of buffers is in the header.
const BUFFERS_AT: usize = 10;
/// Bytes of a frame that say whose it is.
const STEERED_BY: usize = 64;

struct Lane {
    queue: VirtQueue,
    /// One for each buffer that a frame takes, used again and again.
    chains: Vec<Chain>,
    pushed: Vec<(u16, u32)>,
}

/// The receiving side of a card whose driver is ready.
pub struct Receiver {
    shared: Arc<Shared>,
    lanes: Vec<Option<Mutex<Lane>>>,
    header: usize,
    mergeable: bool,
    /// A frame found no room: the link waits to hear of some.
    starving: AtomicBool,
    pub steering: Steering,
}

impl Receiver {
    pub fn new(shared: Arc<Shared>, queues: Vec<Option<VirtQueue>>, header: usize, mergeable: bool) -> Self {
        let lane =
            |queue: VirtQueue| Mutex::new(Lane { chains: vec![queue.chain()], queue, pushed: Vec::new() });
        let lanes = queues.into_iter().map(|queue| queue.map(lane)).collect();
        Self {
            shared,
            lanes,
            header,
            mergeable,
            starving: AtomicBool::new(false),
            steering: Steering::default(),
        }
    }

    /// The driver rang for one of the receive queues: there is room again.
    pub fn refilled(&self) {
        if self.starving.swap(false, Ordering::AcqRel) {
            self.shared.cable.ready();
        }
    }

    /// Where a frame goes.
    fn lane(&self, frame: &[IoSlice<'_>]) -> Option<&Mutex<Lane>> {
        let pairs = self.shared.pairs.load(Ordering::Acquire);
        let pair = if pairs > 1 { self.steered(frame) } else { 0 };
        self.lanes.get(usize::from(if pair < pairs { pair } else { 0 }))?.as_ref()
    }

    fn steered(&self, frame: &[IoSlice<'_>]) -> u16 {
        let (mut start, mut known) = ([0; HEADER_BYTES + STEERED_BY], 0);
        for slice in frame {
            let part = slice.len().min(start.len() - known);
            start[known..known + part].copy_from_slice(&slice[..part]);
            known += part;
        }
        self.steering.pair_of(start.get(HEADER_BYTES..known).unwrap_or_default())
    }
}

impl Lane {
    /// Takes buffers for `length` bytes; how many, or none if there are not enough. Then `starving` is set, and the
    /// driver asked to ring when it makes more available.
    fn take(&mut self, length: u64, mergeable: bool, starving: &AtomicBool) -> Option<usize> {
        let (mut count, mut room) = (0, 0);
        while room < length {
            if count == self.chains.len() {
                self.chains.push(self.queue.chain());
            }
            if !self.queue.pop(&mut self.chains[count]) {
                // Said first: the ring may come at once. And asked before the buffers are put back: then it means those
                // that come after them.
                starving.store(true, Ordering::Release);
                if self.queue.listen() {
                    continue;
                }
                (0..count).for_each(|_| self.queue.undo_pop());
                return None;
            }
            room += self.chains[count].writable();
            count += 1;
            if !mergeable {
                break;
            }
        }
        self.queue.ignore();
        Some(count)
    }

    /// Fills the first `count` chains and gives them back. The driver's header is `header` bytes long.
    fn fill(&mut self, count: usize, frame: &[IoSlice<'_>], header: usize) {
        let mut head = [0; HEADER_BYTES];
        head.copy_from_slice(&frame[0][..HEADER_BYTES]);
        head[BUFFERS_AT..].copy_from_slice(&(count as u16).to_le_bytes());
        self.pushed.clear();
        let mut place = self.put(&head[..header], (0, 0), count);
        place = self.put(&frame[0][HEADER_BYTES..], place, count);
        for slice in &frame[1..] {
            place = self.put(slice, place, count);
        }
        if place.0 < count {
            self.pushed.push((self.chains[place.0].head(), place.1 as u32));
        }
        self.queue.push_all(&self.pushed);
    }

    /// Writes into the chains from a place on: a chain and an offset. Gives the place after it.
    fn put(&mut self, mut bytes: &[u8], (mut chain, mut offset): (usize, u64), count: usize) -> (usize, u64) {
        while !bytes.is_empty() && chain < count {
            let done = self.chains[chain].write(offset, bytes);
            offset += done as u64;
            bytes = &bytes[done..];
            if !bytes.is_empty() {
                self.pushed.push((self.chains[chain].head(), offset as u32));
                (chain, offset) = (chain + 1, 0);
            }
        }
        (chain, offset)
    }
}

impl Card for Receiver {
    fn receive(&self, frame: &[IoSlice<'_>]) -> bool {
        let Some(ethernet) = frame.first().and_then(|slice| slice.get(HEADER_BYTES..)) else { return true };
        let Some(destination) = ethernet.first_chunk::<6>() else { return true };
        if !self.shared.up.load(Ordering::Acquire) || !lock(&self.shared.filter).wants(destination) {
            return true;
        }
        let Some(lane) = self.lane(frame) else { return true };
        let mut lane = lock(lane);
        let total: usize = frame.iter().map(|slice| slice.len()).sum();
        let length = (total - HEADER_BYTES + self.header) as u64;
        let Some(count) = lane.take(length, self.mergeable, &self.starving) else { return false };
        if self.mergeable || lane.chains[0].writable() >= length {
            lane.fill(count, frame, self.header);
        } else {
            let head = lane.chains[0].head();
            lane.queue.push(head, 0); // too small for a frame like this: it is lost
        }
        true
    }

    fn flush(&self) {
        for lane in self.lanes.iter().flatten() {
            lock(lane).queue.interrupt();
        }
    }
}
