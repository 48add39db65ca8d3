use super::*;
use crate::x86::attention::INTERRUPT;

const IOAPIC: u64 = 0xFEC0_0000;

/// A fabric on its buses, every local APIC enabled by software.
struct Bench {
    fabric: Arc<Fabric>,
    attentions: Vec<Arc<Attention>>,
    ports: Bus,
    mmio: Bus,
}

impl Bench {
    fn new(count: usize) -> Self {
        let attentions: Vec<_> = (0..count).map(|_| Arc::new(Attention::default())).collect();
        let fabric = Fabric::new(Arc::new(Clock::new()), &attentions);
        let (ports, mmio) = (Bus::default(), Bus::default());
        fabric.map(&ports, &mmio);
        for (index, attention) in attentions.iter().enumerate() {
            fabric.lapic(index).mmio_write(0xF0, 0x1FF);
            attention.take(u32::MAX);
        }
        Self { fabric, attentions, ports, mmio }
    }
    fn redirect(&self, pin: u64, entry: u64) {
        for (half, value) in [(1, entry >> 32), (0, entry & 0xFFFF_FFFF)] {
            self.mmio.write(IOAPIC, 4, 0x10 + 2 * pin + half);
            self.mmio.write(IOAPIC + 0x10, 4, value);
        }
    }
    fn remote_irr(&self, pin: u64) -> bool {
        self.mmio.write(IOAPIC, 4, 0x10 + 2 * pin);
        self.mmio.read(IOAPIC + 0x10, 4) >> 14 & 1 != 0
    }
    fn set_up_pic(&self) {
        for (port, base) in [(0x20, 0x20), (0xA0, 0x28)] {
            self.ports.write(port, 1, 0x11);
            for value in [base, if port == 0x20 { 4 } else { 2 }, 1, 0] {
                self.ports.write(port + 1, 1, value);
            }
        }
    }
    fn acknowledge(&self, index: usize) -> Option<u8> {
        self.fabric.lapic(index).acknowledge()
    }
    fn eoi(&self, index: usize) {
        self.fabric.lapic(index).mmio_write(0xB0, 0);
    }
}

#[test]
fn a_line_reaches_its_ioapic_pin_and_a_level_lasts_until_eoi() {
    let bench = Bench::new(2);
    bench.redirect(5, 1 << 56 | 0x8000 | 0x61);
    bench.fabric.set_irq(5, true);
    assert_eq!(bench.attentions[1].take(u32::MAX), INTERRUPT);
    assert_eq!(bench.acknowledge(1), Some(0x61));
    assert_eq!(bench.fabric.lapic(1).mmio_read(0x1B0) >> 1 & 1, 1, "TMR");
    assert!(bench.remote_irr(5));
    bench.eoi(1);
    assert_eq!(bench.acknowledge(1), Some(0x61), "still high");
    bench.fabric.set_irq(5, false);
    bench.eoi(1);
    assert_eq!((bench.acknowledge(1), bench.remote_irr(5)), (None, false));
}

#[test]
fn eoi_suppression_leaves_it_to_the_ioapics_register() {
    let bench = Bench::new(1);
    bench.fabric.lapic(0).mmio_write(0xF0, 0x11FF);
    bench.redirect(5, 0x8000 | 0x61);
    bench.fabric.set_irq(5, true);
    assert_eq!(bench.acknowledge(0), Some(0x61));
    bench.eoi(0);
    assert!(bench.remote_irr(5) && bench.acknowledge(0).is_none());
    bench.mmio.write(IOAPIC + 0x40, 4, 0x61);
    assert_eq!(bench.acknowledge(0), Some(0x61));
}

#[test]
fn a_level_that_found_nobody_is_delivered_on_enabling() {
    let bench = Bench::new(1);
    let lapic = bench.fabric.lapic(0);
    lapic.mmio_write(0xF0, 0xFF);
    bench.redirect(5, 0x8000 | 0x61);
    bench.fabric.set_irq(5, true);
    assert!(!bench.remote_irr(5));
    lapic.mmio_write(0xF0, 0x1FF);
    assert_eq!(lapic.acknowledge(), Some(0x61));
}

#[test]
fn isa_irq_0_is_at_pin_2_and_strange_gsis_go_nowhere() {
    let bench = Bench::new(1);
    (0..24).for_each(|pin| bench.redirect(pin, 0x40 + pin));
    for gsi in [0, 2, 1, 23, 24, u32::MAX] {
        bench.fabric.set_irq(gsi, true);
    }
    let taken = std::iter::from_fn(|| bench.acknowledge(0).inspect(|_| bench.eoi(0)));
    assert_eq!(taken.collect::<Vec<_>>(), [0x57, 0x42, 0x41]);
    let statistics = bench.fabric.statistics();
    let counted: Vec<_> = statistics.iter().filter(|(name, _)| name.starts_with("gsi")).collect();
    assert_eq!(counted.len(), 4);
}

