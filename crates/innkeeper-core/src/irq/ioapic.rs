//! The I/O APIC: 24 inputs, each with a redirection entry that says which message to send.
//!
//! Source: Intel 82093AA datasheet; version 0x20 adds the EOI register at offset 0x40 (Intel 500
//! series PCH datasheet vol. 2, I/O APIC). Left out: polarity (the board's lines are active when
//! high), delivery status (delivery takes no time) and the wire from the 8259 to input 0.

use innkeeper_bus::plain_struct;

use super::Outcome;
use super::message::{Delivery, Destination, Message};

pub const PINS: usize = 24;
const VERSION: u32 = 0x20 | (PINS as u32 - 1) << 16;

// Offsets in the MMIO page.
const SELECT: u64 = 0x00;
const WINDOW: u64 = 0x10;
const EOI: u64 = 0x40;

// 63-56 destination │ 16 mask │ 15 level │ 14 remote IRR │ 13 polarity │ 12 status │ 11 logical │ 10-8 mode │ 7-0 vector
const MASKED: u64 = 1 << 16;
const LEVEL: u64 = 1 << 15;
const REMOTE_IRR: u64 = 1 << 14;
const LOGICAL: u64 = 1 << 11;
const WRITABLE: u64 = 0xFF00_0000_0001_AFFF;

/// Registers and inputs of the I/O APIC.
#[derive(Clone, Debug)]
pub struct Ioapic {
    select: u8,
    id: u32,
    lines: u32,
    entries: [u64; PINS],
}

plain_struct!(Ioapic { select, id, lines, entries } if Ioapic::is_sound);

impl Default for Ioapic {
    fn default() -> Self {
        Self { select: 0, id: 0, lines: 0, entries: [MASKED; PINS] }
    }
}

fn message(entry: u64) -> Message {
    let delivery = Delivery::from_bits((entry >> 8) as u32);
    let destination = Destination { id: (entry >> 56) as u32, logical: entry & LOGICAL != 0, wide: false };
    let level = entry & LEVEL != 0 && matches!(delivery, Delivery::Fixed | Delivery::Lowest);
    Message { delivery, vector: entry as u8, level, destination, any_one: false }
}

/// How the I/O APIC reaches the local APICs.
pub type Send<'a> = &'a dyn Fn(&Message) -> Outcome;

impl Ioapic {
    fn is_sound(&self) -> bool {
        let reserved = !(WRITABLE | REMOTE_IRR);
        self.id & !0x0F00_0000 == 0
            && self.lines >> PINS == 0
            && self.entries.iter().all(|entry| entry & reserved == 0)
    }

    pub fn read(&self, offset: u64) -> u32 {
        match offset {
            SELECT => u32::from(self.select),
            WINDOW => self.register(),
            _ => 0,
        }
    }

    fn register(&self) -> u32 {
        match self.select {
            0x00 | 0x02 => self.id, // the arbitration ID follows the ID
            0x01 => VERSION,
            select => match Self::entry_of(select) {
                Some((pin, shift)) => (self.entries[pin] >> shift) as u32,
                None => 0,
            },
        }
    }

    /// The input whose redirection entry a register belongs to, and the bit that register starts at.
    fn entry_of(select: u8) -> Option<(usize, u32)> {
        let index = usize::from(select.checked_sub(0x10)?);
        (index < 2 * PINS).then_some((index / 2, 32 * (index as u32 & 1)))
    }

    pub fn write(&mut self, offset: u64, value: u32, send: Send<'_>) {
        match offset {
            SELECT => self.select = value as u8,
            WINDOW if self.select == 0 => self.id = value & 0x0F00_0000,
            WINDOW => {
                if let Some((pin, shift)) = Self::entry_of(self.select) {
                    self.write_entry(pin, shift, value, send);
                }
            }
            EOI => self.end_of_interrupt(value as u8, send),
            _ => {}
        }
    }

    fn write_entry(&mut self, pin: usize, shift: u32, value: u32, send: Send<'_>) {
        let writable = WRITABLE & 0xFFFF_FFFF << shift;
        let entry = &mut self.entries[pin];
        *entry = *entry & !writable | u64::from(value) << shift & writable;
        if *entry & LEVEL == 0 {
            *entry &= !REMOTE_IRR;
        }
        self.serve_level(pin, send);
    }

