//! A medium that writes down what happens to it, so that a test can cut the power anywhere.

use std::io::{self, IoSlice, IoSliceMut};
use std::sync::{Arc, Mutex};

use crate::medium::{Medium, Memory, Stretch};
use crate::testing::Rng;

/// What happened.
#[derive(Clone, Debug)]
pub enum Event {
    Write {
        offset: u64,
        bytes: Vec<u8>,
    },
    Zero {
        offset: u64,
        length: u64,
    },
    Size(u64),
    Flush,
    /// The test's own: everything before was promised to be durable.
    Mark(usize),
}

pub struct Recorder {
    inner: Memory,
    /// What was there when the recording began.
    start: Vec<u8>,
    log: Mutex<Vec<Event>>,
}

impl Recorder {
    pub fn new(start: Vec<u8>) -> Arc<Self> {
        Arc::new(Self { inner: Memory::new(&start), start, log: Mutex::default() })
    }

    pub fn note(&self, event: Event) {
        self.log.lock().unwrap().push(event);
    }

    /// As it is without a loss of power.
    pub fn bytes(&self) -> Vec<u8> {
        self.inner.bytes()
    }

    pub fn events(&self) -> usize {
        self.log.lock().unwrap().len()
    }

    /// What is on the disk if the power fails after `upto` events: all that a flush came after, and of the rest a
    /// random choice of sectors, written in a random order.
    pub fn cut(&self, upto: usize, rng: &mut Rng) -> (Memory, Option<usize>) {
        let log = self.log.lock().unwrap();
        let flushed = log[..upto].iter().rposition(|event| matches!(event, Event::Flush)).unwrap_or(0);
        let promised = log[..upto].iter().rev().find_map(|event| match event {
            Event::Mark(number) => Some(*number),
            _ => None,
        });
        let disk = Memory::new(&self.start);
        log[..flushed].iter().for_each(|event| apply(&disk, event));
        let mut rest: Vec<Event> = log[flushed..upto].iter().flat_map(sectors).collect();
        match rng.below(4) {
            0 => rest.truncate(rng.below(rest.len() as u64 + 1) as usize), // in order, up to somewhere
            1 => rest.clear(),
            _ => {
                rest.retain(|_| rng.one_in(2));
                // Writes of one sector keep their order: the last to reach the disk's cache is what it holds.
                shuffle_apart(&mut rest, rng);
            }
        }
        rest.iter().for_each(|event| apply(&disk, event));
        (disk, promised)
    }
}

/// Swaps neighbours that do not touch the same sector.
fn shuffle_apart(events: &mut [Event], rng: &mut Rng) {
    for _ in 0..events.len() {
        if events.len() < 2 {
            return;
        }
        let at = rng.below(events.len() as u64 - 1) as usize;
        let apart = match (&events[at], &events[at + 1]) {
            (Event::Write { offset: one, .. }, Event::Write { offset: other, .. }) => {
                one / 512 != other / 512
            }
            _ => false,
        };
        if apart {
            events.swap(at, at + 1);
        }
    }
}

/// A write in the pieces that reach a disk whole.
fn sectors(event: &Event) -> Vec<Event> {
    let Event::Write { offset, bytes } = event else { return vec![event.clone()] };
    let mut pieces = vec![];
    let mut at = 0;
    while at < bytes.len() {
        let from = offset + at as u64;
        let length = (512 - (from % 512) as usize).min(bytes.len() - at);
        pieces.push(Event::Write { offset: from, bytes: bytes[at..at + length].to_vec() });
        at += length;
    }
    pieces
}

fn apply(disk: &Memory, event: &Event) {
    match event {
        Event::Write { offset, bytes } => disk.write_all(*offset, bytes).unwrap(),
        Event::Zero { offset, length } => disk.discard(*offset, *length).unwrap(),
        Event::Size(size) => disk.set_size(*size).unwrap(),
        Event::Flush | Event::Mark(_) => {}
    }
}

impl Medium for Recorder {
    fn name(&self) -> &'static str {
        "recorder"
    }

    fn is_read_only(&self) -> bool {
        false
    }

    fn grows(&self) -> bool {
        true
    }

    fn size(&self) -> io::Result<u64> {
        self.inner.size()
    }

    fn read(&self, offset: u64, buffers: &mut [IoSliceMut<'_>]) -> io::Result<()> {
        self.inner.read(offset, buffers)
    }

    fn write(&self, offset: u64, buffers: &[IoSlice<'_>]) -> io::Result<()> {
        let bytes = buffers.iter().flat_map(|buffer| buffer.iter().copied()).collect();
        let mut log = self.log.lock().unwrap();
        log.push(Event::Write { offset, bytes });
        self.inner.write(offset, buffers)
    }

    fn flush(&self) -> io::Result<()> {
        self.note(Event::Flush);
        Ok(())
    }

    fn write_zeroes(&self, offset: u64, length: u64, _unmap: bool) -> io::Result<()> {
        self.write_all(offset, &vec![0; length as usize])
    }

    fn discard(&self, offset: u64, length: u64) -> io::Result<()> {
        self.note(Event::Zero { offset, length });
        self.inner.discard(offset, length)
    }

    fn set_size(&self, size: u64) -> io::Result<()> {
        self.note(Event::Size(size));
        self.inner.set_size(size)
    }

    fn allocate(&self, offset: u64, length: u64) -> io::Result<()> {
        self.inner.allocate(offset, length)
    }

    fn stretch(&self, offset: u64) -> io::Result<Stretch> {
        self.inner.stretch(offset)
    }
}
