//! The timer thread of one VM: a queue of deadlines, one slot for each timer chip, and a sleep until
//! the earliest. Nothing polls; a chip that is late is told once and coalesces as it sees fit.

use std::collections::BTreeSet;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::clock::Clock;

/// The longest sleep, so that no deadline overflows the host's time arithmetic.
const LONGEST: Duration = Duration::from_secs(3600);
/// How late the host may wake the timer thread, in nanoseconds (its default is 50 µs).
const SLACK_NS: libc::c_ulong = 1000;

/// Deadlines by slot, in nanoseconds of the VM's clock.
pub struct Timers {
    clock: Arc<Clock>,
    queue: Mutex<Queue>,
    earlier: Condvar,
}

struct Queue {
    due: BTreeSet<(u64, usize)>,
    armed: Vec<Option<u64>>,
    /// When the thread will look again by itself.
    looks_at: u64,
    stopped: bool,
}

impl Timers {
    pub fn new(clock: Arc<Clock>, slots: usize) -> Arc<Self> {
        let queue = Queue { due: BTreeSet::new(), armed: vec![None; slots], looks_at: 0, stopped: false };
        Arc::new(Self { clock, queue: Mutex::new(queue), earlier: Condvar::new() })
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().expect("timer queue lock")
    }

    /// Sets, moves or clears the deadline of a slot.
    pub fn arm(&self, slot: usize, deadline: Option<u64>) {
        let mut queue = self.queue();
        let before = std::mem::replace(&mut queue.armed[slot], deadline);
        if before == deadline {
            return;
        }
        if let Some(before) = before {
            queue.due.remove(&(before, slot));
        }
        if let Some(deadline) = deadline {
            queue.due.insert((deadline, slot));
            if deadline < queue.looks_at {
                self.earlier.notify_one();
            }
        }
    }

    /// Starts the thread. `expire` is called with each slot whose deadline has passed, with no lock
    /// held; it says whether to go on.
    pub fn start(
        self: &Arc<Self>,
        expire: impl Fn(usize) -> bool + Send + 'static,
    ) -> std::io::Result<JoinHandle<()>> {
        let timers = Arc::clone(self);
        let body = move || {
            // SAFETY: PR_SET_TIMERSLACK only changes how late this thread's own sleeps may end.
            unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, SLACK_NS) };
            while let Some(slot) = timers.next() {
                if !expire(slot) {
                    return;
                }
            }
        };
        std::thread::Builder::new().name("inn-timers".into()).spawn(body)
    }

    /// Waits for the next deadline to pass; `None` once stopped.
    fn next(&self) -> Option<usize> {
        let mut queue = self.queue();
        loop {
            if queue.stopped {
                return None;
            }
            let now = self.clock.nanoseconds();
            let sleep = match queue.due.first().copied() {
                Some((deadline, slot)) if deadline <= now => {
                    queue.due.pop_first();
                    queue.armed[slot] = None;
                    queue.looks_at = 0; // awake: no need to be woken
                    return Some(slot);
                }
                Some((deadline, _)) => Duration::from_nanos(deadline - now).min(LONGEST),
                None => LONGEST,
            };
            queue.looks_at = now.saturating_add(sleep.as_nanos() as u64);
            queue = self.earlier.wait_timeout(queue, sleep).expect("timer queue lock").0;
        }
    }

    /// Ends the thread.
    pub fn stop(&self) {
        self.queue().stopped = true;
        self.earlier.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    const MS: u64 = 1_000_000;

    #[test]
    fn slots_expire_in_order_of_their_deadlines() {
        let clock = Arc::new(Clock::new());
        let timers = Timers::new(Arc::clone(&clock), 4);
        let (send, receive) = mpsc::channel();
        let thread = timers.start(move |slot| send.send((slot, clock.nanoseconds())).is_ok()).unwrap();
        let now = timers.clock.nanoseconds();
        timers.arm(0, Some(now + 3 * MS));
        timers.arm(1, Some(now + 2 * MS));
        timers.arm(2, Some(now + 3600 * 1000 * MS));
        timers.arm(3, Some(now + MS));
        timers.arm(3, None);
        timers.arm(2, Some(now + MS));
        let fired: Vec<_> = (0..3).map(|_| receive.recv().unwrap()).collect();
        assert_eq!(fired.iter().map(|f| f.0).collect::<Vec<_>>(), [2, 1, 0]);
        for ((_, at), due) in fired.iter().zip([MS, 2 * MS, 3 * MS]) {
            assert!(*at >= now + due);
        }
        timers.stop();
        thread.join().unwrap();
        assert!(receive.try_recv().is_err());
    }

    #[test]
    fn a_far_deadline_overflows_nothing_and_stopping_interrupts_the_sleep() {
        let timers = Timers::new(Arc::new(Clock::new()), 1);
        let thread = timers.start(|_| panic!("fired")).unwrap();
        timers.arm(0, Some(u64::MAX));
        timers.arm(0, Some(u64::MAX - 1));
        timers.stop();
        thread.join().unwrap();
    }
}
