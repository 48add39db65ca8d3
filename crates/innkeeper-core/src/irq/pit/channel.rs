//! One counter of the 8254: six modes, latching, BCD. Time is in ticks of its input clock.

use innkeeper_bus::{plain_enum, plain_struct};

use crate::clock::LONGEST_LIFE;

/// Which byte of a 16-bit value goes through the port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Access {
    Low,
    High,
    #[default]
    Both,
}

#[derive(Clone, Debug, Default)]
pub struct Channel {
    mode: u8,
    bcd: bool,
    access: Access,
    /// The initial count, 1 to 65536 (BCD: 10000).
    reload: u32,
    /// In modes 2 and 3 a new count waits for the end of the period.
    next_reload: Option<u32>,
    /// A count was written since the control word.
    loaded: bool,
    /// Counting began at `start`; modes 1 and 5 wait for a gate edge.
    running: bool,
    start: u64,
    /// Elapsed ticks, while a low gate stops the count.
    frozen: Option<u64>,
    gate: bool,
    low_written: Option<u8>,
    high_next: bool,
    latched: Option<u16>,
    latched_status: Option<u8>,
}

plain_enum!(Access { Low, High, Both });
plain_struct!(Channel {
    mode, bcd, access, reload, next_reload, loaded, running, start, frozen, gate, low_written, high_next, latched,
    latched_status,
} if Channel::is_sound);

impl Channel {
    fn is_sound(&self) -> bool {
        let least = if self.periodic() { 2 } else { 1 };
        let most = if self.bcd { 10_000 } else { 0x1_0000 };
        // The count of a binary mode stays when BCD is chosen, until a new one is written.
        let possible = |count: u32| (least..=0x1_0000).contains(&count);
        self.mode <= 5
            && (1..=0x1_0000).contains(&self.reload)
            && (!self.running || possible(self.reload))
            && self.next_reload.is_none_or(|count| possible(count) && count <= most)
            && self.start < LONGEST_LIFE
            && self.frozen.is_none_or(|elapsed| elapsed < LONGEST_LIFE)
    }

    pub fn new(gate: bool) -> Self {
        Self { gate, reload: 0x1_0000, ..Self::default() }
    }

    fn elapsed(&self, now: u64) -> u64 {
        self.frozen.unwrap_or_else(|| now.saturating_sub(self.start))
    }

    fn periodic(&self) -> bool {
        matches!(self.mode, 2 | 3)
    }

    /// Brings `start` to the present period, taking on a waiting count at its end.
    fn settle(&mut self, now: u64) {
        if !self.periodic() || !self.running || self.frozen.is_some() {
            return;
        }
        if let Some(next) = self.next_reload
            && self.elapsed(now) >= u64::from(self.reload)
        {
            self.start += u64::from(self.reload);
            self.reload = next;
            self.next_reload = None;
        }
        let reload = u64::from(self.reload);
        self.start += self.elapsed(now) / reload * reload;
    }

    // ---- the port -------------------------------------------------------------------------------

    /// A control word for this counter, other than a latch command.
    pub fn set_control(&mut self, value: u8) {
        let mode = value >> 1 & 7;
        let access = match value >> 4 & 3 {
            1 => Access::Low,
            2 => Access::High,
            _ => Access::Both,
        };
        let (gate, reload) = (self.gate, self.reload);
        let mode = if mode > 5 { mode - 4 } else { mode };
        *self = Self { mode, access, bcd: value & 1 != 0, gate, reload, ..Self::default() };
    }

    pub fn latch_count(&mut self, now: u64) {
        if self.latched.is_none() {
            self.latched = Some(self.count(now));
            self.high_next = false;
        }
    }

    pub fn latch_status(&mut self, now: u64) {
        if self.latched_status.is_none() {
            let access = self.access as u8 + 1;
            let null = !self.loaded || self.next_reload.is_some();
            let status = u8::from(self.output(now)) << 7 | u8::from(null) << 6;
            self.latched_status = Some(status | access << 4 | self.mode << 1 | u8::from(self.bcd));
        }
    }

    pub fn read(&mut self, now: u64) -> u8 {
        if let Some(status) = self.latched_status.take() {
            return status;
        }
        let value = self.latched.unwrap_or_else(|| self.count(now));
        let high = match self.access {
            Access::Low => false,
            Access::High => true,
            Access::Both => self.high_next,
        };
        self.high_next = self.access == Access::Both && !self.high_next;
        if !self.high_next {
            self.latched = None;
        }
        if high { (value >> 8) as u8 } else { value as u8 }
    }

    pub fn write(&mut self, value: u8, now: u64) {
        let count = match (self.access, self.low_written.take()) {
            (Access::Low, _) => u16::from(value),
            (Access::High, _) => u16::from(value) << 8,
            (Access::Both, Some(low)) => u16::from(value) << 8 | u16::from(low),
            (Access::Both, None) => {
                self.low_written = Some(value);
                if self.mode == 0 {
                    self.running = false; // the first byte stops the count and takes OUT low
                }
                return;
            }
        };
        self.load(count, now);
    }

