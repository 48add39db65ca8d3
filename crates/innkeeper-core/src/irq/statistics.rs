//! What the fabric has carried so far.

use std::sync::atomic::{AtomicU64, Ordering};

use super::ioapic::PINS;
use super::message::Delivery;

/// A counter with many writers.
#[derive(Default)]
pub struct Count(AtomicU64);

impl Count {
    pub fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[derive(Default)]
pub struct Statistics {
    gsis: [Count; PINS],
    pub msis: Count,
    /// Interrupts that the 8259 pair answered.
    pub extint: Count,
    pub pit: Count,
    ipis: Count,
    ipi_nmis: Count,
    inits: Count,
    start_ups: Count,
}

impl Statistics {
    pub fn gsi(&self, gsi: u32) {
        if let Some(count) = self.gsis.get(gsi as usize) {
            count.add();
        }
    }

    pub fn ipi(&self, delivery: Delivery) {
        match delivery {
            Delivery::Nmi => self.ipi_nmis.add(),
            Delivery::Init => self.inits.add(),
            Delivery::StartUp => self.start_ups.add(),
            _ => self.ipis.add(),
        }
    }

    /// Every GSI that was ever raised, and every other counter, by name.
    pub fn list(&self, apic_timer: u64) -> Vec<(String, u64)> {
        let gsis = self.gsis.iter().enumerate().map(|(gsi, count)| (format!("gsi_{gsi}"), count.get()));
        let others = [
            ("msis", self.msis.get()),
            ("pic_acknowledges", self.extint.get()),
            ("pit_ticks", self.pit.get()),
            ("apic_timer_expiries", apic_timer),
            ("ipis", self.ipis.get()),
            ("ipi_nmis", self.ipi_nmis.get()),
            ("ipi_inits", self.inits.get()),
            ("ipi_start_ups", self.start_ups.get()),
        ];
        let others = others.map(|(name, count)| (name.to_owned(), count));
        gsis.filter(|(_, count)| *count > 0).chain(others).collect()
    }
}
