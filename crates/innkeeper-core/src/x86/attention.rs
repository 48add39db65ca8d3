//! How other threads get a vCPU's attention: a word that the run loop reads between blocks, and a
//! sleep that ends when a bit of it is raised.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::Duration;

/// An interrupt may be deliverable: ask the local APIC.
pub const INTERRUPT: u32 = 1;
pub const NMI: u32 = 2;
pub const INIT: u32 = 4;
pub const SIPI: u32 = 8;
/// Return to the machine.
pub const KICK: u32 = 16;
/// Drop cached write access: some page has become a code page.
pub const CODE: u32 = 32;
/// Something local to the vCPU changed (IF set, TF, a shadow, HLT): look before the next block.
pub const LOCAL: u32 = 64;

/// The attention word of one vCPU.
#[derive(Default)]
pub struct Attention {
    bits: AtomicU32,
    sleeping: Mutex<bool>,
    wake: Condvar,
}

impl Attention {
    /// Raises bits, from any thread, and wakes the vCPU if it sleeps.
    pub fn raise(&self, bits: u32) {
        self.bits.fetch_or(bits, Ordering::SeqCst);
        if *self.sleeping.lock().expect("attention lock") {
            self.wake.notify_all();
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
        let mut sleeping = self.sleeping.lock().expect("attention lock");
        *sleeping = true;
        if self.bits.load(Ordering::SeqCst) & mask == 0 {
            sleeping = self.wake.wait_timeout(sleeping, limit).expect("attention lock").0;
        }
        *sleeping = false;
    }
}
