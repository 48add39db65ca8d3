//! Getting a thread out of KVM_RUN: a kick by another thread, and a heartbeat.
//!
//! KVM_RUN ends by itself only when the guest exits. A guest that spins, halts with the in-kernel
//! irqchip, or meets an instruction that KVM retries for ever, stays in until a signal comes. So
//! every VM has a thread that signals its vCPUs once per [`HEARTBEAT`]; the vCPU then looks
//! whether it was kicked, and whether the whole VM is dead.
//!
//! The signal's handler does nothing; `immediate_exit` in the vCPU's shared page closes the window
//! between the last look and KVM_RUN (api.rst, "KVM_RUN").

use std::io;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often a vCPU that stays in KVM_RUN is called out.
const HEARTBEAT: Duration = Duration::from_millis(25);
/// Heartbeats that must find every vCPU dead before the VM is.
const DEAD_BEATS: u32 = 2;

/// What other threads know about a vCPU's thread.
#[derive(Default)]
pub struct Runner {
    /// The thread that is in `run`, or 0.
    thread: AtomicI32,
    /// That thread is in KVM_RUN or about to enter it.
    in_kvm: AtomicBool,
    /// The last heartbeat that it answered.
    answered: AtomicU64,
    /// Answers in a row that found it unable to go on without another processor's help.
    dead_beats: AtomicU32,
}

impl Runner {
    /// An application processor starts out waiting for a SIPI, so it is as good as dead.
    pub fn new(waits_for_sipi: bool) -> Self {
        let dead_beats = if waits_for_sipi { DEAD_BEATS } else { 0 };
        Self { dead_beats: AtomicU32::new(dead_beats), ..Self::default() }
    }

    pub fn enter_kvm(&self) {
        self.in_kvm.store(true, Ordering::SeqCst);
    }

    pub fn leave_kvm(&self) {
        self.in_kvm.store(false, Ordering::SeqCst);
    }

    /// The guest did something, or its state was replaced.
    pub fn set_alive(&self) {
        self.dead_beats.store(0, Ordering::SeqCst);
    }

    pub fn set_waiting_for_sipi(&self) {
        self.dead_beats.store(DEAD_BEATS, Ordering::SeqCst);
    }

    /// Calls the thread out of KVM_RUN if it is there.
    pub fn interrupt(&self) {
        let thread = self.thread.load(Ordering::SeqCst);
        if thread != 0
            && self.in_kvm.load(Ordering::SeqCst)
            && let Some(signal) = kick_signal()
        {
            // SAFETY: signals one thread of our own process; should it have ended meanwhile, the
            // call fails or reaches a thread on which the handler does nothing.
            unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, signal) };
        }
    }
}

/// The heartbeat of one VM.
pub struct Watchdog {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    runners: Vec<Arc<Runner>>,
    beat: AtomicU64,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    running: usize,
    stop: bool,
}

impl Watchdog {
    /// Starts the thread, which sleeps while no vCPU is in `run`.
    pub fn new(runners: Vec<Arc<Runner>>) -> io::Result<Self> {
        let none = || io::Error::other("every real-time signal of this process has a handler already");
        kick_signal().ok_or_else(none)?;
        let (state, changed) = (Mutex::default(), Condvar::new());
        let shared = Arc::new(Shared { runners, beat: AtomicU64::new(1), state, changed });
        let theirs = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("kvm-watchdog".into()).spawn(move || theirs.serve())?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// The calling thread takes the vCPU into `run`, until the answer is dropped.
    pub fn enter<'a>(&'a self, runner: &'a Runner) -> Running<'a> {
        unblock_kick_signal();
        // SAFETY: no memory is involved.
        runner.thread.store(unsafe { libc::gettid() }, Ordering::SeqCst);
        let mut state = self.shared.state.lock().expect("watchdog lock");
        state.running += 1;
        if state.running == 1 {
            self.shared.changed.notify_one();
        }
        Running { shared: &self.shared, runner }
    }

    /// A vCPU was called out of KVM_RUN and found itself `dead`: halted with interrupts off, or
    /// waiting for a SIPI. Tells whether by now the whole VM is.
    pub fn answer(&self, runner: &Runner, dead: bool) -> bool {
        let beat = self.shared.beat.load(Ordering::SeqCst);
        if runner.answered.swap(beat, Ordering::SeqCst) != beat || !dead {
            let beats = runner.dead_beats.load(Ordering::SeqCst).saturating_add(1);
            runner.dead_beats.store(if dead { beats } else { 0 }, Ordering::SeqCst);
        }
        self.shared.runners.iter().all(|other| {
            let present = other.thread.load(Ordering::SeqCst) != 0;
            let heard = !present || other.answered.load(Ordering::SeqCst) == beat;
            heard && other.dead_beats.load(Ordering::SeqCst) >= DEAD_BEATS
        })
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.shared.state.lock().expect("watchdog lock").stop = true;
        self.shared.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            // The thread runs nothing that could panic but its lock, and then there is nobody to tell.
            let _ = thread.join();
        }
    }
}

