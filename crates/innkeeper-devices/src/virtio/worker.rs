//! Threads that serve queues: each sleeps until the doorbell of one of its queues rings, or it is to end.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::thread::{self, JoinHandle, Thread};
use std::time::{Duration, Instant};

use super::class::Link;
use super::lock;

/// What a worker sleeps by. Ringing it never waits.
#[derive(Default)]
pub struct Bell {
    rung: AtomicBool,
    ends: AtomicBool,
    /// Whether the worker may be asleep: else ringing costs no system call.
    sleeps: AtomicBool,
    thread: OnceLock<Thread>,
}

impl Bell {
    pub fn ring(&self) {
        self.rung.store(true, Ordering::SeqCst);
        self.wake();
    }

    fn end(&self) {
        self.ends.store(true, Ordering::SeqCst);
        self.wake();
    }

    fn wake(&self) {
        if self.sleeps.load(Ordering::SeqCst)
            && let Some(thread) = self.thread.get()
        {
            thread.unpark();
        }
    }

    /// Whether the worker is asleep, or about to be.
    pub fn sleeps(&self) -> bool {
        self.sleeps.load(Ordering::SeqCst)
    }

    /// Whether the worker is to end.
    pub fn ended(&self) -> bool {
        self.ends.load(Ordering::Acquire)
    }

    /// Waits for a ring, first for `poll` without going to sleep; false when the worker is to end.
    pub fn wait(&self, poll: Duration) -> bool {
        if !poll.is_zero() {
            let begun = Instant::now();
            while !self.rung.load(Ordering::Relaxed) && !self.ended() && begun.elapsed() < poll {
                std::hint::spin_loop();
            }
        }
        if self.take_ring() {
            return !self.ended();
        }
        self.sleeps.store(true, Ordering::SeqCst);
        while !self.take_ring() && !self.ended() {
            thread::park();
        }
        self.sleeps.store(false, Ordering::SeqCst);
        !self.ended()
    }

    fn take_ring(&self) -> bool {
        self.rung.swap(false, Ordering::SeqCst)
    }
}

/// Dropped by a worker that did not get to its end.
struct Failing(Option<Arc<Link>>);

impl Failing {
    fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for Failing {
    fn drop(&mut self) {
        if let Some(device) = &self.0 {
            device.needs_reset();
        }
    }
}

/// The worker threads of an active device, and which bell each of its queues rings.
#[derive(Default)]
pub struct Workers {
    bells: RwLock<Vec<Option<Arc<Bell>>>>,
    threads: Mutex<Vec<(Arc<Bell>, JoinHandle<()>)>>,
}

impl Workers {
    /// Starts a thread that serves these queues. It has to return once its bell says that it is to end. If the host
    /// has no thread for us, or that one panics, the driver learns that its device needs a reset.
    pub fn start(
        &self,
        name: &str,
        queues: &[u16],
        device: &Arc<Link>,
        work: impl FnOnce(Arc<Bell>) + Send + 'static,
    ) {
        self.start_with(Arc::default(), name, queues, device, work);
    }

    /// The same with a bell that others have too.
    pub fn start_with(
        &self,
        bell: Arc<Bell>,
        name: &str,
        queues: &[u16],
        device: &Arc<Link>,
        work: impl FnOnce(Arc<Bell>) + Send + 'static,
    ) {
        bell.rung.store(true, Ordering::SeqCst); // the driver may have been quick
        self.hang(&bell, queues);
        let (its, guard) = (Arc::clone(&bell), Failing(Some(Arc::clone(device))));
        let body = move || {
            let _ = its.thread.set(thread::current());
            work(its);
            guard.disarm();
        };
        if let Ok(thread) = thread::Builder::new().name(name.into()).spawn(body) {
            lock(&self.threads).push((bell, thread));
        }
    }

    fn hang(&self, bell: &Arc<Bell>, queues: &[u16]) {
        let mut bells = self.bells.write().unwrap_or_else(PoisonError::into_inner);
        for &queue in queues {
            let queue = usize::from(queue);
            if bells.len() <= queue {
                bells.resize(queue + 1, None);
            }
            bells[queue] = Some(Arc::clone(bell));
        }
    }

    /// Rings for a queue: no more than a word in memory if its worker is awake.
    pub fn ring(&self, queue: u16) {
        let bells = self.bells.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(Some(bell)) = bells.get(usize::from(queue)) {
            bell.ring();
        }
    }

    /// Ends all threads, and returns when they have.
    pub fn stop(&self) {
        self.bells.write().unwrap_or_else(PoisonError::into_inner).clear();
        let threads = std::mem::take(&mut *lock(&self.threads));
        threads.iter().for_each(|(bell, _)| bell.end());
        for (_, thread) in threads {
            // A panic in there was reported by its hook, and ended the device's work: nothing else is to be done.
            let _ = thread.join();
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.stop();
    }
}