    /// Drives input `pin`.
    pub fn set_line(&mut self, pin: usize, level: bool, send: Send<'_>) -> Outcome {
        let bit = 1 << pin;
        let rises = level && self.lines & bit == 0;
        self.lines = if level { self.lines | bit } else { self.lines & !bit };
        match self.entries[pin] & LEVEL != 0 {
            true => self.serve_level(pin, send),
            false if rises && self.entries[pin] & MASKED == 0 => send(&message(self.entries[pin])),
            false => Outcome::Ignored,
        }
    }

    /// Sends the message of a level-triggered input that is high, unless one is under way.
    fn serve_level(&mut self, pin: usize, send: Send<'_>) -> Outcome {
        let entry = self.entries[pin];
        if self.lines >> pin & 1 == 0 || entry & (LEVEL | MASKED) != LEVEL {
            return Outcome::Ignored;
        }
        if entry & REMOTE_IRR != 0 {
            return Outcome::Coalesced;
        }
        let message = message(entry);
        let outcome = send(&message);
        if message.level && outcome != Outcome::Ignored {
            self.entries[pin] |= REMOTE_IRR;
        }
        outcome
    }

    /// A local APIC, or the EOI register, ends the interrupt with this vector.
    pub fn end_of_interrupt(&mut self, vector: u8, send: Send<'_>) {
        for pin in 0..PINS {
            let entry = &mut self.entries[pin];
            if *entry as u8 == vector && *entry & (LEVEL | REMOTE_IRR) == LEVEL | REMOTE_IRR {
                *entry &= !REMOTE_IRR;
                self.serve_level(pin, send);
            }
        }
    }

    /// Offers again what no local APIC accepted before.
    pub fn retry(&mut self, send: Send<'_>) {
        for pin in 0..PINS {
            if self.entries[pin] & REMOTE_IRR == 0 {
                self.serve_level(pin, send);
            }
        }
    }

