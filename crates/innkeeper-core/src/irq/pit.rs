//! The 8254 programmable interval timer and the port-0x61 latch that gates its counter 2.
//!
//! Source: Intel 8254 datasheet; 82371AB (PIIX4) datasheet for port 0x61. Counter 0 raises IRQ 0 at
//! every rising edge of OUT. Ticks that the guest or the host was too late for are made up for
//! between ordinary ones, up to a limit. Left out: sound.

mod channel;

use channel::Channel;

use innkeeper_bus::plain_struct;

use super::Outcome;
use crate::clock::LONGEST_LIFE;

/// The input clock, 105/88 MHz.
const HZ: u64 = 1_193_182;
const NS_PER_S: u64 = 1_000_000_000;
/// Interrupts come at most this often, in ticks (about 50 µs): a count of 2 must not cost a host CPU.
const SHORTEST: u64 = 60;
/// How many lost ticks are remembered.
const MOST_OWED: u64 = 100;
/// DRAM refresh, seen as a toggling bit in port 0x61: ticks for each half.
const REFRESH: u64 = 18;

fn ticks(ns: u64) -> u64 {
    (u128::from(ns) * u128::from(HZ) / u128::from(NS_PER_S)) as u64
}

/// The first nanosecond in which `ticks` have passed.
fn nanoseconds(ticks: u64) -> u64 {
    (u128::from(ticks) * u128::from(NS_PER_S)).div_ceil(u128::from(HZ)) as u64
}

/// Three counters. Times are nanoseconds of the VM's clock.
pub struct Pit {
    channels: [Channel; 3],
    /// Bits 3-1 of port 0x61; bit 0 is counter 2's gate.
    latch: u8,
    /// The tick of the next interrupt that is due.
    due: Option<u64>,
    last: u64,
    owed: u64,
}

impl Default for Pit {
    fn default() -> Self {
        let channels = [Channel::new(true), Channel::new(true), Channel::new(false)];
        Self { channels, latch: 0, due: None, last: 0, owed: 0 }
    }
}

plain_struct!(Pit { channels, latch, due, last, owed } if Pit::is_sound);

impl Pit {
    fn is_sound(&self) -> bool {
        let counts_on = |due: u64| due < LONGEST_LIFE;
        self.latch & !0x0E == 0
            && self.due.is_none_or(counts_on)
            && counts_on(self.last)
            && self.owed <= MOST_OWED
    }

    /// Reads port 0x40 + `offset`.
    pub fn read(&mut self, offset: u64, now: u64) -> u8 {
        match self.channels.get_mut(offset as usize) {
            Some(channel) => channel.read(ticks(now)),
            None => 0xFF, // the control word is write-only
        }
    }

    /// Writes port 0x40 + `offset`. Tells whether counter 0 was stopped, so that IRQ 0 falls.
    pub fn write(&mut self, offset: u64, value: u8, now: u64) -> bool {
        let now = ticks(now);
        let stopped = offset == 3 && self.control(value, now);
        if let Some(channel) = self.channels.get_mut(offset as usize) {
            channel.write(value, now);
        }
        if offset == 0 || stopped {
            self.owed = 0;
            self.due = self.channels[0].next_rise(now);
        }
        stopped
    }

    fn control(&mut self, value: u8, now: u64) -> bool {
        let selected = usize::from(value >> 6);
        if selected == 3 {
            self.read_back(value, now);
            return false;
        }
        if value & 0x30 == 0 {
            self.channels[selected].latch_count(now);
            return false;
        }
        self.channels[selected].set_control(value);
        selected == 0
    }

    fn read_back(&mut self, value: u8, now: u64) {
        for (number, channel) in self.channels.iter_mut().enumerate() {
            if value >> (number + 1) & 1 != 0 {
                if value & 0x20 == 0 {
                    channel.latch_count(now);
                }
                if value & 0x10 == 0 {
                    channel.latch_status(now);
                }
            }
        }
    }

    /// Reads port 0x61.
    pub fn read_latch(&mut self, now: u64) -> u8 {
        let now = ticks(now);
        let refresh = ((now / REFRESH) & 1) as u8;
        let counter = &mut self.channels[2];
        self.latch | u8::from(counter.gate()) | refresh << 4 | u8::from(counter.output(now)) << 5
    }

    pub fn write_latch(&mut self, value: u8, now: u64) {
        self.latch = value & 0x0E;
        self.channels[2].set_gate(value & 1 != 0, ticks(now));
    }

    /// When [`Self::expire`] must be called next.
    pub fn deadline(&self) -> Option<u64> {
        let extra = self.channels[0].period().filter(|_| self.owed > 0).map(|period| self.last + period / 2);
        let next = [self.due, extra].into_iter().flatten().min()?;
        Some(nanoseconds(next.max(self.last + SHORTEST)))
    }

