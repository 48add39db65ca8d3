//! How far a tool is, told to whoever asked, and the way to stop it.
//!
//! The work is done in a thread of its own (and what that starts), so that the thread that asked for it can look
//! several times a second whether it is still wanted, whatever the host's disk is busy with.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use super::{Result, ToolError};

const LOOK: Duration = Duration::from_millis(50);

/// Called with what is done and what there is to do, in bytes; answers whether to go on.
pub type Watch<'a> = dyn FnMut(u64, u64) -> bool + 'a;

#[derive(Debug, Default)]
pub struct Progress {
    done: AtomicU64,
    total: AtomicU64,
    stop: AtomicBool,
}

impl Progress {
    /// There is so much more to do.
    pub fn expect(&self, more: u64) {
        self.total.fetch_add(more, Ordering::Relaxed);
    }

    /// So much more is done.
    ///
    /// # Errors
    /// [`ToolError::Cancelled`] when it is not wanted any more.
    pub fn advance(&self, more: u64) -> Result<()> {
        self.done.fetch_add(more, Ordering::Relaxed);
        if self.stop.load(Ordering::Relaxed) { Err(ToolError::Cancelled) } else { Ok(()) }
    }

    fn seen(&self) -> (u64, u64) {
        let total = self.total.load(Ordering::Relaxed);
        (self.done.load(Ordering::Relaxed).min(total), total)
    }
}

/// Does `work` while `watch` is told of it.
///
/// # Errors
/// Those of the work; [`ToolError::Cancelled`] once the watcher has said so and the work has stopped.
pub fn watched<T: Send>(
    watch: &mut Watch<'_>,
    work: impl FnOnce(&Progress) -> Result<T> + Send,
) -> Result<T> {
    let progress = Progress::default();
    thread::scope(|scope| {
        let (ended, end) = sync_channel::<()>(0);
        let shared = &progress;
        let worker = scope.spawn(move || {
            let result = work(shared);
            drop(ended);
            result
        });
        let mut told = (0, 0);
        while end.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
            told = progress.seen();
            if !watch(told.0, told.1) {
                progress.stop.store(true, Ordering::Relaxed);
            }
        }
        let result = worker.join().unwrap_or_else(|panic| resume_unwind(panic));
        let last = progress.seen();
        if result.is_ok() && last != told && last.1 > 0 {
            watch(last.0, last.1);
        }
        result
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watcher_sees_the_end() {
        let mut seen = Vec::new();
        let result = watched(
            &mut |done, total| {
                seen.push((done, total));
                true
            },
            |progress| {
                progress.expect(10);
                progress.advance(10)
            },
        );

        assert!(result.is_ok());
        assert_eq!(seen.last(), Some(&(10, 10)));
    }

    #[test]
    fn work_that_is_not_wanted_any_more_stops() {
        let result = watched(&mut |_, _| false, |progress| {
            loop {
                progress.advance(1)?;
                thread::sleep(Duration::from_millis(1));
            }
        });

        assert!(matches!(result, Err::<(), _>(ToolError::Cancelled)));
    }
}
