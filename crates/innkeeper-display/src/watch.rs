//! Waiting for a screen to change: looking often while it does or someone types, seldom while it rests, and not at all
//! while nobody wants to know, or while the screen will tell ([`Screen::rest`]).
//!
//! Some screens cannot tell that they have changed: under KVM, what a guest stores to a linear frame buffer is not trapped. So
//! they are looked at, which is little work where nothing did ([`Screen::refresh`]).

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::bells::Bell;
use crate::{Frame, Screen};

/// Between two looks while something happens: a little less than a frame of 60 a second.
const LIVELY: Duration = Duration::from_millis(12);
/// Between two looks at a screen that rests. What appears on it shall be seen within 50 ms, encoding included.
const RESTING: Duration = Duration::from_millis(24);
/// Something happened so lately that more may be expected.
const LATELY: Duration = Duration::from_millis(500);

#[derive(Default)]
struct State {
    wanted: bool,
    closed: bool,
    stirred: Option<Instant>,
    /// The screen has told of a change since it was looked at last.
    rung: bool,
}

impl State {
    fn is_lively(&self, now: Instant) -> bool {
        self.stirred.is_some_and(|stirred| now.duration_since(stirred) < LATELY)
    }
}

/// What the one who waits shares with those who tell.
#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    told: Condvar,
}

/// The one that waits, and those who tell it when to.
pub struct Watch {
    screen: Arc<dyn Screen>,
    shared: Arc<Shared>,
    /// What the screen rings.
    bell: Bell,
    /// What the one who waits has seen.
    seen: Mutex<Seen>,
    looks: AtomicU64,
}

#[derive(Default)]
struct Seen {
    frame: Frame,
    cursor: Option<u64>,
    looked: Option<Instant>,
    /// How long from then on the screen will tell of changes.
    rest: Duration,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn tell(&self, change: impl FnOnce(&mut State)) {
        change(&mut lock(&self.state));
        self.told.notify_all();
    }
}

impl Watch {
    pub fn new(screen: Arc<dyn Screen>) -> Self {
        let shared = Arc::new(Shared::default());
        let told = Arc::clone(&shared);
        let bell: Bell = Arc::new(move || {
            told.tell(|state| (state.stirred, state.rung) = (Some(Instant::now()), true));
        });
        Self { screen, shared, bell, seen: Mutex::default(), looks: AtomicU64::new(0) }
    }

    /// Whether anybody wants to know of changes. At first nobody does.
    pub fn want(&self, wanted: bool) {
        self.shared.tell(|state| state.wanted = wanted);
    }

    /// Something was done that the screen may answer to.
    pub fn stir(&self) {
        self.shared.tell(|state| state.stirred = Some(Instant::now()));
    }

    /// Ends the wait for good.
    pub fn close(&self) {
        self.shared.tell(|state| state.closed = true);
    }

    /// How often it has looked at the screen.
    pub fn looks(&self) -> u64 {
        self.looks.load(Ordering::Relaxed)
    }

    /// Waits for a change of picture or pointer; false once it is closed. For one thread.
    pub fn wait(&self) -> bool {
        let mut seen = lock(&self.seen);
        while self.pause(&seen) {
            if self.look(&mut seen) || self.rests(&mut seen) {
                lock(&self.shared.state).stirred = Some(Instant::now());
                return true;
            }
        }
        false
    }

    /// Whether anything is new.
    fn look(&self, seen: &mut Seen) -> bool {
        (seen.looked, seen.rest) = (Some(Instant::now()), Duration::ZERO);
        self.looks.fetch_add(1, Ordering::Relaxed);
        let drawn = !self.screen.refresh(&mut seen.frame).is_empty();
        let cursor = self.screen.cursor().map(|(number, _)| number);
        let moved = std::mem::replace(&mut seen.cursor, cursor) != cursor;
        drawn || moved
    }

    /// Leaves it to the screen to tell, if it can and nothing happens; whether anything is new before it would.
    fn rests(&self, seen: &mut Seen) -> bool {
        if lock(&self.shared.state).is_lively(Instant::now()) {
            return false;
        }
        let rest = self.screen.rest(&self.bell);
        if rest.is_zero() {
            return false;
        }
        let changed = self.look(seen);
        seen.rest = rest;
        changed
    }

