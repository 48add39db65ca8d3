use super::*;

const EOI: u8 = 0x20;

/// A pair set up as a PC does: vectors 0x20 and 0x28, nothing masked.
fn pc(icw4: u8) -> Pic {
    let mut pic = Pic::default();
    for (chip, base, cascade) in [(0, 0x20, 4), (1, 0x28, 2)] {
        pic.write(chip, 0, 0x11);
        for value in [base, cascade, icw4, 0] {
            pic.write(chip, 1, value);
        }
    }
    pic
}

fn pulse(pic: &mut Pic, irq: u8) {
    pic.set_irq(irq, true);
    pic.set_irq(irq, false);
}

fn register(pic: &mut Pic, chip: usize, isr: bool) -> u8 {
    pic.write(chip, 0, 0x0A | u8::from(isr));
    pic.read(chip, 0)
}

/// All requests that are acknowledged without any EOI.
fn drain(pic: &mut Pic) -> Vec<u8> {
    std::iter::from_fn(|| pic.output().then(|| pic.acknowledge())).collect()
}

#[test]
fn initialisation_reads_back() {
    let mut pic = pc(1);
    for chip in [0, 1] {
        pic.write(chip, 1, 0xA5);
        assert_eq!(pic.read(chip, 1), 0xA5);
    }
    pic.write(0, 0, 0x11);
    assert_eq!(pic.read(0, 1), 0, "ICW1 clears the mask");
}

#[test]
fn every_line_has_its_vector() {
    for irq in (0..16).filter(|&irq| irq != CASCADE) {
        let mut pic = pc(1);
        pulse(&mut pic, irq);
        assert!(pic.output());
        assert_eq!(pic.acknowledge(), 0x20 + irq);
        assert!(!pic.output());
        let serving = [register(&mut pic, 0, true), register(&mut pic, 1, true)];
        let expected = if irq < 8 { [1 << irq, 0] } else { [1 << CASCADE, 1 << (irq - 8)] };
        assert_eq!(serving, expected);
    }
}

#[test]
fn nesting_follows_priority_and_the_slave_sits_at_ir2() {
    let mut pic = pc(1);
    for irq in [7, 3, 15, 1, 0] {
        pulse(&mut pic, irq);
        assert_eq!(drain(&mut pic).len(), 1, "IRQ {irq} is above everything in service");
    }
    pulse(&mut pic, 8);
    pulse(&mut pic, 1);
    assert!(!pic.output(), "IRQ 0 is in service");
    pic.write(0, 0, EOI);
    assert!(!pic.output(), "the other IRQ 1 is in service");
    pic.write(0, 0, EOI);
    assert_eq!(drain(&mut pic), [0x21]);
    pic.write(0, 0, EOI);
    assert!(!pic.output(), "the slave is in service at the master");
    pic.write(0, 0, EOI);
    assert_eq!(drain(&mut pic), [0x28], "8 is above 15");
}

#[test]
fn simultaneous_requests_come_highest_first_after_each_eoi() {
    let mut pic = pc(1);
    for irq in [12, 4, 9, 0, 7] {
        pulse(&mut pic, irq);
    }
    let mut order = vec![];
    while pic.output() {
        let vector = pic.acknowledge();
        order.push(vector);
        if vector >= 0x28 {
            pic.write(1, 0, EOI);
        }
        pic.write(0, 0, EOI);
    }
    assert_eq!(order, [0x20, 0x29, 0x2C, 0x24, 0x27]);
}

#[test]
fn a_masked_request_waits() {
    let mut pic = pc(1);
    pic.write(0, 1, 0x10);
    assert_eq!(pic.set_irq(4, true), Outcome::Ignored);
    assert!(!pic.output() && register(&mut pic, 0, false) == 0x10);
    pic.write(0, 1, 0);
    assert_eq!(drain(&mut pic), [0x24]);
}

#[test]
fn an_edge_counts_once_and_a_level_until_it_falls() {
    let mut pic = pc(1);
    pic.set_elcr(0, 0xFF);
    assert_eq!(pic.elcr(0), 0xF8, "the timer stays edge-triggered");
    assert_eq!(pic.set_irq(0, true), Outcome::Delivered);
    assert_eq!(drain(&mut pic), [0x20]);
    pic.write(0, 0, EOI);
    assert!(!pic.output(), "still high, but no new edge");
    pic.set_irq(5, true);
    for _ in 0..3 {
        assert_eq!(drain(&mut pic), [0x25]);
        pic.write(0, 0, EOI);
        assert!(pic.output());
    }
    pic.set_irq(5, false);
    assert!(!pic.output());
}

