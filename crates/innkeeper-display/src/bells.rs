//! Telling those who wait that a screen has changed, so that they need not look at it meanwhile.
//!
//! Whoever waits hangs up a bell, and then looks once more; whoever changes the screen does it first, and then rings.
//! So one of the two sees the other. A bell rings once.

use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::sync::{Arc, Mutex, PoisonError};

/// Called by whoever changes the screen, which may be a vCPU: it must not wait for long, nor look at the screen.
pub type Bell = Arc<dyn Fn() + Send + Sync>;

/// The bells of a screen.
#[derive(Default)]
pub struct Bells {
    any: AtomicBool,
    bells: Mutex<Vec<Bell>>,
}

impl Bells {
    /// Idempotent.
    pub fn hang(&self, bell: &Bell) {
        let mut bells = self.bells.lock().unwrap_or_else(PoisonError::into_inner);
        if !bells.iter().any(|other| Arc::ptr_eq(other, bell)) {
            bells.push(Arc::clone(bell));
        }
        self.any.store(true, Ordering::SeqCst); // while the bells are held: whoever takes them has cleared it before
        drop(bells);
        fence(Ordering::SeqCst);
    }

    /// The screen has changed: no more than a look at a word, if nobody waits.
    pub fn ring(&self) {
        fence(Ordering::SeqCst);
        if self.any.load(Ordering::Relaxed) && self.any.swap(false, Ordering::SeqCst) {
            let bells = std::mem::take(&mut *self.bells.lock().unwrap_or_else(PoisonError::into_inner));
            bells.iter().for_each(|bell| bell());
        }
    }
}
