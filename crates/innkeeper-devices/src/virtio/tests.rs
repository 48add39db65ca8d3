//! The transport, driven by script through both its faces.

use std::sync::Arc;

use super::rng::Rng;
use super::testing::{BUFFERS, Driver, MESSAGES, QUEUES, RAM, readable, writable};
use super::{feature, status};

fn rng() -> Arc<Rng> {
    Arc::new(Rng::default())
}

#[test]
fn a_modern_driver_gets_random_bytes_and_a_message() {
    for features in [0, feature::EVENT_INDEX | feature::INDIRECT_DESCRIPTORS] {
        let mut driver = Driver::ready(rng(), features);
        assert_eq!(driver.status() & status::NEEDS_RESET, 0);
        for _ in 0..300 {
            assert_eq!(driver.request(0, &[writable(BUFFERS, 64), writable(BUFFERS + 100, 36)]), Some(100));
            assert!(driver.recorder.wait(1));
        }
        assert!(driver.bytes(BUFFERS, 64).iter().any(|&byte| byte != 0));
    }
}

#[test]
fn a_legacy_driver_gets_them_with_the_isr_and_its_line() {
    let mut driver = Driver::new(rng());
    assert_eq!(driver.legacy.read(0, 4) & feature::ANY_LAYOUT, feature::ANY_LAYOUT);
    driver.legacy.write(0x12, 1, 3);
    driver.legacy.write(4, 4, 0);
    driver.place_legacy(0, (QUEUES >> 12) as u32);
    assert_eq!(driver.legacy.read(8, 4), QUEUES >> 12);
    driver.legacy.write(0x12, 1, 7);
    let head = driver.offer(0, &[writable(BUFFERS, 16)]);
    driver.legacy.write(0x10, 2, 0);
    assert_eq!(driver.wait_used(0), Some((head, 16)));
    while !driver.recorder.level() {
        std::thread::yield_now();
    }
    driver.function.set_command(1 << 2 | 1 << 10);
    assert!(!driver.recorder.level());
    driver.function.set_command(1 << 2);
    assert!(driver.recorder.level());
    assert_eq!((driver.legacy.read(0x13, 1), driver.recorder.level()), (1, false));
    assert_eq!(driver.legacy.read(0x13, 1), 0);
    driver.legacy.write(0x12, 1, 0);
    assert_eq!((driver.legacy.read(0x12, 1), driver.legacy.read(8, 4)), (0, 0));
}

#[test]
fn features_that_were_not_offered_are_refused() {
    let mut driver = Driver::new(rng());
    assert_eq!(driver.offered() & feature::VERSION_1, feature::VERSION_1);
    assert!(!driver.negotiate(feature::VERSION_1 | 1 << 50));
    driver.reset();
    assert!(!driver.negotiate(feature::EVENT_INDEX));
    driver.set_status(status::DRIVER_OK);
    assert!(driver.status() & status::NEEDS_RESET != 0);
    driver.reset();
    assert!(driver.negotiate(feature::VERSION_1));
    assert_eq!(driver.status(), 11);
}

#[test]
fn a_masked_message_waits_as_a_pending_bit() {
    let mut driver = Driver::ready(rng(), 0);
    driver.vectors.write(16 + 12, 4, 1);
    assert_eq!(driver.request(0, &[writable(BUFFERS, 8)]), Some(8));
    let pending = driver.function.pending_at();
    while driver.vectors.read(pending, 8) != 2 {
        std::thread::yield_now();
    }
    assert_eq!(driver.recorder.take(), []);
    driver.vectors.write(16 + 12, 4, 0);
    assert_eq!((driver.recorder.take(), driver.vectors.read(pending, 4)), (vec![(MESSAGES, 1)], 0));
    driver.function.set_msix_control(1 << 15 | 1 << 14);
    assert_eq!(driver.request(0, &[writable(BUFFERS, 8)]), Some(8));
    while driver.vectors.read(pending, 4) != 2 {
        std::thread::yield_now();
    }
    driver.function.set_msix_control(1 << 15);
    assert_eq!(driver.recorder.take(), [(MESSAGES, 1)]);
}

#[test]
fn without_bus_mastering_nothing_is_touched_and_nothing_is_lost() {
    let mut driver = Driver::ready(rng(), 0);
    driver.function.set_command(0);
    let head = driver.offer(0, &[writable(BUFFERS, 8)]);
    driver.kick(0);
    std::thread::sleep(std::time::Duration::from_millis(20));
    assert_eq!(driver.used(0), None);
    driver.function.set_command(1 << 2);
    assert_eq!(driver.wait_used(0), Some((head, 8)));
}

#[test]
fn a_driver_that_breaks_the_rules_is_told_and_can_start_over() {
    let mut driver = Driver::ready(rng(), 0);
    driver.offer(0, &[writable(RAM, 8)]);
    driver.kick(0);
    assert!(driver.wait_broken() && driver.recorder.wait(0));
    assert_eq!(driver.used(0), None);
    driver.reset();
    assert_eq!(driver.status(), 0);
    driver.write(QUEUES, &[0; 0x4000]);
    driver.negotiate(feature::VERSION_1);
    driver.place(0);
    driver.set_status(status::DRIVER_OK);
    assert_eq!(driver.request(0, &[writable(BUFFERS, 8)]), Some(8));
}

#[test]
fn a_queue_in_a_bad_place_needs_a_reset() {
    let mut driver = Driver::new(rng());
    driver.negotiate(feature::VERSION_1);
    driver.place_at(0, super::queue::Layout { used: RAM, ..Driver::layout(0, 8) });
    driver.set_status(status::DRIVER_OK);
    assert!(driver.status() & status::NEEDS_RESET != 0);
}

#[test]
fn what_is_done_while_the_device_resets_touches_no_memory_afterwards() {
    let mut driver = Driver::ready(rng(), 0);
    for _ in 0..50 {
        for _ in 0..8 {
            driver.offer(0, &[writable(BUFFERS, 4096)]);
        }
        driver.kick(0);
        driver.reset();
        driver.write(BUFFERS, &[0; 4096]);
        assert!(driver.bytes(BUFFERS, 4096).iter().all(|&byte| byte == 0));
        driver.write(QUEUES, &[0; 0x4000]);
        driver.negotiate(feature::VERSION_1);
        driver.place(0);
        driver.set_status(status::DRIVER_OK);
    }
    driver.function.shut_down();
    driver.offer(0, &[readable(0, 1)]);
    driver.kick(0);
    driver.set_status(status::DRIVER_OK);
    assert_eq!(driver.used(0), None);
}

#[test]
fn drivers_that_mean_harm_end_their_device_and_nothing_else() {
    (0..300).for_each(|seed| super::hostile::run(rng(), seed));
}