    /// Until it is time for the next look; false once it is closed.
    fn pause(&self, seen: &Seen) -> bool {
        let mut state = lock(&self.shared.state);
        loop {
            if state.closed {
                return false;
            }
            let now = Instant::now();
            let pause = match (state.is_lively(now), state.rung) {
                (true, _) => LIVELY,
                (false, true) => RESTING,
                (false, false) => RESTING.max(seen.rest),
            };
            // None after a rest without end.
            let next = seen.looked.map_or(Some(now), |looked| looked.checked_add(pause));
            let left = next.map(|next| next.saturating_duration_since(now));
            state = match left {
                Some(Duration::ZERO) if state.wanted => {
                    state.rung = false;
                    return true;
                }
                Some(left) if state.wanted => {
                    self.shared.told.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
                _ => self.shared.told.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;
    use std::thread;

    use super::*;
    use crate::Rect;
    use crate::memory::MemoryScreen;

    const LONG: Duration = Duration::from_millis(700);

    /// A screen that counts how often it is looked at, and tells of changes or does not.
    struct Counted {
        screen: MemoryScreen,
        looks: AtomicU32,
        tells: bool,
    }

    impl Screen for Counted {
        fn refresh(&self, frame: &mut Frame) -> Vec<Rect> {
            self.looks.fetch_add(1, Ordering::SeqCst);
            self.screen.refresh(frame)
        }
        fn rest(&self, bell: &Bell) -> Duration {
            if self.tells { self.screen.rest(bell) } else { Duration::ZERO }
        }
    }

    /// Runs `test` while a watch of such a screen counts the changes that it sees.
    fn watched(tells: bool, test: impl FnOnce(&Counted, &Watch, &AtomicU32)) {
        let screen = Arc::new(Counted { screen: MemoryScreen::default(), looks: AtomicU32::new(0), tells });
        screen.screen.resize(4, 4);
        let (watch, changes) = (Watch::new(Arc::clone(&screen) as Arc<dyn Screen>), AtomicU32::new(0));
        watch.want(true);
        thread::scope(|scope| {
            scope.spawn(|| {
                while watch.wait() {
                    changes.fetch_add(1, Ordering::SeqCst);
                }
            });
            until(|| changes.load(Ordering::SeqCst) == 1); // the first picture
            thread::sleep(LONG);
            let result =
                std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| test(&screen, &watch, &changes)));
            watch.close();
            result.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        });
    }

    fn until(condition: impl Fn() -> bool) {
        let begun = Instant::now();
        while !condition() {
            assert!(begun.elapsed() < Duration::from_secs(20), "it does not come about");
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn draw(screen: &Counted, colour: u32) {
        assert!(screen.screen.draw(Rect { x: 0, y: 0, width: 1, height: 1 }, &[colour]));
    }

    #[test]
    fn a_screen_that_tells_is_left_alone_until_it_does() {
        watched(true, |screen, _, changes| {
            let before = screen.looks.load(Ordering::SeqCst);
            thread::sleep(LONG);
            assert_eq!(screen.looks.load(Ordering::SeqCst), before);
            for turn in 2..5 {
                draw(screen, turn);
                until(|| changes.load(Ordering::SeqCst) == turn);
                thread::sleep(if turn == 2 { LONG } else { Duration::ZERO });
            }
        });
    }

    #[test]
    fn a_screen_that_does_not_tell_is_looked_at() {
        watched(false, |screen, _, changes| {
            let before = screen.looks.load(Ordering::SeqCst);
            until(|| screen.looks.load(Ordering::SeqCst) >= before + 5);
            draw(screen, 7);
            until(|| changes.load(Ordering::SeqCst) == 2);
        });
    }

    #[test]
    fn what_changed_while_nobody_wanted_to_know_is_told_when_somebody_does() {
        watched(true, |screen, watch, changes| {
            watch.want(false);
            draw(screen, 9);
            thread::sleep(LONG);
            assert_eq!(changes.load(Ordering::SeqCst), 1);
            watch.want(true);
            until(|| changes.load(Ordering::SeqCst) == 2);
        });
    }
}
