//! The thread that brings a card what arrives at a descriptor of the host's.
//!
//! A frame that finds no room in the card waits, and with it what the host has behind it.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use std::io::IoSlice;

use crate::sys::{Wake, wait_readable};
use crate::{Card, HEADER_BYTES};

/// Frames after which the card is told, even if there are more.
const BATCH: usize = 64;
/// Frames at most that were meant for whoever was here before.
const STALE: usize = 1024;

/// Where frames come from.
pub trait Source: Send + 'static {
    /// The descriptor to wait for.
    fn descriptor(&self) -> RawFd;
    /// Takes the next frame; false if there is none now.
    ///
    /// # Errors
    /// There will never be one again.
    fn next(&mut self) -> io::Result<bool>;
    /// The frame that was taken last, with its header.
    fn frame(&self) -> &[u8];
}

struct Shared {
    card: Mutex<Option<Arc<dyn Card>>>,
    wake: Wake,
    ending: AtomicBool,
    gone: AtomicBool,
    /// A card has come since the thread last looked: what waited is not for it.
    fresh: AtomicBool,
}

impl Shared {
    fn card(&self) -> MutexGuard<'_, Option<Arc<dyn Card>>> {
        self.card.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub struct Pump {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Pump {
    /// # Errors
    /// The host has no descriptor or no thread left.
    pub fn start(name: &str, source: impl Source) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            card: Mutex::new(None),
            wake: Wake::new()?,
            ending: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            fresh: AtomicBool::new(false),
        });
        let its = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name(name.into()).spawn(move || its.work(source))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// From now on frames go there.
    pub fn connect(&self, card: Arc<dyn Card>) {
        *self.shared.card() = Some(card);
        self.shared.fresh.store(true, Ordering::Release);
        self.shared.wake.wake();
    }

    /// Returns when no call to the card is under way.
    pub fn disconnect(&self) {
        *self.shared.card() = None;
    }

    /// The card has room again.
    pub fn ready(&self) {
        self.shared.wake.wake();
    }

    /// Whether the host's side is gone for good.
    pub fn is_gone(&self) -> bool {
        self.shared.gone.load(Ordering::Acquire)
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        self.shared.ending.store(true, Ordering::Release);
        self.shared.wake.wake();
        if let Some(thread) = self.thread.take() {
            drop(thread.join()); // a thread that panicked has said so already
        }
    }
}

/// Why the thread waits.
#[derive(PartialEq, Eq)]
enum Waits {
    ForHost,
    ForCard,
}

impl Shared {
    fn work(&self, mut source: impl Source) {
        let mut held = false;
        while !self.ending.load(Ordering::Acquire) {
            let Ok(waits) = self.turn(&mut source, &mut held) else {
                self.gone.store(true, Ordering::Release);
                return;
            };
            let host = if waits == Waits::ForHost { source.descriptor() } else { -1 };
            wait_readable([host, self.wake.as_raw_fd()]);
            self.wake.clear();
        }
    }

    /// Brings what there is. `held` says that the last frame is still to be brought.
    fn turn(&self, source: &mut impl Source, held: &mut bool) -> io::Result<Waits> {
        if self.fresh.swap(false, Ordering::AcqRel) {
            *held = false;
            for _ in 0..STALE {
                if !source.next()? {
                    break;
                }
            }
        }
        // Locked while the card is called, so that nobody is when `disconnect` returns.
        let card = self.card();
        let Some(card) = card.as_ref() else { return Ok(Waits::ForCard) };
        let mut result = Waits::ForHost;
        for _ in 0..BATCH {
            if !*held && !source.next()? {
                break;
            }
            *held = source.frame().len() > HEADER_BYTES && !card.receive(&[IoSlice::new(source.frame())]);
            if *held {
                result = Waits::ForCard;
                break;
            }
        }
        card.flush();
        Ok(result)
    }
}
