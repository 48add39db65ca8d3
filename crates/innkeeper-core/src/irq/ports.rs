//! Where the fabric's chips appear on the buses.

use std::sync::Arc;

use super::Fabric;
use crate::bus::{Bus, Device};

const IOAPIC_BASE: u64 = 0xFEC0_0000;
const IOAPIC_SIZE: u64 = 0x1000;

/// Claims the ports and the page of `fabric`'s chips, which are nobody else's.
pub fn map(fabric: &Arc<Fabric>, ports: &Bus, mmio: &Bus) {
    let claim = |base, size, chip| {
        let device = Arc::new(Ports { fabric: Arc::clone(fabric), chip });
        ports.map(base, size, device).expect("the fabric's ports are its own");
    };
    claim(0x20, 2, Chip::Pic(0));
    claim(0xA0, 2, Chip::Pic(1));
    claim(0x4D0, 2, Chip::Elcr);
    claim(0x40, 4, Chip::Pit);
    claim(0x61, 1, Chip::Latch);
    let page = Arc::new(IoapicPage { fabric: Arc::clone(fabric) });
    mmio.map(IOAPIC_BASE, IOAPIC_SIZE, page).expect("the I/O APIC's page is its own");
}

#[derive(Clone, Copy)]
enum Chip {
    Pic(usize),
    Elcr,
    Pit,
    Latch,
}

/// An 8-bit chip; a wider access is one to each port.
struct Ports {
    fabric: Arc<Fabric>,
    chip: Chip,
}

impl Ports {
    fn read_byte(&self, offset: u64) -> u8 {
        let fabric = &self.fabric;
        match self.chip {
            Chip::Pic(chip) => fabric.with_pic(|pic| pic.read(chip, offset)),
            Chip::Elcr => fabric.with_pic(|pic| pic.elcr(offset as usize)),
            Chip::Pit => fabric.with_pit(|pit, now| pit.read(offset, now)),
            Chip::Latch => fabric.with_pit(|pit, now| pit.read_latch(now)),
        }
    }

    fn write_byte(&self, offset: u64, value: u8) {
        let fabric = &self.fabric;
        match self.chip {
            Chip::Pic(chip) => fabric.with_pic(|pic| pic.write(chip, offset, value)),
            Chip::Elcr => fabric.with_pic(|pic| pic.set_elcr(offset as usize, value)),
            Chip::Pit => {
                if fabric.with_pit(|pit, now| pit.write(offset, value, now)) {
                    fabric.set_irq(0, false);
                }
            }
            Chip::Latch => fabric.with_pit(|pit, now| pit.write_latch(value, now)),
        }
    }
}

impl Device for Ports {
    fn read(&self, offset: u64, size: u8) -> u64 {
        (0..u64::from(size)).fold(0, |value, at| value | u64::from(self.read_byte(offset + at)) << (8 * at))
    }

    fn write(&self, offset: u64, size: u8, value: u64) {
        (0..u64::from(size)).for_each(|at| self.write_byte(offset + at, (value >> (8 * at)) as u8));
    }
}

struct IoapicPage {
    fabric: Arc<Fabric>,
}

impl Device for IoapicPage {
    fn read(&self, offset: u64, _size: u8) -> u64 {
        u64::from(self.fabric.with_ioapic(|ioapic, _| ioapic.read(offset)))
    }

    fn write(&self, offset: u64, _size: u8, value: u64) {
        self.fabric.with_ioapic(|ioapic, send| ioapic.write(offset, value as u32, send));
    }
}
