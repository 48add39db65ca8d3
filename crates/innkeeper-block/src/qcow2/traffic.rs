//! Who is doing what to an image: requests under way, and guest clusters whose mapping is being changed.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};

/// Requests under way, so that a freed cluster is not given away while one may still use it.
///
/// A request counts in the epoch that it began in, one of two that alternate. What was freed in one epoch is safe
/// to give away once the next has begun and none of the old one's requests are left.
#[derive(Default)]
pub struct Epochs {
    now: AtomicUsize,
    under_way: [AtomicUsize; 2],
}

pub struct UnderWay<'a>(&'a AtomicUsize);

impl Epochs {
    pub fn enter(&self) -> UnderWay<'_> {
        loop {
            let now = self.now.load(Ordering::SeqCst);
            let count = &self.under_way[now & 1];
            count.fetch_add(1, Ordering::SeqCst);
            // An epoch that ended between the two lines might already have been found empty.
            if self.now.load(Ordering::SeqCst) == now {
                return UnderWay(count);
            }
            count.fetch_sub(1, Ordering::SeqCst);
        }
    }

    pub fn now(&self) -> usize {
        self.now.load(Ordering::SeqCst)
    }

    /// Begins the next epoch if nobody is left of the last one; whether it did.
    pub fn advance(&self) -> bool {
        let now = self.now.load(Ordering::SeqCst);
        let old = &self.under_way[(now & 1) ^ 1];
        if old.load(Ordering::SeqCst) != 0 {
            return false;
        }
        self.now.compare_exchange(now, now.wrapping_add(1), Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Guest ranges whose mapping somebody is changing; a second who wants to waits.
#[derive(Default)]
pub struct Claims {
    taken: Mutex<Vec<Range<u64>>>,
    released: Condvar,
}

pub struct Claim<'a> {
    claims: &'a Claims,
    range: Range<u64>,
}

impl Claims {
    pub fn take(&self, range: Range<u64>) -> Claim<'_> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        while taken.iter().any(|other| other.start < range.end && range.start < other.end) {
            taken = self.released.wait(taken).unwrap_or_else(PoisonError::into_inner);
        }
        taken.push(range.clone());
        drop(taken);
        Claim { claims: self, range }
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let mut taken = self.claims.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = taken.iter().position(|range| *range == self.range) {
            taken.swap_remove(at);
        }
        drop(taken);
        self.claims.released.notify_all();
    }
}