    fn load(&mut self, count: u16, now: u64) {
        let count = match (count, self.bcd) {
            (0, false) => 0x1_0000,
            (0, true) => 10_000,
            (count, false) => u32::from(count),
            (count, true) => from_bcd(count).max(1),
        };
        // A count of 1 is illegal in modes 2 and 3.
        let count = if self.periodic() { count.max(2) } else { count };
        self.settle(now);
        self.loaded = true;
        match self.mode {
            2 | 3 if self.running => self.next_reload = Some(count),
            1 | 5 => self.reload = count,
            _ => {
                (self.reload, self.start, self.running) = (count, now, true);
                self.frozen = (!self.gate).then_some(0);
            }
        }
    }

    pub fn set_gate(&mut self, gate: bool, now: u64) {
        let before = std::mem::replace(&mut self.gate, gate);
        self.settle(now);
        match (self.mode, before, gate) {
            (1 | 5, false, true) if self.loaded => (self.start, self.running) = (now, true),
            (0 | 2 | 3 | 4, true, false) if self.running => self.frozen = Some(self.elapsed(now)),
            (0 | 4, false, true) if self.running => {
                self.start = now.saturating_sub(self.elapsed(now));
                self.frozen = None;
            }
            (2 | 3, false, true) if self.running => {
                self.reload = self.next_reload.take().unwrap_or(self.reload);
                (self.start, self.frozen) = (now, None);
            }
            _ => {}
        }
    }

    pub fn gate(&self) -> bool {
        self.gate
    }

    // ---- the counter ----------------------------------------------------------------------------

    /// The count as software reads it.
    fn count(&mut self, now: u64) -> u16 {
        self.settle(now);
        let (reload, modulus) = (u64::from(self.reload), if self.bcd { 10_000 } else { 0x1_0000 });
        let elapsed = if self.running { self.elapsed(now) } else { 0 };
        let count = match self.mode {
            2 => reload - elapsed % reload,
            3 => square_count(reload, elapsed % reload),
            _ => reload + modulus - elapsed % modulus,
        };
        let count = (count % modulus) as u16;
        if self.bcd { to_bcd(count) } else { count }
    }

    /// The OUT pin.
    pub fn output(&mut self, now: u64) -> bool {
        self.settle(now);
        let (reload, elapsed) = (u64::from(self.reload), self.elapsed(now));
        if !self.running {
            return self.mode != 0;
        }
        match self.mode {
            0 | 1 => elapsed >= reload,
            2 => !self.gate || elapsed % reload != reload - 1,
            3 => !self.gate || elapsed % reload < reload.div_ceil(2),
            _ => elapsed != reload,
        }
    }

    /// The tick of the next rising edge of OUT after `now`.
    pub fn next_rise(&mut self, now: u64) -> Option<u64> {
        self.settle(now);
        if !self.running || self.frozen.is_some() {
            return None;
        }
        let reload = u64::from(self.reload);
        let rise = self.start + if self.mode < 4 { reload } else { reload + 1 };
        (rise > now).then_some(rise)
    }

    /// Rising edges in `(after, until]`, given that there was one at `after`.
    pub fn rises_between(&self, after: u64, until: u64) -> u64 {
        if self.periodic() && self.running { until.saturating_sub(after) / u64::from(self.reload) } else { 0 }
    }

    /// Ticks from one rising edge to the next.
    pub fn period(&self) -> Option<u64> {
        (self.periodic() && self.running).then_some(u64::from(self.reload))
    }
}

/// Mode 3 counts down by two in each half; an odd count spends its extra tick in the high half.
fn square_count(reload: u64, position: u64) -> u64 {
    let high = reload.div_ceil(2);
    let within = if position < high { position } else { position - high };
    (reload & !1).saturating_sub(2 * within)
}

fn to_bcd(value: u16) -> u16 {
    (0..4).fold(0, |bcd, digit| bcd | (value / 10u16.pow(digit) % 10) << (4 * digit))
}

