//! The interrupt controllers of a VM whose vCPUs stand still, written down and taken on again.

use innkeeper_bus::state::{BadState, Fields, Plain, Value, map};

use super::Fabric;

impl Fabric {
    /// All chips, with what is on their lines and what waits in them.
    pub fn state(&self) -> Value {
        map([
            ("ioapic", self.with_ioapic(|ioapic, _| ioapic.save())),
            ("pic", self.with_pic(|pic| pic.save())),
            ("pit", self.with_pit(|pit, _| pit.save())),
            ("lapics", Value::List(self.lapics.iter().map(|lapic| lapic.state()).collect())),
        ])
    }

    /// Takes on a state, whatever was on the lines before. The clock has been restored already.
    ///
    /// # Errors
    /// [`BadState`]; then a part of it may have been taken on.
    pub fn restore(&self, state: &Value) -> Result<(), BadState> {
        let mut fields = Fields::of(state)?;
        let ioapic = fields.take("ioapic")?;
        let pic = fields.take("pic")?;
        let pit = fields.take("pit")?;
        let Value::List(lapics) = fields.value("lapics")? else {
            return Err(BadState::new("lapics: it is no list"));
        };
        fields.end()?;
        if lapics.len() != self.lapics.len() {
            let (saved, here) = (lapics.len(), self.lapics.len());
            return Err(BadState::new(format!("it has {saved} local APICs; the machine has {here}")));
        }
        // The PIC's output first: a local APIC only hears of its edges.
        self.with_pic(|chip| *chip = pic);
        for (index, (lapic, state)) in self.lapics.iter().zip(lapics).enumerate() {
            lapic.restore(state).map_err(|error| error.within(&format!("local APIC {index}")))?;
        }
        self.with_ioapic(|chip, _| *chip = ioapic);
        self.with_pit(|chip, _| *chip = pit);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::ioapic::Ioapic;
    use super::super::pic::Pic;
    use super::super::pit::Pit;
    use super::super::{Outcome, TIMER_PIN};
    use super::*;
    use crate::clock::Clock;
    use crate::x86::attention::Attention;
    use std::sync::Arc;

    /// Xorshift: the same numbers each time.
    struct Random(u64);

    impl Random {
        fn below(&mut self, limit: u64) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0 % limit
        }
    }

    /// Random traffic, then the same further traffic at a chip and at the one that took its state on: no answer differs.
    fn check<Chip: Plain + Default>(drive: impl Fn(&mut Chip, &mut Random, u64) -> u64) {
        for seed in 1..400u64 {
            let mut random = Random(0x9E37_79B9_7F4A_7C15u64.wrapping_mul(seed));
            let mut chip = Chip::default();
            let mut now = 0;
            for _ in 0..random.below(200) {
                now += random.below(1_000_000);
                drive(&mut chip, &mut random, now);
            }
            let state = chip.save();
            let mut other = Chip::load(&state).expect("its own state");
            assert_eq!(other.save(), state);
            let mut same = Random(random.0);
            for _ in 0..200 {
                now += random.below(1_000_000);
                same.below(1_000_000);
                let answers = (drive(&mut chip, &mut random, now), drive(&mut other, &mut same, now));
                assert_eq!(answers.0, answers.1, "seed {seed}");
            }
            assert_eq!(other.save(), chip.save(), "seed {seed}");
        }
    }

    #[test]
    fn pics_behave_alike_once_one_has_the_others_state() {
        check(|pic: &mut Pic, random, _| {
            let (chip, value) = (random.below(2) as usize, random.below(256) as u8);
            match random.below(6) {
                0 => pic.set_irq(random.below(16) as u8, value & 1 != 0) as u64,
                1 => u64::from(pic.acknowledge()),
                2 => u64::from(pic.read(chip, random.below(2))),
                3 => u64::from(pic.output()),
                4 => {
                    pic.set_elcr(chip, value);
                    u64::from(pic.elcr(chip))
                }
                _ => {
                    pic.write(chip, random.below(2), value);
                    0
                }
            }
        });
    }

    #[test]
    fn pits_behave_alike_once_one_has_the_others_state() {
        check(|pit: &mut Pit, random, now| {
            let (port, value) = (random.below(4), random.below(256) as u8);
            match random.below(6) {
                0 => u64::from(pit.read(port, now)),
                1 => u64::from(pit.read_latch(now)),
                2 => {
                    pit.write_latch(value, now);
                    0
                }
                3 => u64::from(pit.expire(now)),
                4 => pit.deadline().unwrap_or(0),
                _ => u64::from(pit.write(port, value, now)),
            }
        });
    }

