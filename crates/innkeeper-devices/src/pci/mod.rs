//! What PCI functions share: interrupt pins. Configuration space is Python's (`innkeeper.devices.pci`).

mod intx;

pub use intx::{IntxPin, PciInterrupts};
