use super::*;

const SVR: u64 = 0xF0;
const ESR: u64 = 0x280;
const LVT_TIMER: u64 = 0x320;
const LVT_ERROR: u64 = 0x370;
const X2APIC: u64 = 0xFEE0_0C00;

/// The local APICs of a VM, enabled by software, and their vCPUs' attention words.
struct Bench {
    fabric: Arc<Fabric>,
    attentions: Vec<Arc<Attention>>,
}

impl Bench {
    fn new(count: usize) -> Self {
        let attentions: Vec<_> = (0..count).map(|_| Arc::new(Attention::default())).collect();
        let bench = Self { fabric: Fabric::new(Arc::new(Clock::new()), &attentions), attentions };
        for index in 0..count {
            bench.lapic(index).mmio_write(SVR, 0x1FF);
            bench.raised(index);
        }
        bench
    }
    fn lapic(&self, index: usize) -> Arc<Lapic> {
        self.fabric.lapic(index)
    }
    fn raised(&self, index: usize) -> u32 {
        self.attentions[index].take(u32::MAX)
    }
    /// The vectors that each vCPU is interrupted with, all ended at once.
    fn drain(&self, index: usize) -> Vec<u8> {
        let lapic = self.lapic(index);
        let next = || lapic.acknowledge().inspect(|_| lapic.mmio_write(0xB0, 0));
        std::iter::from_fn(next).collect()
    }
    fn ipi(&self, from: usize, command: u32, to: u32) {
        self.lapic(from).mmio_write(0x310, to << 24);
        self.lapic(from).mmio_write(0x300, command);
    }
}

fn own(lapic: &Lapic, vector: u8) {
    lapic.mmio_write(0x300, 0x4_0000 | u32::from(vector));
}

fn random(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *seed >> 33
}

#[test]
fn power_up_state_is_the_manuals() {
    let attention = [Arc::new(Attention::default()), Arc::new(Attention::default())];
    let fabric = Fabric::new(Arc::new(Clock::new()), &attention);
    for (index, lint0, base) in [(0, 0x700, 0xFEE0_0900), (1, 0x1_0000, 0xFEE0_0800)] {
        let lapic = fabric.lapic(index);
        assert_eq!(lapic.read_msr(0x1B), Some(base));
        assert_eq!(lapic.mmio_base(), Some(0xFEE0_0000));
        let expected = [
            (0x20, (index as u32) << 24),
            (0x30, 0x0105_0014),
            (0x80, 0),
            (0xD0, 0),
            (0xE0, u32::MAX),
            (SVR, 0xFF),
            (ESR, 0),
            (0x300, 0),
            (0x310, 0),
            (LVT_TIMER, 0x1_0000),
            (0x330, 0x1_0000),
            (0x340, 0x1_0000),
            (0x350, lint0),
            (0x360, 0x1_0000),
            (LVT_ERROR, 0x1_0000),
            (0x380, 0),
            (0x390, 0),
            (0x3E0, 0),
        ];
        for (offset, value) in expected {
            assert_eq!(lapic.mmio_read(offset), value, "APIC {index}, register {offset:#x}");
        }
        assert!((0x100..0x280).step_by(16).all(|offset| lapic.mmio_read(offset) == 0));
    }
}

#[test]
fn interrupts_come_by_priority_and_nest_by_class() {
    let bench = Bench::new(1);
    let lapic = bench.lapic(0);
    for vector in [0x31, 0x52, 0x35, 0x51] {
        own(&lapic, vector);
    }
    assert_eq!(bench.raised(0), INTERRUPT);
    assert_eq!(lapic.acknowledge(), Some(0x52));
    assert_eq!(lapic.acknowledge(), None, "0x51 is of the same class");
    own(&lapic, 0x60);
    assert_eq!(lapic.acknowledge(), Some(0x60));
    assert_eq!(lapic.mmio_read(0xA0), 0x60);
    lapic.mmio_write(0xB0, 0);
    assert_eq!(lapic.mmio_read(0xA0), 0x50);
    lapic.mmio_write(0xB0, 0);
    assert_eq!(bench.drain(0), [0x51, 0x35, 0x31]);
}