    #[test]
    fn ioapics_behave_alike_once_one_has_the_others_state() {
        check(|ioapic: &mut Ioapic, random, _| {
            let sent = std::cell::Cell::new(0u64);
            let send = |message: &super::super::message::Message| {
                sent.set(sent.get() << 8 | u64::from(message.vector));
                [Outcome::Ignored, Outcome::Delivered][usize::from(message.vector & 1)]
            };
            let value = random.below(1 << 32) as u32;
            match random.below(5) {
                0 => drop(ioapic.set_line(random.below(24) as usize, value & 1 != 0, &send)),
                1 => ioapic.write(0, value & 0x3F, &send),
                2 => ioapic.write(0x10, value, &send),
                3 => ioapic.end_of_interrupt(value as u8, &send),
                _ => sent.set(u64::from(ioapic.read(0x10))),
            }
            sent.get()
        });
    }

    fn fabric(vcpus: usize) -> Arc<Fabric> {
        let attentions: Vec<_> = (0..vcpus).map(|_| Arc::new(Attention::default())).collect();
        Fabric::new(Arc::new(Clock::new()), &attentions)
    }

    #[test]
    fn a_fabric_takes_on_what_waits_in_another() {
        let (from, to) = (fabric(2), fabric(2));
        let first = from.lapic(0);
        first.mmio_write(0xF0, 0x1FF);
        first.mmio_write(0x80, 0x35); // the task priority's low half is not in CR8
        from.with_ioapic(|ioapic, send| {
            ioapic.write(0, 0x10 + 2 * TIMER_PIN as u32, send);
            ioapic.write(0x10, 0x8041, send); // level-triggered
        });
        from.set_irq(0, true);
        from.lapic(1).receive(&super::super::message::Message {
            delivery: super::super::message::Delivery::StartUp,
            vector: 0x9A,
            level: false,
            destination: super::super::message::Destination { id: 1, logical: false, wide: false },
            any_one: false,
        });
        to.set_irq(5, true);
        to.restore(&from.state()).expect("its own state");
        assert_eq!(to.state(), from.state());
        assert!(to.lapic(0).has_interrupt() && to.lapic(0).mmio_read(0x80) == 0x35);
        assert_eq!(to.lapic(0).acknowledge(), Some(0x41));
        assert_eq!(to.lapic(1).sipi_vector(), 0x9A);
        assert_ne!(to.attentions[1].bits() & crate::x86::attention::SIPI, 0);
        to.lapic(0).mmio_write(0xB0, 0);
        assert!(to.lapic(0).has_interrupt(), "the line is still high");
    }

    #[test]
    fn a_running_timer_goes_on() {
        let (from, to) = (fabric(1), fabric(1));
        let lapic = from.lapic(0);
        lapic.mmio_write(0xF0, 0x1FF);
        lapic.mmio_write(0x320, 0x2_0040); // periodic
        lapic.mmio_write(0x3E0, 0xB);
        lapic.mmio_write(0x380, 300_000_000);
        let left = lapic.mmio_read(0x390);
        to.clock.restore(&from.clock.state()).expect("the same host");
        to.restore(&from.state()).expect("its own state");
        let now = to.lapic(0).mmio_read(0x390);
        assert!(now <= left && now > 1, "{now} of {left} left");
        let start = std::time::Instant::now();
        while !to.lapic(0).has_interrupt() {
            assert!(start.elapsed().as_secs() < 30, "the timer never expires");
            std::thread::yield_now();
        }
    }

    #[test]
    fn what_is_not_of_this_machine_is_refused() {
        let error = fabric(1).restore(&fabric(2).state()).unwrap_err();
        assert_eq!(error.to_string(), "it has 2 local APICs; the machine has 1");
        let Value::Map(mut fields) = fabric(2).state() else { unreachable!() };
        if let Value::List(lapics) = &mut fields[3].1 {
            lapics.swap(0, 1);
        }
        let error = fabric(2).restore(&Value::Map(fields)).unwrap_err();
        assert_eq!(error.to_string(), "local APIC 0: it is not of this processor");
    }
}