#[test]
fn the_pic_interrupts_through_lint0_or_a_disabled_apic() {
    let bench = Bench::new(2);
    bench.set_up_pic();
    let lapic = bench.fabric.lapic(0);
    lapic.mmio_write(0x350, 0x1_0700);
    bench.fabric.set_irq(4, true);
    assert_eq!((bench.attentions[0].take(u32::MAX), bench.acknowledge(0)), (0, None), "LINT0 is masked");
    lapic.mmio_write(0x350, 0x700);
    assert_eq!(bench.attentions[0].take(u32::MAX), INTERRUPT);
    assert!(lapic.has_interrupt() && bench.acknowledge(1).is_none());
    assert_eq!(bench.acknowledge(0), Some(0x24));
    assert_eq!(bench.acknowledge(0), None);
    lapic.write_msr(0x1B, 0xFEE0_0100);
    bench.attentions[0].take(u32::MAX);
    bench.fabric.set_irq(1, true);
    assert_eq!(bench.attentions[0].take(u32::MAX), INTERRUPT);
    assert_eq!(bench.acknowledge(0), Some(0x21));
    bench.ports.write(0x20, 1, 0x20);
    bench.fabric.set_irq(12, true);
    assert_eq!(bench.acknowledge(0), Some(0x2C));
}

#[test]
fn lint0_can_turn_the_pic_into_a_vector_or_an_nmi() {
    let bench = Bench::new(1);
    bench.set_up_pic();
    let lapic = bench.fabric.lapic(0);
    lapic.mmio_write(0x350, 0x39);
    bench.fabric.set_irq(0, true);
    assert_eq!(bench.acknowledge(0), Some(0x39));
    lapic.mmio_write(0x350, 0x400);
    bench.fabric.set_irq(0, false);
    bench.ports.write(0x20, 1, 0x0C); // poll
    assert_eq!(bench.ports.read(0x20, 1), 0x80);
    bench.ports.write(0x20, 1, 0x20);
    bench.attentions[0].take(u32::MAX);
    bench.fabric.set_irq(0, true);
    assert_eq!(bench.attentions[0].take(u32::MAX), NMI);
}

#[test]
fn the_nmi_line_goes_through_lint1() {
    let bench = Bench::new(2);
    bench.fabric.lapic(1).mmio_write(0x360, 0x400);
    bench.fabric.pulse_nmi();
    assert_eq!((bench.attentions[0].take(u32::MAX), bench.attentions[1].take(u32::MAX)), (0, NMI));
    bench.fabric.lapic(0).write_msr(0x1B, 0xFEE0_0100);
    bench.fabric.pulse_nmi();
    assert_eq!(bench.attentions[0].take(u32::MAX) & NMI, NMI);
}

#[test]
fn msis_go_straight_to_their_destination() {
    let bench = Bench::new(2);
    bench.fabric.signal_msi(0xFEE0_1000, 0x4071);
    assert_eq!((bench.acknowledge(0), bench.acknowledge(1)), (None, Some(0x71)));
    bench.fabric.signal_msi(0xFEEF_F000, 0x72);
    assert_eq!((bench.acknowledge(0), bench.acknowledge(1)), (Some(0x72), None), "0x71 is in service");
    bench.eoi(1);
    assert_eq!(bench.acknowledge(1), Some(0x72));
}

#[test]
fn a_set_of_ids_gets_one_interrupt_each() {
    let bench = Bench::new(4);
    assert_eq!(bench.fabric.send_to_set(0b1101, 1, 0x55), Some(2));
    assert_eq!([0, 1, 2, 3].map(|index| bench.acknowledge(index)), [None, Some(0x55), None, Some(0x55)]);
    assert_eq!(bench.fabric.send_to_set(u128::MAX, u32::MAX, 0x55), Some(0));
    assert_eq!(bench.fabric.send_to_set(1 << 127, 0, 0x55), Some(0));
    assert_eq!(bench.fabric.send_to_set(1, 0, 0x4_0055), None, "no shorthands");
    assert_eq!(bench.fabric.send_to_set(1, 2, 0x400), Some(1));
    assert_eq!(bench.attentions[2].take(u32::MAX), NMI);
}

#[test]
fn pit_counter_0_ticks_through_both_controllers() {
    const LIMIT: std::time::Duration = std::time::Duration::from_secs(5);
    let bench = Bench::new(1);
    bench.set_up_pic();
    bench.redirect(2, 0x30);
    bench.fabric.lapic(0).mmio_write(0x350, 0x700);
    bench.ports.write(0x43, 1, 0x34);
    bench.ports.write(0x40, 1, 0xA9);
    bench.ports.write(0x40, 1, 0x04); // 1193: 1 kHz
    for _ in 0..3 {
        bench.attentions[0].sleep(INTERRUPT, LIMIT);
        bench.attentions[0].take(u32::MAX);
        let mut taken: Vec<_> = std::iter::from_fn(|| bench.acknowledge(0)).collect();
        if taken.len() < 2 {
            // The timer thread was between its two controllers.
            bench.attentions[0].sleep(INTERRUPT, LIMIT);
            bench.attentions[0].take(u32::MAX);
            taken.extend(bench.acknowledge(0));
        }
        taken.sort_unstable();
        assert_eq!(taken, [0x20, 0x30]);
        bench.ports.write(0x20, 1, 0x20);
        bench.eoi(0);
    }
    bench.ports.write(0x43, 1, 0x30);
    assert_eq!(bench.ports.read(0x61, 1) & 0x0F, 0);
    bench.ports.write(0x61, 1, 3);
    assert_eq!(bench.ports.read(0x61, 1) & 0x0F, 3);
    assert_eq!(bench.ports.read(0x4D0, 2), 0);
    bench.ports.write(0x4D0, 2, 0xFFFF);
    assert_eq!(bench.ports.read(0x4D0, 2), 0xDEF8);
}