#[test]
fn any_mix_of_requests_and_ends_keeps_to_the_rules() {
    let bench = Bench::new(1);
    let lapic = bench.lapic(0);
    let (mut requested, mut serving) = (std::collections::BTreeSet::new(), Vec::new());
    let mut seed = 7;
    for _ in 0..20_000 {
        match random(&mut seed) % 4 {
            0 | 1 => {
                let vector = 16 + (random(&mut seed) % 240) as u8;
                own(&lapic, vector);
                requested.insert(vector);
            }
            2 => {
                lapic.mmio_write(0xB0, 0);
                serving.pop();
            }
            _ => lapic.mmio_write(0x80, (random(&mut seed) & 0xFF) as u32),
        }
        let tpr = lapic.mmio_read(0x80) as u8;
        let top = serving.last().copied().unwrap_or(0u8);
        let ppr = if tpr >> 4 >= top >> 4 { tpr } else { top & 0xF0 };
        assert_eq!((lapic.mmio_read(0xA0), lapic.cr8()), (u32::from(ppr), tpr >> 4));
        let highest = requested.last().copied().filter(|vector| vector >> 4 > ppr >> 4);
        assert_eq!(lapic.has_interrupt(), highest.is_some());
        if random(&mut seed).is_multiple_of(2) {
            assert_eq!(lapic.acknowledge(), highest);
            if let Some(vector) = highest {
                requested.remove(&vector);
                serving.push(vector);
            }
        }
    }
}

#[test]
fn cr8_is_the_task_priority() {
    let bench = Bench::new(1);
    let lapic = bench.lapic(0);
    lapic.set_cr8(5);
    assert_eq!((lapic.mmio_read(0x80), lapic.cr8()), (0x50, 5));
    own(&lapic, 0x5F);
    assert_eq!((lapic.has_interrupt(), bench.raised(0)), (false, 0));
    lapic.set_cr8(4);
    assert_eq!((lapic.has_interrupt(), bench.raised(0)), (true, INTERRUPT));
    lapic.set_cr8(5);
    assert_eq!(lapic.acknowledge(), None);
}

#[test]
fn ipis_reach_whom_they_mean() {
    let bench = Bench::new(3);
    let cases: [(u32, u32, &[usize]); 7] = [
        (0x41, 1, &[1]),
        (0x41, 0xFF, &[0, 1, 2]),
        (0x4_0041, 9, &[0]),
        (0x8_0041, 9, &[0, 1, 2]),
        (0xC_0041, 9, &[1, 2]),
        (0x841, 0x06, &[1, 2]),
        (0x841, 0xF0, &[]),
    ];
    for index in 0..3 {
        bench.lapic(index).mmio_write(0xD0, 1 << (24 + index));
    }
    for (command, to, expected) in cases {
        bench.ipi(0, command, to);
        assert_eq!(bench.lapic(0).mmio_read(0x300), command);
        let reached: Vec<_> = (0..3).filter(|&index| bench.drain(index) == [0x41]).collect();
        assert_eq!(reached, expected, "command {command:#x} to {to:#x}");
    }
}

#[test]
fn lowest_priority_picks_one_that_accepts() {
    let bench = Bench::new(3);
    bench.lapic(0).mmio_write(0x80, 0x20);
    bench.lapic(2).mmio_write(SVR, 0xFF);
    for _ in 0..4 {
        bench.ipi(0, 0x141, 0xFF);
        assert_eq!([0, 1, 2].map(|index| bench.drain(index).len()), [0, 1, 0]);
    }
    bench.lapic(0).mmio_write(0x80, 0);
    let mut counts = [0; 3];
    for _ in 0..10 {
        bench.ipi(0, 0x141, 0xFF);
        (0..3).for_each(|index| counts[index] += bench.drain(index).len());
    }
    assert_eq!(counts, [5, 5, 0], "equals take turns");
}

#[test]
fn init_sipi_and_nmi_raise_attention() {
    let bench = Bench::new(2);
    bench.ipi(0, 0xC500, 1);
    assert_eq!(bench.raised(1), INIT);
    bench.ipi(0, 0x8500, 1);
    assert_eq!(bench.raised(1), 0, "INIT level de-assert");
    bench.ipi(0, 0x69A, 1);
    assert_eq!((bench.attentions[1].bits(), bench.lapic(1).sipi_vector()), (SIPI, 0x9A));
    bench.ipi(0, 0x500, 1);
    assert_eq!(bench.raised(1), INIT, "an INIT overtakes an unserved SIPI");
    bench.ipi(0, 0xC_0400, 0);
    assert_eq!((bench.raised(0), bench.raised(1)), (0, NMI));
    assert!(bench.lapic(1).take_nmi() && !bench.lapic(1).take_nmi());
}

