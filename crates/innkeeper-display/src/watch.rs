//! Waiting for a screen to change: looking often while it does or someone types, seldom while it rests, and not at all
//! while nobody wants to know.
//!
//! A screen cannot tell that it has changed: what a guest stores to its frame buffer is not trapped. So it is looked
//! at, which is little work where nothing did ([`Screen::refresh`]).

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::{Frame, Screen};

/// Between two looks while something happens: a little less than a frame of 60 a second.
const LIVELY: Duration = Duration::from_millis(12);
/// Between two looks at a screen that rests. What appears on it shall be seen within 50 ms, encoding included.
const RESTING: Duration = Duration::from_millis(24);
/// Something happened so lately that more may be expected.
const LATELY: Duration = Duration::from_millis(500);

struct State {
    wanted: bool,
    closed: bool,
    stirred: Option<Instant>,
}

/// The one that waits, and those who tell it when to.
pub struct Watch {
    screen: Arc<dyn Screen>,
    state: Mutex<State>,
    told: Condvar,
    /// What the one who waits has seen.
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    frame: Frame,
    cursor: Option<u64>,
    looked: Option<Instant>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Watch {
    pub fn new(screen: Arc<dyn Screen>) -> Self {
        let state = State { wanted: false, closed: false, stirred: None };
        Self { screen, state: Mutex::new(state), told: Condvar::new(), seen: Mutex::default() }
    }

    /// Whether anybody wants to know of changes. At first nobody does.
    pub fn want(&self, wanted: bool) {
        lock(&self.state).wanted = wanted;
        self.told.notify_all();
    }

    /// Something was done that the screen may answer to.
    pub fn stir(&self) {
        lock(&self.state).stirred = Some(Instant::now());
        self.told.notify_all();
    }

    /// Ends the wait for good.
    pub fn close(&self) {
        lock(&self.state).closed = true;
        self.told.notify_all();
    }

    /// Waits for a change of picture or pointer; false once it is closed. For one thread.
    pub fn wait(&self) -> bool {
        let mut seen = lock(&self.seen);
        while self.pause(seen.looked) {
            seen.looked = Some(Instant::now());
            let drawn = !self.screen.refresh(&mut seen.frame).is_empty();
            let cursor = self.screen.cursor().map(|(number, _)| number);
            let moved = std::mem::replace(&mut seen.cursor, cursor) != cursor;
            if drawn || moved {
                lock(&self.state).stirred = Some(Instant::now());
                return true;
            }
        }
        false
    }

    /// Until it is time for the next look; false once it is closed.
    fn pause(&self, looked: Option<Instant>) -> bool {
        let mut state = lock(&self.state);
        loop {
            if state.closed {
                return false;
            }
            if !state.wanted {
                state = self.told.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let now = Instant::now();
            let lively = state.stirred.is_some_and(|stirred| now.duration_since(stirred) < LATELY);
            let pause = if lively { LIVELY } else { RESTING };
            let Some(rest) = looked.and_then(|looked| (looked + pause).checked_duration_since(now)) else {
                return true;
            };
            if rest.is_zero() {
                return true;
            }
            state = self.told.wait_timeout(state, rest).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}
