//! The threads of one queue: one that listens and serves what is quick, and helpers for what keeps a thread.
//!
//! A request that the host answers from its page cache costs less than waking a thread for it. One that waits for a
//! device, or copies a lot while others wait, goes to a helper, so that the queue moves on. Large writes do not while the
//! host takes them as fast as it copies: its file systems let one at a time write to a file, and threads that wait for
//! that keep a processor from the guest.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::request::Server;
use crate::virtio::class::{Link, VirtQueue};
use crate::virtio::lock;
use crate::virtio::queue::Chain;
use crate::virtio::worker::{Bell, Workers};

/// Helpers of all queues of a disk together; each queue has at least one.
const HELPERS: usize = 8;
/// Beyond so many bytes, copying takes longer than waking a helper.
const LARGE: u64 = 128 << 10;
/// A request that took so long did not only copy.
const SLOW: Duration = Duration::from_micros(200);
/// The same for each MiB of a large write.
const SLOW_MIB: Duration = Duration::from_millis(1);
/// The largest write that others in the queue wait for.
const HUGE: u64 = 4 << 20;

/// What the threads of a queue share.
struct Team {
    server: Arc<Server>,
    queue: Mutex<VirtQueue>,
    jobs: Mutex<VecDeque<Chain>>,
    /// Chains to be used again.
    spare: Mutex<Vec<Chain>>,
    helpers: Vec<Arc<Bell>>,
    /// Helpers that wait for a job.
    idle: AtomicUsize,
    /// The last small request took long: it was no copy from the page cache.
    slow: AtomicBool,
    /// The same of the last large write.
    slow_write: AtomicBool,
    finishes: Arc<AtomicBool>,
}

/// Starts the threads of a queue. They end with `workers`; with `finishes` set then, not before what was handed over is done.
pub fn start(
    workers: &Workers,
    device: &Arc<Link>,
    queue: VirtQueue,
    server: &Arc<Server>,
    queues: usize,
    finishes: &Arc<AtomicBool>,
) {
    let number = queue.number();
    let helpers: Vec<_> = (0..(HELPERS / queues).max(1)).map(|_| Arc::new(Bell::default())).collect();
    let team = Arc::new(Team {
        server: Arc::clone(server),
        queue: Mutex::new(queue),
        jobs: Mutex::default(),
        spare: Mutex::default(),
        idle: AtomicUsize::new(0),
        slow: AtomicBool::new(false),
        slow_write: AtomicBool::new(false),
        finishes: Arc::clone(finishes),
        helpers,
    });
    for bell in &team.helpers {
        let team = Arc::clone(&team);
        workers.start_with(Arc::clone(bell), "virtio-blk-aid", &[], device, move |bell| team.help(&bell));
    }
    workers.start("virtio-blk", &[number], device, move |bell| team.lead(&bell));
}

impl Team {
    /// Takes what the driver makes available, until the end.
    fn lead(&self, bell: &Bell) {
        let mut chain = lock(&self.queue).chain();
        while bell.wait(Duration::ZERO) {
            loop {
                lock(&self.queue).ignore();
                while !bell.ended() && self.pop(&mut chain) {
                    if self.keeps_a_thread(&chain) {
                        let spare = self.spare_chain();
                        self.hand_over(std::mem::replace(&mut chain, spare));
                    } else {
                        self.serve(&chain);
                    }
                }
                if bell.ended() || !lock(&self.queue).listen() {
                    break;
                }
            }
        }
    }

    /// Serves what is handed over, until the end.
    fn help(&self, bell: &Bell) {
        self.idle.fetch_add(1, Ordering::SeqCst);
        while bell.wait(Duration::ZERO) {
            while !bell.ended() {
                let Some(chain) = lock(&self.jobs).pop_front() else { break };
                self.idle.fetch_sub(1, Ordering::SeqCst);
                self.serve(&chain);
                lock(&self.spare).push(chain);
                self.idle.fetch_add(1, Ordering::SeqCst);
            }
        }
    }

    fn pop(&self, chain: &mut Chain) -> bool {
        lock(&self.queue).pop(chain)
    }

    fn keeps_a_thread(&self, chain: &Chain) -> bool {
        let waits = self.server.waits(chain)
            || match chain.readable() {
                LARGE..HUGE => self.slow_write.load(Ordering::Relaxed),
                readable => {
                    let large = readable.max(chain.writable()) >= LARGE;
                    self.slow.load(Ordering::Relaxed) || large && lock(&self.queue).has_more()
                }
            };
        waits && self.idle.load(Ordering::SeqCst) > 0
    }

    fn hand_over(&self, chain: Chain) {
        let mut jobs = lock(&self.jobs);
        jobs.push_back(chain);
        let first = jobs.len() - 1;
        drop(jobs);
        // Whoever is idle looks at the jobs when its bell rings; the busy ones do before they sleep.
        for bell in self.helpers.iter().skip(first % self.helpers.len()).chain(&self.helpers) {
            if bell.sleeps() {
                return bell.ring();
            }
        }
        self.helpers.iter().for_each(|bell| bell.ring());
    }

    fn spare_chain(&self) -> Chain {
        let spare = lock(&self.spare).pop();
        spare.unwrap_or_else(|| lock(&self.queue).chain())
    }

    fn serve(&self, chain: &Chain) {
        let begun = Instant::now();
        let result = self.server.serve(chain);
        match (chain.readable(), chain.writable()) {
            (LARGE.., _) => {
                let most = SLOW_MIB.mul_f64(chain.readable() as f64 / f64::from(1 << 20));
                self.slow_write.store(begun.elapsed() > most, Ordering::Relaxed);
            }
            (_, LARGE..) => {}
            _ => self.slow.store(begun.elapsed() > SLOW, Ordering::Relaxed),
        }
        let mut queue = lock(&self.queue);
        match result {
            Ok(written) => queue.push(chain.head(), written),
            Err(fault) => queue.fail(fault),
        }
        queue.interrupt();
    }
}

/// The last of its threads has ended.
impl Drop for Team {
    fn drop(&mut self) {
        if self.finishes.load(Ordering::SeqCst) {
            let jobs = std::mem::take(&mut *lock(&self.jobs));
            jobs.iter().for_each(|chain| self.serve(chain));
        }
    }
}