#[test]
fn at_most_two_nmis_are_remembered_and_one_while_blocked() {
    let bench = Bench::new(1);
    let lapic = bench.lapic(0);
    (0..5).for_each(|_| bench.ipi(0, 0x400, 0));
    assert_eq!(bench.raised(0), NMI);
    assert!(lapic.take_nmi());
    assert_eq!(bench.raised(0), NMI, "raised again for the second");
    (0..5).for_each(|_| bench.ipi(0, 0x400, 0));
    lapic.hold_nmi();
    assert!(lapic.take_nmi() && !lapic.take_nmi());
}

#[test]
fn a_software_disabled_apic_accepts_nothing_fixed_and_masks_its_lvt() {
    let bench = Bench::new(2);
    let lapic = bench.lapic(1);
    lapic.mmio_write(LVT_TIMER, 0x2_0040);
    bench.ipi(0, 0x41, 1);
    lapic.mmio_write(SVR, 0xFF);
    assert_eq!(lapic.mmio_read(LVT_TIMER), 0x3_0040);
    lapic.mmio_write(LVT_TIMER, 0x2_0040);
    assert_eq!(lapic.mmio_read(LVT_TIMER), 0x3_0040);
    bench.ipi(0, 0x42, 1);
    assert_eq!(bench.drain(1), [0x41], "what was requested before is kept");
    bench.raised(1);
    bench.ipi(0, 0x400, 1);
    assert_eq!(bench.raised(1), NMI);
}

#[test]
fn errors_are_latched_by_a_write_and_interrupt() {
    let bench = Bench::new(1);
    let lapic = bench.lapic(0);
    lapic.mmio_write(LVT_ERROR, 0xFE);
    own(&lapic, 0x0F);
    bench.fabric.signal_msi(0xFEE0_0000, 0x0F);
    lapic.mmio_read(0x40);
    lapic.mmio_write(0x3F0, 0);
    assert_eq!(lapic.mmio_read(ESR), 0);
    lapic.mmio_write(ESR, 0);
    assert_eq!(lapic.mmio_read(ESR), 0xE0);
    lapic.mmio_write(ESR, 0);
    assert_eq!(lapic.mmio_read(ESR), 0);
    assert_eq!(bench.drain(0), [0xFE]);
    lapic.mmio_write(LVT_ERROR, 0x03); // an illegal vector of its own must not recurse
    lapic.mmio_read(0x40);
    lapic.mmio_write(ESR, 0);
    assert_eq!(lapic.mmio_read(ESR), 0xC0);
}

#[test]
fn partial_reads_see_their_bytes() {
    let lapic = Bench::new(1).lapic(0);
    assert_eq!((lapic.mmio_read(0x32), lapic.mmio_read(0x34)), (0x0105, 0));
    lapic.mmio_write(0x84, 0xFF);
    assert_eq!(lapic.mmio_read(0x80), 0);
}

#[test]
fn apic_base_follows_the_state_diagram() {
    const BSP: u64 = 0xFEE0_0100;
    let bench = Bench::new(1);
    let lapic = bench.lapic(0);
    lapic.set_model(Model { physical_bits: 40, x2apic: true });
    let (off, xapic, invalid, x2apic) = (BSP, BSP | 0x800, BSP | 0x400, BSP | 0xC00);
    let legal = [
        (xapic, [true, true, false, true]),
        (x2apic, [true, false, false, true]),
        (off, [true, true, false, false]),
    ];
    for (from, expected) in legal {
        for (to, allowed) in [off, xapic, invalid, x2apic].into_iter().zip(expected) {
            for step in [off, xapic, from] {
                lapic.write_msr(0x1B, step);
            }
            assert_eq!(lapic.read_msr(0x1B), Some(from));
            assert_eq!(lapic.write_msr(0x1B, to), allowed, "{from:#x} to {to:#x}");
            assert_eq!(lapic.read_msr(0x1B), Some(if allowed { to } else { from }));
        }
    }
    lapic.write_msr(0x1B, off);
    lapic.write_msr(0x1B, xapic);
    for reserved in (0..8).chain([9]).chain(40..64) {
        assert!(!lapic.write_msr(0x1B, xapic | 1 << reserved), "bit {reserved}");
    }
    lapic.set_model(Model { physical_bits: 40, x2apic: false });
    assert!(!lapic.write_msr(0x1B, x2apic));
    assert!(lapic.write_msr(0x1B, 0xFED4_0900));
    assert_eq!(lapic.mmio_base(), Some(0xFED4_0000));
}