    /// Time has passed: tells whether IRQ 0 must be raised now.
    pub fn expire(&mut self, now: u64) -> bool {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return false;
        }
        let now = ticks(now);
        self.last = now;
        match self.due {
            Some(due) if due <= now => {
                self.owed = (self.owed + self.channels[0].rises_between(due, now)).min(MOST_OWED);
                self.due = self.channels[0].next_rise(now);
            }
            _ => self.owed = self.owed.saturating_sub(1),
        }
        true
    }

    /// What became of the interrupt that [`Self::expire`] asked for.
    pub fn raised(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Delivered => {}
            Outcome::Coalesced => self.owed = (self.owed + 1).min(MOST_OWED),
            Outcome::Ignored => self.owed = 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// Counter 0 in `mode` from time 0.
    fn programmed(mode: u8, count: u16) -> Pit {
        let mut pit = Pit::default();
        assert!(pit.write(3, 0x30 | mode << 1, 0));
        for byte in count.to_le_bytes() {
            pit.write(0, byte, 0);
        }
        pit
    }

    /// Interrupts until `end` if the timer thread is always on time and the guest takes all.
    fn run(pit: &mut Pit, end: u64) -> u64 {
        let mut fired = 0;
        while let Some(deadline) = pit.deadline().filter(|&deadline| deadline <= end) {
            assert!(pit.expire(deadline));
            pit.raised(Outcome::Delivered);
            fired += 1;
        }
        fired
    }

    #[test]
    fn ticks_and_nanoseconds_agree() {
        for tick in (0..100_000).chain([1 << 40]) {
            assert_eq!(ticks(nanoseconds(tick)), tick);
            assert!(tick == 0 || ticks(nanoseconds(tick) - 1) == tick - 1);
        }
    }

    #[test]
    fn periodic_modes_interrupt_at_their_rate() {
        for mode in [2, 3] {
            assert_eq!(run(&mut programmed(mode, 11932), 1000 * MS), 99); // 100.0 Hz, the last just after
        }
        assert_eq!(run(&mut programmed(0, 11932), 1000 * MS), 1);
        assert_eq!(run(&mut programmed(4, 11932), 1000 * MS), 1);
        assert_eq!(run(&mut programmed(1, 11932), 1000 * MS), 0);
    }

    #[test]
    fn lost_ticks_are_made_up_for_without_a_storm() {
        let mut pit = programmed(2, 1193); // 1 kHz
        assert!(pit.expire(50 * MS));
        pit.raised(Outcome::Delivered);
        let caught_up = run(&mut pit, 100 * MS);
        assert!((98..=100).contains(&caught_up), "{caught_up} more after the first of 100");
        assert!(pit.expire(10_000 * MS));
        pit.raised(Outcome::Delivered);
        let after = run(&mut pit, 11_000 * MS);
        assert!((1099..=1101).contains(&after), "the limit, and a second's worth: {after}");
    }

    #[test]
    fn coalesced_ticks_are_owed_and_ignored_ones_are_not() {
        let mut pit = programmed(2, 1193);
        for _ in 0..10 {
            let deadline = pit.deadline().unwrap();
            assert!(pit.expire(deadline));
            pit.raised(Outcome::Coalesced);
        }
        assert!(pit.owed >= 4);
        let deadline = pit.deadline().unwrap();
        pit.expire(deadline);
        pit.raised(Outcome::Ignored);
        assert_eq!(pit.owed, 0);
    }

    #[test]
    fn the_fastest_rate_is_bounded() {
        let fired = run(&mut programmed(2, 1), 10 * MS);
        assert!((150..=200).contains(&fired), "{fired} in 10 ms");
    }

    #[test]
    fn calibration_through_counter_2_sees_its_output_rise() {
        let mut pit = Pit::default();
        pit.write_latch(1, 0);
        assert_eq!(pit.read_latch(0) & 0x0F, 1);
        pit.write(3, 0xB0, 0);
        for byte in 0x1234u16.to_le_bytes() {
            pit.write(2, byte, 0);
        }
        let rise = nanoseconds(0x1234);
        assert_eq!(pit.read_latch(rise - 1) & 0x20, 0);
        assert_eq!(pit.read_latch(rise) & 0x20, 0x20);
        let toggles = (0..100).map(|at| pit.read_latch(at * 15_086) & 0x10);
        assert!(toggles.collect::<Vec<_>>().windows(2).all(|pair| pair[0] != pair[1]));
    }

    #[test]
    fn read_back_latches_the_chosen_counters() {
        let mut pit = programmed(2, 1000);
        pit.write(3, 0xC2, 0);
        let status = pit.read(0, 0);
        assert_eq!(status, 0x80 | 0x30 | 2 << 1);
        assert_eq!(u16::from_le_bytes([pit.read(0, MS), pit.read(0, MS)]), 1000);
        assert_eq!(pit.read(3, 0), 0xFF);
    }

    #[test]
    fn any_sequence_of_writes_is_survived() {
        let mut pit = Pit::default();
        let mut seed = 1u64;
        for step in 0..200_000u64 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let (offset, value, now) = (seed >> 60 & 3, (seed >> 40) as u8, step * (seed >> 50));
            match seed >> 56 & 3 {
                0 => drop(pit.read(offset, now)),
                1 => drop(pit.write(offset, value, now)),
                2 => pit.write_latch(value, now),
                _ => drop(pit.expire(now)),
            }
            pit.read_latch(now);
        }
    }
}
