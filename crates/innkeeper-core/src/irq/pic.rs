//! The two 8259A interrupt controllers of a PC: ports 0x20-0x21 and 0xA0-0xA1, and the edge/level
//! control registers at 0x4D0-0x4D1.
//!
//! Source: Intel 8259A datasheet; Intel 82371AB (PIIX4) datasheet, 4.2.5, for ELCR. A request that
//! falls before it is acknowledged stays requested in edge mode, so that a device may pulse its
//! line. Left out: 8080 mode, buffered mode, and a cascade other than on IR2.

use innkeeper_bus::{plain_enum, plain_struct};

use super::Outcome;

/// The master's input that the slave drives.
const CASCADE: u8 = 2;
/// What answers when the request is gone by the time of the acknowledgement.
const SPURIOUS: u8 = 7;
/// Inputs whose trigger mode ELCR can change: not the timer, keyboard, cascade, RTC and FPU.
const ELCR_WRITABLE: [u8; 2] = [0xF8, 0xDE];

/// Which initialisation command word is expected next at the odd port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Setup {
    /// Never since power-up; it requests nothing until then.
    #[default]
    Never,
    Done,
    Icw2,
    Icw3,
    Icw4,
}

/// One 8259A.
#[derive(Clone, Debug, Default)]
struct Chip {
    /// Interrupt request, in-service and mask registers.
    irr: u8,
    isr: u8,
    imr: u8,
    lines: u8,
    level_triggered: u8,
    vector_base: u8,
    /// The input with the highest priority.
    first: u8,
    setup: Setup,
    single: bool,
    needs_icw4: bool,
    reads_isr: bool,
    poll: bool,
    special_mask: bool,
    special_nested: bool,
    auto_eoi: bool,
    rotate_on_auto_eoi: bool,
}

plain_enum!(Setup { Never, Done, Icw2, Icw3, Icw4 });
plain_struct!(Chip {
    irr, isr, imr, lines, level_triggered, vector_base, first, setup, single, needs_icw4, reads_isr, poll, special_mask,
    special_nested, auto_eoi, rotate_on_auto_eoi,
} if Chip::is_sound);

impl Chip {
    fn is_sound(&self) -> bool {
        self.first < 8
    }

    fn set_line(&mut self, input: u8, level: bool) -> Outcome {
        let bit = 1 << input;
        let before = (self.lines & bit != 0, self.irr & bit != 0);
        self.lines = if level { self.lines | bit } else { self.lines & !bit };
        if self.level_triggered & bit != 0 {
            self.irr = self.irr & !bit | self.lines & bit;
        } else if level && !before.0 {
            self.irr |= bit;
        }
        match (level && !before.0, self.imr & bit != 0) {
            (false, _) | (_, true) => Outcome::Ignored,
            _ if before.1 => Outcome::Coalesced,
            _ => Outcome::Delivered,
        }
    }

    /// The input in `set` that comes first in the present rotation, as its rank (0 is highest).
    fn best(&self, set: u8) -> Option<u8> {
        (set != 0).then(|| set.rotate_right(u32::from(self.first)).trailing_zeros() as u8)
    }

    fn input_of(&self, rank: u8) -> u8 {
        (rank + self.first) & 7
    }

    /// The input that would be acknowledged now.
    fn pending(&self) -> Option<u8> {
        if self.setup != Setup::Done {
            return None;
        }
        let wanted = self.best(self.irr & !self.imr)?;
        let mut blocking = self.isr;
        if self.special_mask {
            blocking &= !self.imr;
        }
        if self.special_nested {
            blocking &= !(1 << CASCADE);
        }
        let free = self.best(blocking).is_none_or(|serving| wanted < serving);
        free.then(|| self.input_of(wanted))
    }

    fn take(&mut self, input: u8) {
        let bit = 1 << input;
        if self.level_triggered & bit == 0 {
            self.irr &= !bit;
        }
        if !self.auto_eoi {
            self.isr |= bit;
        } else if self.rotate_on_auto_eoi {
            self.first = (input + 1) & 7;
        }
    }

    fn end_of_interrupt(&mut self, input: Option<u8>, rotate: bool) {
        let serving = if self.special_mask { self.isr & !self.imr } else { self.isr };
        let Some(input) = input.or_else(|| self.best(serving).map(|rank| self.input_of(rank))) else {
            return;
        };
        self.isr &= !(1 << input);
        if rotate {
            self.first = (input + 1) & 7;
        }
    }

    fn write_command(&mut self, value: u8) {
        match value {
            _ if value & 0x10 != 0 => self.begin_setup(value),
            _ if value & 0x08 != 0 => self.write_ocw3(value),
            _ => self.write_ocw2(value),
        }
    }