#[test]
fn disabling_resets_all_but_the_task_priority() {
    let bench = Bench::new(2);
    let lapic = bench.lapic(1);
    lapic.mmio_write(0x20, 0x7700_0000);
    lapic.mmio_write(LVT_ERROR, 0xFE);
    own(&lapic, 0x41);
    lapic.set_cr8(3);
    assert!(lapic.write_msr(0x1B, 0xFEE0_0000));
    assert!(!lapic.enabled() && lapic.mmio_base().is_none() && !lapic.has_interrupt());
    assert_eq!(lapic.cr8(), 3);
    lapic.set_cr8(0xC);
    bench.raised(1);
    bench.ipi(0, 0x400, 0xFF);
    assert_eq!(bench.raised(1), 0, "a disabled APIC hears nothing");
    assert!(lapic.write_msr(0x1B, 0xFEE0_0800));
    assert_eq!(lapic.mmio_read(0x20), 0x0100_0000, "the initial APIC ID");
    assert_eq!((lapic.mmio_read(SVR), lapic.mmio_read(LVT_ERROR)), (0xFF, 0x1_0000));
    assert_eq!(lapic.mmio_read(0x80), 0xC0);
}

#[test]
fn init_keeps_the_mode_and_the_id() {
    let bench = Bench::new(2);
    let lapic = bench.lapic(1);
    lapic.mmio_write(0x20, 0x7700_0000);
    lapic.init();
    assert_eq!((lapic.mmio_read(0x20), lapic.mmio_read(SVR)), (0x7700_0000, 0xFF));
    assert!(lapic.write_msr(0x1B, X2APIC) && lapic.write_msr(0x80F, 0x1FF));
    lapic.init();
    assert_eq!((lapic.read_msr(0x802), lapic.read_msr(0x80F)), (Some(1), Some(0xFF)));
}

#[test]
fn x2apic_registers_are_msrs_and_nothing_else() {
    let bench = Bench::new(2);
    let lapic = bench.lapic(1);
    let readable =
        |lapic: &Lapic| (0x800..0x900).filter(|&msr| lapic.read_msr(msr).is_some()).collect::<Vec<_>>();
    assert_eq!(readable(&lapic), [0u32; 0]);
    assert!(!lapic.write_msr(0x808, 0));
    assert!(lapic.write_msr(0x1B, X2APIC) && lapic.mmio_base().is_none());
    let mut expected = vec![0x802, 0x803, 0x808, 0x80A, 0x80D, 0x80F];
    expected.extend(0x810..0x828);
    expected.extend([0x828, 0x830]);
    expected.extend(0x832..=0x839);
    expected.push(0x83E);
    assert_eq!(readable(&lapic), expected);
    let writable: Vec<_> = (0x800..0x900).filter(|&msr| lapic.write_msr(msr, 0)).collect();
    let mut expected = vec![0x808, 0x80B, 0x80F, 0x828, 0x830];
    expected.extend(0x832..=0x838);
    expected.extend([0x83E, 0x83F]);
    assert_eq!(writable, expected);
    assert_eq!((lapic.read_msr(0x802), lapic.read_msr(0x80D)), (Some(1), Some(2)));
}

#[test]
fn x2apic_reserved_bits_fault() {
    let bench = Bench::new(1);
    let lapic = bench.lapic(0);
    assert!(lapic.write_msr(0x1B, X2APIC | 0x100) && lapic.write_msr(0x80F, 0x1FF));
    let cases: [(u32, u64); 9] = [
        (0x808, 0xFF),
        (0x80B, 0),
        (0x80F, 0x13FF),
        (0x828, 0),
        (0x830, 0xFFFF_FFFF_000C_DFFF),
        (0x832, 0x7_10FF | 0x4000),
        (0x838, 0xFFFF_FFFF),
        (0x83E, 0xB),
        (0x83F, 0xFF),
    ];
    for (msr, writable) in cases {
        for bit in (0..64).filter(|bit| writable >> bit & 1 == 0) {
            assert!(!lapic.write_msr(msr, 1 << bit), "MSR {msr:#x} bit {bit}");
        }
    }
}