fn from_bcd(bcd: u16) -> u32 {
    (0..4).fold(0, |value, digit| value + u32::from(bcd >> (4 * digit) & 0xF) * 10u32.pow(digit)) % 10_000
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A counter in `mode` with its gate high and `count` written at tick 100.
    fn counter(mode: u8, count: u16) -> Channel {
        let mut channel = Channel::new(true);
        channel.set_control(0x30 | mode << 1);
        write(&mut channel, count, 100);
        channel
    }

    fn write(channel: &mut Channel, count: u16, now: u64) {
        let [low, high] = count.to_le_bytes();
        channel.write(low, now);
        channel.write(high, now);
    }

    fn read(channel: &mut Channel, now: u64) -> u16 {
        u16::from_le_bytes([channel.read(now), channel.read(now)])
    }

    fn outputs(channel: &mut Channel, ticks: std::ops::Range<u64>) -> String {
        ticks.map(|now| if channel.output(now) { '^' } else { '_' }).collect()
    }

    #[test]
    fn each_mode_drives_out_as_the_datasheet_draws_it() {
        assert_eq!(outputs(&mut counter(0, 4), 100..110), "____^^^^^^");
        assert_eq!(outputs(&mut counter(2, 3), 100..110), "^^_^^_^^_^");
        assert_eq!(outputs(&mut counter(3, 4), 100..110), "^^__^^__^^");
        assert_eq!(outputs(&mut counter(3, 5), 100..110), "^^^__^^^__");
        assert_eq!(outputs(&mut counter(4, 4), 100..110), "^^^^_^^^^^");
        for (mode, expected) in [(1, "^^^___^^^"), (5, "^^^^^^_^^")] {
            let mut channel = counter(mode, 3);
            let waiting = outputs(&mut channel, 100..103);
            channel.set_gate(false, 103);
            channel.set_gate(true, 103);
            assert_eq!(waiting + &outputs(&mut channel, 103..109), expected, "mode {mode}");
        }
    }

    #[test]
    fn rises_agree_with_the_output() {
        for mode in [0, 2, 3, 4] {
            for count in [2, 3, 7, 8] {
                let mut channel = counter(mode, count);
                let wave: Vec<bool> = (100..200).map(|now| channel.output(now)).collect();
                let mut channel = counter(mode, count);
                for now in 100..160 {
                    let expected =
                        (now + 1..200).find(|t| !wave[(t - 101) as usize] && wave[(t - 100) as usize]);
                    assert_eq!(channel.next_rise(now), expected, "mode {mode}, count {count}, tick {now}");
                }
            }
        }
    }

    #[test]
    fn the_count_runs_down_and_wraps() {
        let mut channel = counter(0, 0x1234);
        assert_eq!((read(&mut channel, 100), read(&mut channel, 101)), (0x1234, 0x1233));
        assert_eq!(read(&mut channel, 100 + 0x1235), 0xFFFF);
        let mut channel = counter(2, 0);
        assert_eq!((read(&mut channel, 100), read(&mut channel, 101)), (0, 0xFFFF));
        assert_eq!(read(&mut channel, 100 + 0x1_0000), 0);
        let mut channel = counter(3, 5);
        let counts: Vec<_> = (100..107).map(|now| read(&mut channel, now)).collect();
        assert_eq!(counts, [4, 2, 0, 4, 2, 4, 2]);
    }

    #[test]
    fn bcd_counts_in_decimal() {
        let mut channel = Channel::new(true);
        channel.set_control(0x31);
        write(&mut channel, 0x1000, 0);
        assert_eq!(read(&mut channel, 1), 0x0999);
        assert_eq!(read(&mut channel, 1001), 0x9999);
        assert_eq!(channel.next_rise(0), Some(1000));
        for value in 0..10_000 {
            assert_eq!(from_bcd(to_bcd(value)), u32::from(value));
        }
        for hostile in [0xFFFF, 0xA0F1] {
            write(&mut channel, hostile, 0);
            read(&mut channel, 12345);
        }
    }

    #[test]
    fn latches_hold_still_until_read() {
        let mut channel = counter(2, 1000);
        channel.latch_count(110);
        channel.latch_count(120);
        channel.latch_status(130);
        assert_eq!(channel.read(140), 0x80 | 0x30 | 2 << 1, "status comes first");
        assert_eq!(read(&mut channel, 140), 990);
        assert_eq!(read(&mut channel, 150), 950);
        channel.set_control(0x10 | 2 << 1);
        channel.latch_status(150);
        assert_eq!(channel.read(150), 0x80 | 0x40 | 0x10 | 2 << 1, "null count");
        channel.write(200, 150);
        assert_eq!((channel.read(151), channel.read(152)), (199, 198));
    }

    #[test]
    fn a_new_count_in_periodic_modes_waits_for_the_period_to_end() {
        let mut channel = counter(2, 5);
        write(&mut channel, 3, 112);
        assert_eq!(outputs(&mut channel, 112..122), "^^_^^_^^_^");
        assert_eq!(channel.next_rise(122), Some(124));
    }

    #[test]
    fn the_gate_pauses_some_modes_and_restarts_others() {
        for (mode, expected) in [(0, "_____^"), (4, "^^^^^_"), (2, "^^^_^^"), (3, "^^__^^")] {
            let mut channel = counter(mode, 4);
            assert!(channel.next_rise(102).is_some());
            channel.set_gate(false, 102);
            assert_eq!(channel.next_rise(102), None);
            assert!(channel.output(150) != (mode == 0));
            channel.set_gate(true, 200);
            let wave = outputs(&mut channel, 197..203);
            let wave = if mode < 2 || mode == 4 { wave } else { outputs(&mut channel, 200..206) };
            assert_eq!(wave, expected, "mode {mode}");
        }
    }
}
