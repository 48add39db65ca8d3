//! The way of a guest's bytes out of a console or a channel: from its transmit queue through a bounded buffer to whoever reads.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::class::VirtQueue;
use super::lock;
use super::worker::Bell;

/// What waits in either direction: for a driver that is slow, or for a reader on the host who is.
pub(super) const MOST_WAITING: usize = 64 << 10;
const PIECE: usize = 4096;

/// Where the guest's bytes go; may wait for a reader. Called from a thread of the outlet's own.
pub type Sink = Box<dyn Fn(&[u8]) + Send + Sync>;

/// The guest's bytes on their way to the sink, whose slowness no reset waits for.
#[derive(Default)]
pub(super) struct Output {
    state: Mutex<(VecDeque<u8>, bool)>,
    changed: Condvar,
}

impl Output {
    /// Takes bytes as soon as there is room; gives up when `over`.
    pub(super) fn put(&self, data: &[u8], over: impl Fn() -> bool) {
        let mut state = lock(&self.state);
        while state.0.len() + data.len() > MOST_WAITING && !state.1 {
            if over() {
                return;
            }
            let waited = self.changed.wait_timeout(state, Duration::from_millis(20));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.0.extend(data);
        self.changed.notify_all();
    }

    /// Passes bytes on until it is closed and empty.
    fn run(&self, sink: &Sink) {
        loop {
            let mut state = lock(&self.state);
            while state.0.is_empty() && !state.1 {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            if state.0.is_empty() {
                return;
            }
            let bytes: Vec<u8> = state.0.drain(..).collect();
            drop(state);
            self.changed.notify_all();
            sink(&bytes);
        }
    }

    fn close(&self) {
        lock(&self.state).1 = true;
        self.changed.notify_all();
    }

    /// How many bytes are on their way.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        lock(&self.state).0.len()
    }
}

/// An output with the thread that passes it on.
pub(super) struct Outlet {
    output: Arc<Output>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl Outlet {
    /// `name` is the thread's.
    ///
    /// # Errors
    /// The host has no thread for it.
    pub(super) fn new(name: &str, sink: Sink) -> std::io::Result<Self> {
        let output = Arc::new(Output::default());
        let its = Arc::clone(&output);
        let writer = thread::Builder::new().name(name.into()).spawn(move || its.run(&sink))?;
        Ok(Self { output, writer: Mutex::new(Some(writer)) })
    }

    pub(super) fn output(&self) -> &Arc<Output> {
        &self.output
    }

    /// Returns when the sink has all there was, or has not taken it in `patience`.
    pub(super) fn close(&self, patience: Duration) {
        self.output.close();
        let (Some(writer), begun) = (lock(&self.writer).take(), Instant::now()) else { return };
        while !writer.is_finished() && begun.elapsed() < patience {
            thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        self.output.close(); // without waiting: the sink may need what our caller holds
    }
}

/// Puts what a transmit queue has into an output, until the bell ends.
pub(super) fn transmit(mut queue: VirtQueue, output: &Output, bell: &Bell) {
    let (mut chain, mut piece) = (queue.chain(), [0; PIECE]);
    while bell.wait(Duration::ZERO) {
        queue.drain(&mut chain, |chain| {
            let mut at = 0;
            while !bell.ended() {
                let length = chain.read(at, &mut piece);
                if length == 0 {
                    break;
                }
                output.put(&piece[..length], || bell.ended());
                at += length as u64;
            }
            Ok(0)
        });
    }
}
