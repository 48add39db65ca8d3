//! The local APIC's timer (Intel SDM vol. 3, 11.5.4): one-shot and periodic countdown of a 1 GHz
//! bus clock through a divider, or a deadline on the guest's TSC.

use innkeeper_bus::{plain_enum, plain_struct};

use crate::clock::LONGEST_LIFE;

/// Periodic expiries come at most this often, in nanoseconds; those between are coalesced.
const SHORTEST: u64 = 50_000;

/// A point in time, as every clock that matters sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Nanoseconds of the VM's clock, which is also the timer's bus clock.
    pub ns: u64,
    /// The TSC that this vCPU reads.
    pub guest_tsc: u64,
}

/// LVT timer bits 18-17.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    #[default]
    OneShot,
    Periodic,
    Deadline,
    Reserved,
}

impl Mode {
    pub fn from_lvt(lvt: u32) -> Self {
        match lvt >> 17 & 3 {
            0 => Self::OneShot,
            1 => Self::Periodic,
            2 => Self::Deadline,
            _ => Self::Reserved,
        }
    }

    fn counts(self) -> bool {
        matches!(self, Self::OneShot | Self::Periodic)
    }
}

/// When the timer expires next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    Ns(u64),
    GuestTsc(u64),
}

#[derive(Clone, Debug, Default)]
pub struct Timer {
    mode: Mode,
    initial: u32,
    divide: u32,
    /// The count was `count` at `anchor`; 0 is stopped.
    anchor: u64,
    count: u32,
    due: Option<u64>,
    /// IA32_TSC_DEADLINE; 0 is disarmed.
    deadline: u64,
}

plain_enum!(Mode { OneShot, Periodic, Deadline, Reserved });
plain_struct!(Timer { mode, initial, divide, anchor, count, due, deadline } if Timer::is_sound);

impl Timer {
    fn is_sound(&self) -> bool {
        self.divide & !0xB == 0 && self.anchor < LONGEST_LIFE && self.due.is_none_or(|due| due < LONGEST_LIFE)
    }

    /// Bus clocks for one count. Divide configuration bits 3, 1 and 0: 111 is 1, 000 is 2 ... 110 is 128.
    fn divisor(&self) -> u64 {
        let code = self.divide & 3 | self.divide >> 1 & 4;
        1 << ((code + 1) & 7)
    }

    pub fn initial(&self) -> u32 {
        self.initial
    }

    pub fn divide(&self) -> u32 {
        self.divide
    }

    pub fn deadline(&self) -> u64 {
        self.deadline
    }

    /// The current count register.
    pub fn current(&self, now: u64) -> u32 {
        let ticks = now.saturating_sub(self.anchor) / self.divisor();
        let (count, initial) = (u64::from(self.count), u64::from(self.initial));
        match self.mode {
            _ if ticks < count => (count - ticks) as u32,
            Mode::Periodic if count > 0 && initial > 0 => (initial - (ticks - count) % initial) as u32,
            _ => 0,
        }
    }

    /// Starts over from the present count, keeping the part of a tick that has passed.
    fn rebase(&mut self, now: u64) {
        let count = self.current(now);
        self.anchor = now - now.saturating_sub(self.anchor) % self.divisor();
        self.count = count;
    }

    /// The first expiry after `after`.
    fn reschedule(&mut self, after: u64) {
        let divisor = self.divisor();
        let first = self.anchor.saturating_add(u64::from(self.count) * divisor);
        let period = u64::from(self.initial) * divisor;
        self.due = match self.mode {
            _ if self.count == 0 || !self.mode.counts() => None,
            _ if first > after => Some(first),
            Mode::Periodic if period > 0 => Some(first + ((after - first) / period + 1) * period),
            _ => None,
        };
    }

    pub fn set_initial(&mut self, value: u32, now: u64) {
        if self.mode.counts() {
            (self.initial, self.count, self.anchor) = (value, value, now);
            self.reschedule(now);
        }
    }

    pub fn set_divide(&mut self, value: u32, now: u64) {
        self.rebase(now);
        self.divide = value & 0xB;
        self.reschedule(now);
    }

    /// One-shot and periodic pass the running count on; the deadline mode starts and ends disarmed.
    pub fn set_mode(&mut self, mode: Mode, now: u64) {
        if mode == self.mode {
            return;
        }
        if mode.counts() && self.mode.counts() {
            self.rebase(now);
            self.mode = mode;
            self.reschedule(now);
        } else {
            *self = Self { mode, divide: self.divide, ..Self::default() };
        }
    }

    /// Writes IA32_TSC_DEADLINE, which only its own mode heeds.
    pub fn set_deadline(&mut self, value: u64) {
        if self.mode == Mode::Deadline {
            self.deadline = value;
        }
    }

    pub fn due(&self) -> Option<Due> {
        match self.mode {
            Mode::Deadline => (self.deadline != 0).then_some(Due::GuestTsc(self.deadline)),
            _ => self.due.map(Due::Ns),
        }
    }

