//! How other threads get a vCPU's attention: a word that the run loop reads between blocks, and a
//! sleep that ends when a bit of it is raised.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::Duration;

/// An interrupt may be deliverable: ask the local APIC.
pub const INTERRUPT: u32 = 1;
pub const NMI: u32 = 2;
pub const INIT: u32 = 4;
pub const SIPI: u32 = 8;
/// Return to the machine.
pub const KICK: u32 = 16;
/// Drop cached write access: some page has become a code page, or is watched.
pub const CODE: u32 = 32;
/// Something local to the vCPU changed (IF set, TF, a shadow, HLT): look before the next block.
pub const LOCAL: u32 = 64;

/// Forget translations: code was written.
pub const WRITTEN: u32 = 128;
/// Forget where linear addresses lead: memory has moved in the guest-physical address space.
pub const MOVED: u32 = 256;

/// The attention word of one vCPU.
#[derive(Default)]
pub struct Attention {
    bits: AtomicU32,
    /// Translated code compares its stack pointer with this: all ones if somebody rang, else the lowest
    /// address that it may have.
    doorbell: AtomicU64,
    sleeping: AtomicBool,
    asleep: Mutex<()>,
    wake: Condvar,
}

impl Attention {
    /// Raises bits, from any thread, and wakes the vCPU if it sleeps.
    pub fn raise(&self, bits: u32) {
        self.raise_quietly(bits);
        // Either this sees `sleeping`, or the sleeper sees the bits: both are sequentially consistent.
        if self.sleeping.load(Ordering::SeqCst) {
            // The sleeper has yet to look at the bits, or it waits already and hears this.
            drop(self.asleep.lock().expect("attention lock"));
            self.wake.notify_all();
        }
    }

    /// Raises bits that a sleeping vCPU need not know of before it wakes by itself.
    pub fn raise_quietly(&self, bits: u32) {
        self.bits.fetch_or(bits, Ordering::SeqCst);
        self.doorbell.store(u64::MAX, Ordering::SeqCst);
    }

    /// The word that translated code compares its stack pointer with.
    pub fn doorbell(&self) -> *const AtomicU64 {
        &raw const self.doorbell
    }

    /// Silences the doorbell and gives the raised bits: whatever is raised later rings again.
    #[inline]
    pub fn hush(&self, lowest: u64) -> u32 {
        if self.doorbell.load(Ordering::Relaxed) != lowest {
            self.doorbell.store(lowest, Ordering::SeqCst);
        }
        self.bits.load(Ordering::SeqCst)
    }

    /// Silences the doorbell, unless somebody else rang it too.
    pub fn hush_alone(&self, lowest: u64) {
        if self.hush(lowest) != 0 {
            self.doorbell.store(u64::MAX, Ordering::SeqCst);
        }
    }

    /// The raised bits; zero almost always, so that is what the run loop tests.
    #[inline]
    pub fn bits(&self) -> u32 {
        self.bits.load(Ordering::Relaxed)
    }

    /// Takes and clears the given bits.
    pub fn take(&self, mask: u32) -> u32 {
        self.bits.fetch_and(!mask, Ordering::SeqCst) & mask
    }

    /// Sleeps until a bit of `mask` is raised, or for `limit`.
    pub fn sleep(&self, mask: u32, limit: Duration) {
        self.sleeping.store(true, Ordering::SeqCst);
        let asleep = self.asleep.lock().expect("attention lock");
        if self.bits.load(Ordering::SeqCst) & mask == 0 {
            let (_awake, _timed_out) = self.wake.wait_timeout(asleep, limit).expect("attention lock");
        }
        self.sleeping.store(false, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn no_wake_up_is_lost_between_two_threads() {
        const LIMIT: Duration = Duration::from_secs(3600);
        let (ping, pong) = (Attention::default(), Attention::default());
        let answer = |from: &Attention, to: &Attention| {
            while from.take(INTERRUPT) == 0 {
                from.sleep(INTERRUPT, LIMIT);
            }
            to.raise(INTERRUPT);
        };
        std::thread::scope(|scope| {
            scope.spawn(|| (0..2000).for_each(|_| answer(&ping, &pong)));
            ping.raise(INTERRUPT);
            (0..2000).for_each(|_| answer(&pong, &ping));
        });
    }

    #[test]
    fn only_the_awaited_bits_end_a_sleep() {
        let attention = Attention::default();
        attention.raise(INTERRUPT | NMI);
        let start = Instant::now();
        attention.sleep(NMI, Duration::from_secs(3600));
        assert_eq!(attention.take(NMI | SIPI), NMI);
        attention.sleep(SIPI, Duration::from_millis(1));
        assert!(start.elapsed() >= Duration::from_millis(1) && attention.bits() == INTERRUPT);
    }
}