    /// Whether an unmasked input could send a message that wakes a vCPU with interrupts off.
    pub fn may_send_nmi(&self) -> bool {
        self.entries.iter().any(|&entry| {
            let delivery = message(entry).delivery;
            entry & MASKED == 0 && matches!(delivery, Delivery::Nmi | Delivery::Init | Delivery::Smi)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    /// An I/O APIC and the messages it sent.
    struct Bench {
        chip: Ioapic,
        sent: RefCell<Vec<u8>>,
        accept: Outcome,
    }

    impl Bench {
        fn new() -> Self {
            Self { chip: Ioapic::default(), sent: RefCell::default(), accept: Outcome::Delivered }
        }
        fn with<R>(&mut self, act: impl FnOnce(&mut Ioapic, Send<'_>) -> R) -> R {
            let (sent, accept) = (&self.sent, self.accept);
            act(&mut self.chip, &|message: &Message| {
                sent.borrow_mut().push(message.vector);
                accept
            })
        }
        fn register(&mut self, select: u8) -> u32 {
            self.write(SELECT, u32::from(select));
            self.chip.read(WINDOW)
        }
        fn set_register(&mut self, select: u8, value: u32) {
            self.write(SELECT, u32::from(select));
            self.write(WINDOW, value);
        }
        fn write(&mut self, offset: u64, value: u32) {
            self.with(|chip, send| chip.write(offset, value, send));
        }
        fn line(&mut self, level: bool) -> Outcome {
            self.with(|chip, send| chip.set_line(14, level, send))
        }
        fn eoi(&mut self, vector: u8) {
            self.with(|chip, send| chip.end_of_interrupt(vector, send));
        }
        fn entry(&mut self, low: u64) {
            self.set_register(0x10 + 28, low as u32);
        }
        fn remote_irr(&mut self) -> bool {
            self.register(0x10 + 28) >> 14 & 1 != 0
        }
        fn sent(&self) -> usize {
            self.sent.borrow().len()
        }
    }

    #[test]
    fn registers_read_back_what_is_writable() {
        let mut bench = Bench::new();
        assert_eq!(bench.register(1), 0x0017_0020);
        bench.set_register(1, 0);
        assert_eq!(bench.register(1), 0x0017_0020);
        bench.set_register(0, u32::MAX);
        assert_eq!((bench.register(0), bench.register(2)), (0x0F00_0000, 0x0F00_0000));
        bench.set_register(2, 0);
        assert_eq!(bench.register(2), 0x0F00_0000);
        for pin in 0..24 {
            assert_eq!(bench.register(0x10 + 2 * pin), 0x0001_0000);
            bench.set_register(0x10 + 2 * pin, u32::MAX);
            bench.set_register(0x11 + 2 * pin, u32::MAX);
            assert_eq!(bench.register(0x10 + 2 * pin), 0x0001_AFFF);
            assert_eq!(bench.register(0x11 + 2 * pin), 0xFF00_0000);
        }
        for select in [3, 0x0F, 0x40, 0xFF] {
            bench.set_register(select, u32::MAX);
            assert_eq!(bench.register(select), 0);
        }
    }

    #[test]
    fn an_edge_sends_once_and_a_masked_edge_is_lost() {
        let mut bench = Bench::new();
        bench.entry(0x76);
        assert_eq!(bench.line(true), Outcome::Delivered);
        assert_eq!(bench.line(true), Outcome::Ignored);
        bench.line(false);
        bench.line(true);
        assert_eq!(bench.sent(), 2);
        bench.line(false);
        bench.entry(MASKED | 0x76);
        bench.line(true);
        bench.entry(0x76);
        assert_eq!(bench.sent(), 2);
        assert!(!bench.remote_irr());
    }

    #[test]
    fn a_level_is_sent_again_at_each_eoi_while_it_is_high() {
        let mut bench = Bench::new();
        bench.entry(LEVEL | 0x77);
        bench.line(true);
        assert!(bench.remote_irr());
        assert_eq!(bench.line(true), Outcome::Coalesced);
        bench.eoi(0x78);
        assert_eq!(bench.sent(), 1);
        bench.eoi(0x77);
        assert_eq!(bench.sent(), 2);
        bench.line(false);
        assert!(bench.remote_irr());
        bench.write(EOI, 0x77);
        assert!(!bench.remote_irr());
        assert_eq!(bench.sent(), 2);
    }

    #[test]
    fn a_masked_level_is_sent_when_unmasked() {
        let mut bench = Bench::new();
        bench.entry(LEVEL | MASKED | 0x82);
        bench.line(true);
        assert_eq!(bench.sent(), 0);
        bench.entry(LEVEL | 0x82);
        assert_eq!(bench.sent(), 1);
        // Masking does not stop the EOI, unmasking sends again.
        bench.entry(LEVEL | MASKED | 0x82);
        bench.eoi(0x82);
        assert_eq!((bench.sent(), bench.remote_irr()), (1, false));
        bench.entry(LEVEL | 0x82);
        assert_eq!(bench.sent(), 2);
    }

    #[test]
    fn switching_to_edge_clears_remote_irr() {
        let mut bench = Bench::new();
        bench.entry(LEVEL | 0x82);
        bench.line(true);
        bench.line(false);
        bench.entry(LEVEL | REMOTE_IRR | 0x82);
        assert!(bench.remote_irr(), "it is read-only");
        bench.entry(0x82);
        assert!(!bench.remote_irr());
    }

    #[test]
    fn what_nobody_accepts_is_not_under_way() {
        let mut bench = Bench::new();
        bench.accept = Outcome::Ignored;
        bench.entry(LEVEL | 0x82);
        bench.line(true);
        assert!(!bench.remote_irr());
        bench.accept = Outcome::Coalesced;
        bench.with(Ioapic::retry);
        assert!(bench.remote_irr());
        bench.with(Ioapic::retry);
        assert_eq!(bench.sent(), 2);
    }

    #[test]
    fn an_entry_becomes_the_message_it_describes() {
        let logical = message(0x0D00_0000_0000_8986);
        let destination = Destination { id: 0x0D, logical: true, wide: false };
        assert_eq!(logical.destination, destination);
        assert_eq!((logical.delivery, logical.vector, logical.level), (Delivery::Lowest, 0x86, true));
        assert!(!message(LEVEL | 0x400).level, "an NMI is an edge");
    }
}
