//! INTx pins: wired together by the board, and led to the IOAPIC and, as the PIIX3's PIRQ registers say, to the PICs.
//!
//! Spec: PCI Local Bus 3.0, 2.2.6; Intel 82371SB datasheet 290550, 2.2.8 (PIRQRC).

use std::sync::{Arc, Mutex};

use innkeeper_bus::interrupt::{InterruptFabric, Line};

/// Wires from the slots to the interrupt controllers.
const WIRES: usize = 8;
/// Of which the PIIX3 sees pairs as one.
const PIRQS: usize = 4;
const ISA_IRQS: usize = 16;
/// As on a 440FX board, INTA of this slot is PIRQ A: firmware writes interrupt lines by that.
const FIRST_SLOT: usize = 1;

#[derive(Default)]
struct Levels {
    /// How many pins drive each wire.
    drivers: [u32; WIRES],
    /// The ISA interrupt of each PIRQ.
    routes: [Option<u8>; PIRQS],
    /// What was told last.
    isa: [bool; ISA_IRQS],
    wires: [bool; WIRES],
}

/// All INTx wires of a board.
pub struct PciInterrupts {
    fabric: Arc<dyn InterruptFabric>,
    first_gsi: u32,
    levels: Mutex<Levels>,
}

impl PciInterrupts {
    /// Wire 0 is the IOAPIC's input `first_gsi`, the others follow.
    pub fn new(fabric: Arc<dyn InterruptFabric>, first_gsi: u32) -> Arc<Self> {
        Arc::new(Self { fabric, first_gsi, levels: Mutex::default() })
    }

    /// The pin (0 is INTA) of the function in `slot`.
    pub fn pin(self: &Arc<Self>, slot: u8, pin: u8) -> IntxPin {
        let wire = (usize::from(slot) + usize::from(pin)) % WIRES;
        IntxPin { board: Arc::clone(self), wire, level: Mutex::default() }
    }

    /// PIRQ `pirq` (0 to 3) leads to this ISA interrupt from now on, or to none.
    pub fn route(&self, pirq: usize, irq: Option<u8>) {
        let mut levels = self.levels.lock().expect("INTx lock");
        levels.routes[pirq % PIRQS] = irq.filter(|&irq| usize::from(irq) < ISA_IRQS);
        self.drive(&mut levels);
    }

    fn change(&self, wire: usize, level: bool) {
        let mut levels = self.levels.lock().expect("INTx lock");
        let drivers = &mut levels.drivers[wire];
        *drivers = if level { *drivers + 1 } else { *drivers - 1 };
        self.drive(&mut levels);
    }

    /// Tells the controllers what is new.
    fn drive(&self, levels: &mut Levels) {
        let mut isa = [false; ISA_IRQS];
        for wire in 0..WIRES {
            let level = levels.drivers[wire] > 0;
            if let Some(irq) = levels.routes[(wire + PIRQS - FIRST_SLOT) % PIRQS] {
                isa[usize::from(irq)] |= level;
            }
            if std::mem::replace(&mut levels.wires[wire], level) != level {
                self.fabric.set_irq(self.first_gsi + wire as u32, level);
            }
        }
        for (irq, level) in isa.into_iter().enumerate() {
            if std::mem::replace(&mut levels.isa[irq], level) != level {
                self.fabric.set_irq(irq as u32, level);
            }
        }
    }
}

/// One function's INTx pin.
pub struct IntxPin {
    board: Arc<PciInterrupts>,
    wire: usize,
    level: Mutex<bool>,
}

impl Line for IntxPin {
    fn set(&self, level: bool) {
        let mut before = self.level.lock().expect("INTx pin lock");
        if std::mem::replace(&mut *before, level) != level {
            self.board.change(self.wire, level);
        }
    }
}

impl Drop for IntxPin {
    fn drop(&mut self) {
        self.set(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Recorder(Mutex<Vec<(u32, bool)>>);

    impl Recorder {
        fn take(&self) -> Vec<(u32, bool)> {
            std::mem::take(&mut self.0.lock().unwrap())
        }
    }

    impl InterruptFabric for Recorder {
        fn set_irq(&self, gsi: u32, level: bool) {
            self.0.lock().unwrap().push((gsi, level));
        }
        fn signal_msi(&self, _address: u64, _data: u32) {}
    }

    #[test]
    fn pins_of_one_wire_are_wired_or() {
        let fabric = Arc::new(Recorder::default());
        let board = PciInterrupts::new(fabric.clone(), 16);
        let (one, other) = (board.pin(3, 0), board.pin(2, 1));
        one.set(true);
        other.set(true);
        one.set(false);
        assert_eq!(fabric.take(), [(19, true)]);
        drop(other);
        assert_eq!(fabric.take(), [(19, false)]);
    }

    #[test]
    fn a_routed_pirq_drives_the_isa_interrupt_too() {
        let fabric = Arc::new(Recorder::default());
        let board = PciInterrupts::new(fabric.clone(), 16);
        let pin = board.pin(5, 0);
        board.route(0, Some(10));
        pin.set(true);
        assert_eq!(fabric.take(), [(21, true), (10, true)]);
        board.route(0, Some(11));
        assert_eq!(fabric.take(), [(10, false), (11, true)]);
        board.route(0, None);
        assert_eq!(fabric.take(), [(11, false)]);
    }
}