    /// Tells whether the timer has expired since it was last asked.
    pub fn expire(&mut self, now: Moment) -> bool {
        match self.due() {
            Some(Due::GuestTsc(deadline)) if deadline <= now.guest_tsc => {
                self.deadline = 0;
                true
            }
            Some(Due::Ns(due)) if due <= now.ns => {
                // Expiries that were missed, or come too fast, are one.
                self.reschedule(now.ns);
                if self.due.is_some_and(|due| due < now.ns + SHORTEST) {
                    self.reschedule(now.ns + SHORTEST - 1);
                }
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIVIDE_BY_1: u32 = 0b1011;

    fn at(ns: u64) -> Moment {
        Moment { ns, guest_tsc: 3 * ns }
    }

    fn counting(mode: Mode, divide: u32, initial: u32) -> Timer {
        let mut timer = Timer::default();
        timer.set_mode(mode, 0);
        timer.set_divide(divide, 0);
        timer.set_initial(initial, 1000);
        timer
    }

    #[test]
    fn the_divide_configuration_is_decoded() {
        for (divide, divisor) in
            [(0, 2), (1, 4), (2, 8), (3, 16), (8, 32), (9, 64), (10, 128), (11, 1), (4, 2), (15, 1)]
        {
            let timer = counting(Mode::OneShot, divide, 1000);
            assert_eq!(timer.current(1000 + 10 * divisor), 990, "divide {divide:#b}");
            assert_eq!(timer.due(), Some(Due::Ns(1000 + 1000 * divisor)));
            assert_eq!(timer.divide(), divide & 0xB);
        }
    }

    #[test]
    fn one_shot_expires_once_and_stays_at_zero() {
        let mut timer = counting(Mode::OneShot, DIVIDE_BY_1, 1_000_000);
        assert!(!timer.expire(at(1_000_999)));
        assert_eq!(timer.current(1_000_999), 1);
        assert!(timer.expire(at(1_001_000)) && !timer.expire(at(9_000_000)));
        assert_eq!((timer.current(1_001_000), timer.due()), (0, None));
        timer.set_mode(Mode::Periodic, 2_000_000);
        assert_eq!((timer.current(2_000_000), timer.due(), timer.initial()), (0, None, 1_000_000));
    }

    #[test]
    fn periodic_reloads_and_never_reads_zero() {
        let mut timer = counting(Mode::Periodic, DIVIDE_BY_1, 100_000);
        let mut expiries = 0;
        for ns in (1000..2_000_000).step_by(100) {
            assert_ne!(timer.current(ns), 0);
            expiries += u32::from(timer.expire(at(ns)));
        }
        assert_eq!(expiries, 19);
    }

    #[test]
    fn a_stall_is_one_expiry_and_the_phase_is_kept() {
        let mut timer = counting(Mode::Periodic, DIVIDE_BY_1, 100_000);
        assert!(timer.expire(at(10_051_000)));
        assert!(!timer.expire(at(10_051_000)));
        assert_eq!(timer.due(), Some(Due::Ns(10_101_000)));
        let mut storm = counting(Mode::Periodic, DIVIDE_BY_1, 1);
        let expiries = (1000..1_001_000).filter(|&ns| storm.expire(at(ns))).count();
        assert_eq!(expiries, 20);
    }

    #[test]
    fn changing_between_counting_modes_keeps_the_count() {
        let mut timer = counting(Mode::OneShot, DIVIDE_BY_1, 100_000);
        timer.set_mode(Mode::Periodic, 61_000);
        assert_eq!(timer.current(61_000), 40_000);
        assert!(timer.expire(at(101_000)));
        assert_eq!(timer.current(101_001), 99_999);
        timer.set_mode(Mode::OneShot, 151_000);
        assert_eq!(timer.current(151_000), 50_000);
        assert!(timer.expire(at(201_000)));
        assert_eq!((timer.current(201_000), timer.due()), (0, None));
    }

    #[test]
    fn changing_the_divider_keeps_the_count() {
        let mut timer = counting(Mode::OneShot, DIVIDE_BY_1, 1000);
        timer.set_divide(0, 1400);
        assert_eq!((timer.current(1400), timer.current(1402)), (600, 599));
        assert_eq!(timer.due(), Some(Due::Ns(1400 + 1200)));
    }

    #[test]
    fn the_deadline_mode_is_disarmed_at_both_ends() {
        let mut timer = counting(Mode::OneShot, DIVIDE_BY_1, 1000);
        timer.set_deadline(77);
        assert_eq!(timer.deadline(), 0, "ignored in other modes");
        timer.set_mode(Mode::Deadline, 1100);
        assert_eq!((timer.due(), timer.current(1100), timer.initial()), (None, 0, 0));
        timer.set_initial(1000, 1100);
        assert_eq!((timer.due(), timer.initial()), (None, 0));
        timer.set_deadline(3000);
        assert!(!timer.expire(at(999)) && timer.expire(at(1000)) && !timer.expire(at(1001)));
        assert_eq!(timer.deadline(), 0);
        timer.set_deadline(u64::MAX);
        timer.set_mode(Mode::Periodic, 1200);
        assert_eq!((timer.due(), timer.deadline()), (None, 0));
    }

    #[test]
    fn the_largest_counts_overflow_nothing() {
        let mut timer = counting(Mode::Periodic, 10, u32::MAX);
        assert!(timer.expire(at(u64::MAX / 4)));
        assert!(timer.due().is_some() && timer.current(u64::MAX / 2) > 0);
    }
}