    /// ICW1: forgets edges, masks and priorities.
    fn begin_setup(&mut self, value: u8) {
        *self = Self {
            irr: self.lines & self.level_triggered,
            lines: self.lines,
            level_triggered: self.level_triggered,
            vector_base: self.vector_base,
            setup: Setup::Icw2,
            single: value & 0x02 != 0,
            needs_icw4: value & 0x01 != 0,
            ..Self::default()
        };
    }

    fn write_ocw3(&mut self, value: u8) {
        if value & 0x40 != 0 {
            self.special_mask = value & 0x20 != 0;
        }
        self.poll = value & 0x04 != 0;
        if value & 0x02 != 0 {
            self.reads_isr = value & 0x01 != 0;
        }
    }

    fn write_ocw2(&mut self, value: u8) {
        let input = value & 7;
        match value >> 5 {
            0b000 => self.rotate_on_auto_eoi = false,
            0b100 => self.rotate_on_auto_eoi = true,
            0b001 => self.end_of_interrupt(None, false),
            0b101 => self.end_of_interrupt(None, true),
            0b011 => self.end_of_interrupt(Some(input), false),
            0b111 => self.end_of_interrupt(Some(input), true),
            0b110 => self.first = (input + 1) & 7,
            _ => {}
        }
    }

    fn write_data(&mut self, value: u8) {
        let after_icw3 = if self.needs_icw4 { Setup::Icw4 } else { Setup::Done };
        match self.setup {
            Setup::Never | Setup::Done => self.imr = value,
            Setup::Icw2 => {
                self.vector_base = value & 0xF8;
                self.setup = if self.single { after_icw3 } else { Setup::Icw3 };
            }
            Setup::Icw3 => self.setup = after_icw3,
            Setup::Icw4 => {
                self.auto_eoi = value & 0x02 != 0;
                self.special_nested = value & 0x10 != 0;
                self.setup = Setup::Done;
            }
        }
    }

    fn read(&mut self, data: bool) -> u8 {
        if std::mem::take(&mut self.poll) {
            let Some(input) = self.pending() else { return 0 };
            self.take(input);
            return 0x80 | input;
        }
        match (data, self.reads_isr) {
            (true, _) => self.imr,
            (false, true) => self.isr,
            (false, false) => self.irr,
        }
    }
}

/// The pair: master, then slave.
#[derive(Clone, Debug, Default)]
pub struct Pic {
    chips: [Chip; 2],
}

plain_struct!(Pic { chips });

impl Pic {
    /// Drives ISA interrupt `irq`, 0-15. The cascade input has no line.
    pub fn set_irq(&mut self, irq: u8, level: bool) -> Outcome {
        if irq > 15 || irq == CASCADE {
            return Outcome::Ignored;
        }
        let outcome = self.chips[usize::from(irq >> 3)].set_line(irq & 7, level);
        self.propagate();
        outcome
    }

    /// Whether INTR is asserted.
    pub fn output(&self) -> bool {
        self.chips[0].pending().is_some()
    }

    /// The processor's interrupt acknowledge cycles: the vector.
    pub fn acknowledge(&mut self) -> u8 {
        let [master, slave] = &mut self.chips;
        let vector = match master.pending() {
            Some(CASCADE) => {
                master.take(CASCADE);
                let input = slave.pending();
                input.inspect(|&input| slave.take(input));
                slave.vector_base | input.unwrap_or(SPURIOUS)
            }
            Some(input) => {
                master.take(input);
                master.vector_base | input
            }
            None => master.vector_base | SPURIOUS,
        };
        self.propagate();
        vector
    }

    /// Carries the slave's output to the master, which sees it as a level.
    fn propagate(&mut self) {
        let [master, slave] = &mut self.chips;
        let requested = u8::from(slave.pending().is_some()) << CASCADE;
        master.irr = master.irr & !(1 << CASCADE) | requested;
    }

    /// Reads port `offset` (0 command, 1 data) of chip 0 or 1.
    pub fn read(&mut self, chip: usize, offset: u64) -> u8 {
        let value = self.chips[chip & 1].read(offset & 1 != 0);
        self.propagate();
        value
    }

    pub fn write(&mut self, chip: usize, offset: u64, value: u8) {
        let chip = &mut self.chips[chip & 1];
        if offset & 1 != 0 {
            chip.write_data(value)
        } else {
            chip.write_command(value)
        }
        self.chips[1].special_nested = false; // only a master has slaves
        self.propagate();
    }

    /// The edge/level control register of chip 0 or 1.
    pub fn elcr(&self, chip: usize) -> u8 {
        self.chips[chip & 1].level_triggered
    }

    pub fn set_elcr(&mut self, chip: usize, value: u8) {
        let writable = ELCR_WRITABLE[chip & 1];
        let chip = &mut self.chips[chip & 1];
        let became_level = value & writable & !chip.level_triggered;
        chip.level_triggered = value & writable;
        chip.irr = chip.irr & !became_level | chip.lines & became_level;
        self.propagate();
    }
}

#[cfg(test)]
mod tests;
