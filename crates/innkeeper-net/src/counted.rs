//! A link that counts the frames that pass, from the guest's side. A segment larger than the MTU counts as one frame.

use std::io::IoSlice;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::{Card, HEADER_BYTES, Link, Offloads};

#[derive(Default)]
struct Counters {
    received_bytes: AtomicU64,
    received_frames: AtomicU64,
    sent_bytes: AtomicU64,
    sent_frames: AtomicU64,
}

/// What has passed so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    pub received_bytes: u64,
    pub received_frames: u64,
    pub sent_bytes: u64,
    pub sent_frames: u64,
}

pub struct Counted {
    link: Arc<dyn Link>,
    counters: Arc<Counters>,
}

struct CountedCard {
    card: Arc<dyn Card>,
    counters: Arc<Counters>,
}

fn ethernet_bytes(frame: &[IoSlice<'_>]) -> u64 {
    let all: usize = frame.iter().map(|slice| slice.len()).sum();
    all.saturating_sub(HEADER_BYTES) as u64
}

impl Counted {
    #[must_use]
    pub fn new(link: Arc<dyn Link>) -> Self {
        Self { link, counters: Arc::default() }
    }

    #[must_use]
    pub fn traffic(&self) -> Traffic {
        let now = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Traffic {
            received_bytes: now(&self.counters.received_bytes),
            received_frames: now(&self.counters.received_frames),
            sent_bytes: now(&self.counters.sent_bytes),
            sent_frames: now(&self.counters.sent_frames),
        }
    }
}

impl Link for Counted {
    fn offloads(&self) -> Offloads {
        self.link.offloads()
    }

    fn connect(&self, card: Arc<dyn Card>, accepted: Offloads) {
        self.link.connect(Arc::new(CountedCard { card, counters: Arc::clone(&self.counters) }), accepted);
    }

    fn disconnect(&self) {
        self.link.disconnect();
    }

    fn send(&self, frame: &[IoSlice<'_>]) {
        self.counters.sent_bytes.fetch_add(ethernet_bytes(frame), Ordering::Relaxed);
        self.counters.sent_frames.fetch_add(1, Ordering::Relaxed);
        self.link.send(frame);
    }

    fn flush(&self) {
        self.link.flush();
    }

    fn ready(&self) {
        self.link.ready();
    }
}

impl Card for CountedCard {
    fn receive(&self, frame: &[IoSlice<'_>]) -> bool {
        let taken = self.card.receive(frame);
        if taken {
            self.counters.received_bytes.fetch_add(ethernet_bytes(frame), Ordering::Relaxed);
            self.counters.received_frames.fetch_add(1, Ordering::Relaxed);
        }
        taken
    }

    fn flush(&self) {
        self.card.flush();
    }
}