#[test]
fn x2apic_ipis_use_32_bit_destinations_and_self_ipi() {
    let bench = Bench::new(18);
    for index in 0..18 {
        let lapic = bench.lapic(index);
        let base = lapic.read_msr(0x1B).unwrap();
        assert!(lapic.write_msr(0x1B, base | 0x400));
    }
    let send = |command: u64, to: u64| {
        assert!(bench.lapic(0).write_msr(0x830, to << 32 | command));
        let x2apic_drain = |index: usize| {
            let lapic = bench.lapic(index);
            std::iter::from_fn(|| lapic.acknowledge().filter(|_| lapic.write_msr(0x80B, 0)))
                .collect::<Vec<_>>()
        };
        (0..18).filter(|&index| x2apic_drain(index) == [0x41]).collect::<Vec<usize>>()
    };
    assert_eq!(send(0x41, 17), [17]);
    assert_eq!(send(0x41, 0xFF), [0usize; 0]);
    assert_eq!(send(0x41, 0xFFFF_FFFF).len(), 18);
    assert_eq!(send(0x841, 0x1_0003), [16, 17]);
    assert_eq!(send(0x841, 0x0_8001), [0, 15]);
    assert_eq!(bench.lapic(0).read_msr(0x830), Some(0x0000_8001_0000_0841));
    assert!(bench.lapic(3).write_msr(0x83F, 0x77));
    assert_eq!(bench.lapic(3).acknowledge(), Some(0x77));
}

#[test]
fn a_passed_tsc_deadline_fires_at_once_and_clears() {
    let bench = Bench::new(1);
    let lapic = bench.lapic(0);
    assert!(lapic.write_msr(0x6E0, 1));
    assert_eq!(lapic.read_msr(0x6E0), Some(0), "ignored outside its mode");
    lapic.mmio_write(LVT_TIMER, 0x4_00EF);
    assert!(lapic.write_msr(0x6E0, lapic.wires.clock.tsc()));
    assert_eq!((bench.raised(0), lapic.read_msr(0x6E0)), (INTERRUPT, Some(0)));
    assert_eq!(bench.drain(0), [0xEF]);
    lapic.mmio_write(LVT_TIMER, 0x5_00EF);
    assert!(lapic.write_msr(0x6E0, 1));
    lapic.mmio_write(LVT_TIMER, 0x4_00EF);
    assert_eq!((bench.drain(0), lapic.read_msr(0x6E0)), (vec![], Some(0)), "it expired while masked");
}

#[test]
fn the_timer_thread_wakes_a_sleeping_vcpu_in_each_mode() {
    const LIMIT: std::time::Duration = std::time::Duration::from_secs(5);
    let bench = Bench::new(1);
    let (lapic, attention) = (bench.lapic(0), &bench.attentions[0]);
    let sleep = || {
        attention.sleep(u32::MAX, LIMIT);
        assert_eq!(bench.raised(0), INTERRUPT);
        assert_eq!(bench.drain(0), [0xEF]);
    };
    lapic.mmio_write(0x3E0, 0xB);
    lapic.mmio_write(LVT_TIMER, 0xEF);
    let start = lapic.now().ns;
    lapic.mmio_write(0x380, 1_000_000);
    sleep();
    assert!(lapic.now().ns - start >= 1_000_000);
    lapic.mmio_write(LVT_TIMER, 0x2_00EF);
    lapic.mmio_write(0x380, 500_000);
    (0..3).for_each(|_| sleep());
    lapic.mmio_write(LVT_TIMER, 0x4_00EF);
    let adjust = 1 << 50;
    lapic.set_tsc_adjust(adjust);
    let deadline = lapic.now().guest_tsc + lapic.wires.clock.khz();
    assert!(lapic.write_msr(0x6E0, deadline));
    sleep();
    assert!(lapic.now().guest_tsc >= deadline);
    let fires = bench.fabric.statistics().into_iter().find(|(name, _)| name == "apic_timer_expiries");
    assert!(fires.is_some_and(|(_, count)| count >= 5));
}

#[test]
fn moving_the_tsc_moves_the_deadline() {
    let bench = Bench::new(1);
    let lapic = bench.lapic(0);
    lapic.mmio_write(LVT_TIMER, 0x4_00EF);
    let deadline = lapic.wires.clock.tsc() + lapic.wires.clock.khz() * 3_600_000;
    assert!(lapic.write_msr(0x6E0, deadline));
    assert_eq!((lapic.acknowledge(), lapic.read_msr(0x6E0)), (None, Some(deadline)));
    lapic.set_tsc_adjust(deadline);
    assert_eq!((lapic.acknowledge(), lapic.read_msr(0x6E0)), (Some(0xEF), Some(0)));
}
