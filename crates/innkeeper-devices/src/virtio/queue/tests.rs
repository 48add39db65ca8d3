use super::*;
use crate::virtio::rng::Rng;
use crate::virtio::testing::{BUFFERS, Driver, Piece, RAM, readable, writable};

fn queue(driver: &Driver, options: Options) -> SplitQueue {
    SplitQueue::new(&driver.memory, Driver::layout(0, 8), 64, options).unwrap()
}

fn driver() -> Driver {
    let mut driver = Driver::new(Arc::new(Rng::default()));
    driver.place_at(0, Driver::layout(0, 8));
    driver
}

fn popped(pieces: &[Piece]) -> Result<(u64, u64), Fault> {
    let mut driver = driver();
    driver.offer(0, pieces);
    let mut queue = queue(&driver, Options::default());
    let mut chain = Chain::new(&driver.memory);
    queue.pop(&mut chain).map(|found| {
        assert!(found);
        (chain.readable(), chain.writable())
    })
}

#[test]
fn a_chain_is_read_and_written_across_its_buffers() {
    let mut driver = driver();
    driver.write(BUFFERS, b"abcdef");
    let pieces =
        [readable(BUFFERS, 2), readable(BUFFERS + 2, 4), writable(BUFFERS + 8, 1), writable(BUFFERS + 16, 8)];
    let head = driver.offer(0, &pieces);
    let mut queue = queue(&driver, Options::default());
    let mut chain = Chain::new(&driver.memory);
    assert_eq!(queue.pop(&mut chain), Ok(true));
    let mut out = [0; 8];
    assert_eq!((chain.read(1, &mut out[..4]), &out[..4]), (4, &b"bcde"[..]));
    assert_eq!(chain.read(4, &mut out), 2);
    assert_eq!(chain.write(0, b"xyz"), 3);
    assert_eq!(driver.bytes(BUFFERS + 8, 1), b"x");
    assert_eq!(driver.bytes(BUFFERS + 16, 2), b"yz");
    assert_eq!(chain.write(8, b"12"), 1);
    assert_eq!(chain.readable_slices(1, 3).iter().map(|part| part.len()).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(chain.writable_slices(0, 99).iter().map(|part| part.len()).collect::<Vec<_>>(), [1, 8]);
    queue.push(head, 3);
    assert_eq!(driver.used(0), Some((head, 3)));
    assert_eq!(queue.pop(&mut chain), Ok(false));
}

#[test]
fn buffers_outside_ram_or_out_of_order_are_faults() {
    assert_eq!(popped(&[readable(RAM - 4, 4), writable(0, 1)]), Ok((4, 1)));
    assert_eq!(popped(&[readable(RAM - 4, 5)]), Err(Fault::Buffer { gpa: RAM - 4, length: 5 }));
    assert_eq!(popped(&[writable(u64::MAX - 1, 4)]), Err(Fault::Buffer { gpa: u64::MAX - 1, length: 4 }));
    assert_eq!(popped(&[writable(0, 4), readable(0, 4)]), Err(Fault::Order));
    assert_eq!(popped(&[readable(0, 0), writable(RAM, 0)]), Ok((0, 0)));
}

#[test]
fn a_chain_that_loops_or_points_nowhere_is_a_fault() {
    for (next, fault) in [(0, Fault::Endless), (8, Fault::Descriptor(8)), (0xFFFF, Fault::Descriptor(0xFFFF))]
    {
        let mut driver = driver();
        driver.describe(Driver::layout(0, 8).descriptors, 0, readable(0, 1), 1, next);
        driver.make_available(0, 0);
        let mut chain = Chain::new(&driver.memory);
        assert_eq!(queue(&driver, Options::default()).pop(&mut chain), Err(fault));
    }
    let mut driver = driver();
    driver.make_available(0, 8);
    let mut chain = Chain::new(&driver.memory);
    assert_eq!(queue(&driver, Options::default()).pop(&mut chain), Err(Fault::Descriptor(8)));
}

/// A table of two descriptors at `BUFFERS`, reached with `flags` and `length`.
fn indirect(flags: u16, length: u32, inner_flags: u16, options: Options) -> Result<bool, Fault> {
    let mut driver = driver();
    driver.describe(BUFFERS, 0, readable(0, 3), inner_flags, 1);
    driver.describe(BUFFERS, 1, writable(0, 5), 0, 0);
    driver.describe(Driver::layout(0, 8).descriptors, 0, readable(BUFFERS, length), flags, 1);
    driver.make_available(0, 0);
    let mut chain = Chain::new(&driver.memory);
    let result = queue(&driver, options).pop(&mut chain);
    if result == Ok(true) && inner_flags == 1 {
        assert_eq!((chain.readable(), chain.writable()), (3, 5));
    }
    result
}

#[test]
fn indirect_tables_are_followed_once_and_checked() {
    let options = Options { indirect: true, event_index: false };
    assert_eq!(indirect(4, 32, 1, options), Ok(true));
    assert_eq!(indirect(4, 32, 0, options), Ok(true));
    assert_eq!(indirect(4, 16, 1, options), Err(Fault::Descriptor(1)));
    for (flags, length, inner) in [(4, 0, 1), (4, 24, 1), (4 | 1, 32, 1), (4, 32, 4)] {
        assert_eq!(indirect(flags, length, inner, options), Err(Fault::Indirect));
    }
    assert_eq!(indirect(4, 32, 1, Options::default()), Err(Fault::Indirect));
}

#[test]
fn an_available_index_that_jumps_is_a_fault() {
    let driver = driver();
    driver.write(Driver::layout(0, 8).available + 2, &9u16.to_le_bytes());
    let mut chain = Chain::new(&driver.memory);
    let fault = Fault::Index { available: 9, next: 0 };
    assert_eq!(queue(&driver, Options::default()).pop(&mut chain), Err(fault));
}

#[test]
fn queues_of_bad_sizes_or_in_bad_places_are_refused() {
    let driver = driver();
    let good = Driver::layout(0, 8);
    let open = |layout| SplitQueue::new(&driver.memory, layout, 64, Options::default()).err();
    assert_eq!(open(good), None);
    for size in [0, 3, 128] {
        assert_eq!(open(Layout { size, ..good }), Some(Fault::Size(size)));
    }
    for gpa in [good.descriptors + 8, RAM - 16, u64::MAX - 15] {
        assert_eq!(open(Layout { descriptors: gpa, ..good }), Some(Fault::Place { gpa }));
    }
    assert_eq!(open(Layout { available: 1, ..good }), Some(Fault::Place { gpa: 1 }));
    assert_eq!(open(Layout { used: 2, ..good }), Some(Fault::Place { gpa: 2 }));
    assert_eq!(open(Layout { used: RAM - 64, ..good }), Some(Fault::Place { gpa: RAM - 64 }));
}

#[test]
fn the_legacy_layout_is_as_the_specification_computes_it() {
    let layout = Layout::legacy(256, 0x10);
    let expected = Layout { size: 256, descriptors: 0x10000, available: 0x11000, used: 0x12000 };
    assert_eq!(layout, expected);
}

#[test]
fn interrupts_follow_the_drivers_flag_or_its_event_index() {
    let mut driver = driver();
    let mut plain = queue(&driver, Options::default());
    assert!(!plain.wants_interrupt());
    plain.push(0, 0);
    assert!(plain.wants_interrupt() && !plain.wants_interrupt());
    driver.write(Driver::layout(0, 8).available, &1u16.to_le_bytes());
    plain.push(0, 0);
    assert!(!plain.wants_interrupt());

    let mut events = queue(&driver, Options { indirect: false, event_index: true });
    let event = Driver::layout(0, 8).available + 4 + 2 * 8;
    driver.write(event, &2u16.to_le_bytes());
    for expected in [false, false, true, false] {
        events.push(0, 0);
        assert_eq!(events.wants_interrupt(), expected);
    }
    driver.offer(0, &[readable(0, 1)]);
    assert!(events.listen());
    let mut chain = Chain::new(&driver.memory);
    assert_eq!(events.pop(&mut chain), Ok(true));
    assert!(!events.listen());
    assert_eq!(driver.bytes(Driver::layout(0, 8).used + 4 + 8 * 8, 2), [1, 0]);
}