#[test]
fn a_second_edge_before_acknowledgement_is_coalesced() {
    let mut pic = pc(1);
    assert_eq!(pic.set_irq(0, true), Outcome::Delivered);
    pic.set_irq(0, false);
    assert_eq!(pic.set_irq(0, true), Outcome::Coalesced);
    assert_eq!(drain(&mut pic), [0x20]);
}

#[test]
fn a_vanished_request_is_answered_by_input_7() {
    let mut pic = pc(1);
    assert_eq!(pic.acknowledge(), 0x27);
    assert_eq!(register(&mut pic, 0, true), 0, "a spurious interrupt is not in service");
    pic.set_elcr(1, 0xFF);
    pic.set_irq(10, true);
    let mut raced = pic.clone();
    raced.chips[1].set_line(2, false); // the master has not seen it fall
    assert_eq!(raced.acknowledge(), 0x2F);
    let serving = [register(&mut raced, 0, true), register(&mut raced, 1, true)];
    assert_eq!(serving, [1 << CASCADE, 0], "the master cannot tell");
}

#[test]
fn specific_eoi_ends_just_that_one() {
    let mut pic = pc(1);
    pulse(&mut pic, 6);
    pic.acknowledge();
    pulse(&mut pic, 1);
    pic.acknowledge();
    pic.write(0, 0, 0x66);
    assert_eq!(register(&mut pic, 0, true), 0x02);
    pic.write(0, 0, 0x67);
    assert_eq!(register(&mut pic, 0, true), 0x02, "EOI of an idle input does nothing");
}

#[test]
fn rotation_makes_the_served_input_last() {
    let mut pic = pc(1);
    for irq in [0, 1] {
        pic.set_irq(irq, true);
    }
    assert_eq!(pic.acknowledge(), 0x20);
    pic.write(0, 0, 0xA0);
    pulse(&mut pic, 0);
    pic.set_irq(0, false);
    pulse(&mut pic, 0);
    assert_eq!(drain(&mut pic), [0x21], "1 now comes first, and blocks 0");
    pic.write(0, 0, 0xC0 | 4); // 5 comes first
    pic.write(0, 0, EOI);
    pulse(&mut pic, 5);
    pulse(&mut pic, 7);
    assert_eq!(drain(&mut pic), [0x25]);
}

#[test]
fn automatic_eoi_leaves_nothing_in_service_and_may_rotate() {
    let mut pic = pc(3);
    pulse(&mut pic, 3);
    pulse(&mut pic, 4);
    assert_eq!(drain(&mut pic), [0x23, 0x24]);
    assert_eq!(register(&mut pic, 0, true), 0);
    pic.write(0, 0, 0x80);
    let mut order = vec![];
    for _ in 0..3 {
        pulse(&mut pic, 3);
        pulse(&mut pic, 4);
        order.push(pic.acknowledge());
    }
    assert_eq!(order, [0x23, 0x24, 0x23]);
}

#[test]
fn special_mask_lets_lower_priorities_through() {
    let mut pic = pc(1);
    pulse(&mut pic, 1);
    pic.acknowledge();
    pulse(&mut pic, 6);
    assert!(!pic.output());
    pic.write(0, 0, 0x68);
    assert!(!pic.output(), "input 1 is not masked");
    pic.write(0, 1, 0x02);
    assert_eq!(drain(&mut pic), [0x26]);
    pic.write(0, 0, EOI);
    assert_eq!(register(&mut pic, 0, true), 0x02, "a masked input keeps its ISR bit");
}

#[test]
fn special_fully_nested_lets_the_slave_interrupt_itself() {
    for (icw4, nested) in [(0x01, false), (0x11, true)] {
        let mut pic = pc(icw4);
        pulse(&mut pic, 12);
        assert_eq!(pic.acknowledge(), 0x2C);
        pulse(&mut pic, 8);
        assert_eq!(pic.output(), nested);
    }
}

#[test]
fn poll_acknowledges_by_reading() {
    let mut pic = pc(1);
    pulse(&mut pic, 3);
    pic.write(0, 0, 0x0C);
    assert_eq!(pic.read(0, 0), 0x83);
    assert_eq!(register(&mut pic, 0, true), 0x08);
    pic.write(0, 0, 0x0C);
    assert_eq!(pic.read(0, 0), 0);
}