/// A vCPU is in `run` for as long as this lives.
pub struct Running<'a> {
    shared: &'a Shared,
    runner: &'a Runner,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.runner.thread.store(0, Ordering::SeqCst);
        self.shared.state.lock().expect("watchdog lock").running -= 1;
    }
}

impl Shared {
    fn serve(&self) {
        let mut state = self.state.lock().expect("watchdog lock");
        let mut due = Instant::now() + HEARTBEAT;
        while !state.stop {
            if state.running == 0 {
                state = self.changed.wait(state).expect("watchdog lock");
                due = Instant::now() + HEARTBEAT;
                continue;
            }
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() {
                self.call();
                due = Instant::now() + HEARTBEAT;
            } else {
                state = self.changed.wait_timeout(state, left).expect("watchdog lock").0;
            }
        }
    }

    /// Calls out whoever has not answered; a new beat begins only when all have, so that one slow
    /// thread cannot be overlooked.
    fn call(&self) {
        let beat = self.beat.load(Ordering::SeqCst);
        let behind = |runner: &&Arc<Runner>| {
            runner.in_kvm.load(Ordering::SeqCst) && runner.answered.load(Ordering::SeqCst) != beat
        };
        if !self.runners.iter().any(|runner| behind(&runner)) {
            self.beat.store(beat + 1, Ordering::SeqCst);
        }
        for runner in &self.runners {
            runner.interrupt();
        }
    }
}

/// The real-time signal that ends KVM_RUN, with its handler in place: the first one that nobody
/// else in the process has claimed.
fn kick_signal() -> Option<libc::c_int> {
    static SIGNAL: OnceLock<Option<libc::c_int>> = OnceLock::new();
    extern "C" fn nothing(_signal: libc::c_int) {}
    *SIGNAL.get_or_init(|| {
        for signal in libc::SIGRTMIN()..=libc::SIGRTMAX() {
            // SAFETY: both structures are valid for the calls, all zeroes is a valid `sigaction`,
            // and the handler does nothing at all. Without SA_RESTART, so that it ends KVM_RUN.
            unsafe {
                let mut before: libc::sigaction = std::mem::zeroed();
                if libc::sigaction(signal, std::ptr::null(), &mut before) != 0
                    || before.sa_sigaction != libc::SIG_DFL
                {
                    continue;
                }
                let mut ours: libc::sigaction = std::mem::zeroed();
                ours.sa_sigaction = nothing as extern "C" fn(libc::c_int) as usize;
                if libc::sigaction(signal, &ours, std::ptr::null_mut()) == 0 {
                    return Some(signal);
                }
            }
        }
        None
    })
}

fn unblock_kick_signal() {
    let Some(signal) = kick_signal() else { return };
    // SAFETY: a local signal set, initialised before use; affects only the calling thread.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, signal);
        libc::pthread_sigmask(libc::SIG_UNBLOCK, &set, std::ptr::null_mut());
    }
}