#[test]
fn the_vm_is_dead_when_no_vcpu_can_wake() {
    let bench = Bench::new(2);
    let fabric = &bench.fabric;
    assert!(!fabric.all_dead(0), "vCPU 1 runs");
    assert!(fabric.all_dead(1));
    fabric.lapic(0).mmio_write(0x310, 1 << 24);
    fabric.lapic(0).mmio_write(0x300, 0x400);
    assert!(!fabric.all_dead(0), "an NMI is on its way to vCPU 1");
    fabric.unpark(1);
    bench.attentions[1].take(NMI);
    assert!(!fabric.all_dead(0));
    assert!(fabric.all_dead(1));
    bench.redirect(7, 0x400);
    assert!(!fabric.all_dead(1), "an I/O APIC input is an NMI");
}

#[test]
fn a_processor_that_is_not_plugged_in_hears_of_nothing() {
    const SIGNALS: u32 = NMI | INIT | SIPI | INTERRUPT;
    let bench = Bench::new(3);
    let fabric = &bench.fabric;
    fabric.lapic(1).write_msr(0x1B, 0xFEE0_0100); // it would let the NMI line through
    fabric.set_plugged(1, false);
    let send = |to: u32, commands: &[u32]| {
        for command in commands {
            fabric.lapic(0).mmio_write(0x310, to << 24);
            fabric.lapic(0).mmio_write(0x300, *command);
        }
    };
    let start = [0x4500, 0x4608];
    send(1, &start);
    send(1, &[0x55, 0x400]);
    send(0, &start.map(|command| 3 << 18 | command));
    send(0, &[2 << 18 | 0x56]);
    fabric.signal_msi(0xFEE0_1000, 0x4071);
    fabric.signal_msi(0xFEEF_F000, 0x72);
    fabric.pulse_nmi();
    assert_eq!(bench.attentions[1].bits() & SIGNALS, 0);
    assert_eq!(bench.attentions[2].take(INIT | SIPI), INIT | SIPI);
    assert_eq!(fabric.send_to_set(0b111, 0, 0x55), Some(2));

    fabric.set_plugged(1, true);
    assert_eq!((bench.attentions[1].bits() & SIGNALS, bench.acknowledge(1)), (0, None));
    assert_eq!(fabric.lapic(1).read_msr(0x1B), Some(0xFEE0_0800), "as after power-up");
    assert_eq!(fabric.lapic(1).mmio_read(0xF0), 0xFF);
    send(1, &start);
    assert_eq!((bench.attentions[1].take(SIGNALS), fabric.lapic(1).sipi_vector()), (INIT | SIPI, 8));
}

#[test]
fn a_processor_that_is_not_plugged_in_keeps_no_vm_alive() {
    let bench = Bench::new(2);
    assert!(!bench.fabric.all_dead(0), "vCPU 1 runs");
    bench.fabric.set_plugged(1, false);
    assert!(bench.fabric.all_dead(0));
    bench.fabric.set_plugged(1, true);
    assert!(!bench.fabric.all_dead(0));
}

#[test]
fn a_reset_forgets_everything() {
    let bench = Bench::new(1);
    bench.redirect(5, 0x8061);
    bench.fabric.set_irq(5, true);
    assert_eq!(bench.acknowledge(0), Some(0x61));
    bench.redirect(6, 0x51);
    bench.fabric.set_irq(6, true);
    bench.fabric.pulse_nmi();
    bench.fabric.lapic(0).mmio_write(0x300, 4 << 16 | 0x4500); // INIT to itself
    bench.fabric.lapic(0).write_msr(0x1B, 0xFEE0_0D00);
    bench.fabric.reset();
    assert_eq!(bench.attentions[0].bits(), 0, "nothing is on its way");
    assert_eq!(bench.fabric.lapic(0).read_msr(0x1B), Some(0xFEE0_0900));
    assert_eq!((bench.acknowledge(0), bench.remote_irr(5)), (None, false));
    let words = |at: u64| (0..8).map(|word| bench.fabric.lapic(0).mmio_read(at + 16 * word)).sum::<u32>();
    assert_eq!((words(0x100), words(0x200)), (0, 0), "nothing is in service or requested");
}

#[test]
fn dropping_the_fabric_ends_its_thread() {
    let bench = Bench::new(1);
    let timers = Arc::downgrade(&bench.fabric.timers);
    bench.fabric.lapic(0).mmio_write(0x380, u32::MAX);
    drop(bench);
    assert!(timers.upgrade().is_none());
}
