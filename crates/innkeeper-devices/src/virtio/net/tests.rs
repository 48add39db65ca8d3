//! The card, driven by a script, on a cable whose other end is the test's.

use std::io::IoSlice;
use std::sync::{Arc, Mutex};

use super::*;
use crate::virtio::feature;
use crate::virtio::testing::{BUFFERS, Driver, readable, writable};

const ADDRESS: Mac = [0x52, 0x54, 0, 0, 0, 1];
const ALL: Offloads = Offloads { checksum: true, tso4: true, tso6: true, ufo: false, ecn: true };

#[derive(Default)]
struct Wire {
    card: Mutex<Option<(Arc<dyn Card>, Offloads)>>,
    sent: Mutex<Vec<Vec<u8>>>,
    readied: Mutex<usize>,
    plain: bool,
}

impl Cable for Wire {
    fn offloads(&self) -> Offloads {
        if self.plain { Offloads::default() } else { ALL }
    }
    fn connect(&self, card: Arc<dyn Card>, accepted: Offloads) {
        *lock(&self.card) = Some((card, accepted));
    }
    fn disconnect(&self) {
        *lock(&self.card) = None;
    }
    fn send(&self, frame: &[IoSlice<'_>]) {
        lock(&self.sent).push(frame.iter().flat_map(|slice| slice.to_vec()).collect());
    }
    fn flush(&self) {}
    fn ready(&self) {
        *lock(&self.readied) += 1;
    }
}

impl Wire {
    fn card(&self) -> Arc<dyn Card> {
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        loop {
            if let Some((card, _)) = &*lock(&self.card) {
                return Arc::clone(card);
            }
            assert!(std::time::Instant::now() < deadline, "nobody connected");
            std::thread::yield_now();
        }
    }

    fn give(&self, frame: &[u8]) -> bool {
        let whole = [&[0; 12][..], frame].concat();
        let card = self.card();
        let (head, rest) = whole.split_at(40.min(whole.len()));
        let taken = card.receive(&[IoSlice::new(head), IoSlice::new(rest)]);
        card.flush();
        taken
    }
}

fn frame(destination: Mac, length: usize) -> Vec<u8> {
    let mut frame: Vec<u8> = (0..length).map(|i| (i % 251) as u8).collect();
    frame[..6].copy_from_slice(&destination);
    frame
}

fn card(pairs: u16, features: u64) -> (Arc<Wire>, Arc<Net>, Driver) {
    let wire = Arc::new(Wire::default());
    let net = Arc::new(Net::new(Settings { mac: ADDRESS, pairs, mtu: None }, wire.clone()));
    let driver = Driver::ready(net.clone(), features);
    (wire, net, driver)
}

#[test]
fn what_the_driver_sends_is_on_the_wire() {
    let (wire, _, mut driver) = card(1, 0);
    let sent = frame([1; 6], 90);
    driver.write(BUFFERS, &[&[0; 12][..], &sent].concat());
    driver
        .request(1, &[readable(BUFFERS, 12), readable(BUFFERS + 12, 50), readable(BUFFERS + 62, 40)])
        .unwrap();
    assert_eq!(*lock(&wire.sent), [[&[0; 12][..], &sent].concat()]);
}

#[test]
fn a_header_that_was_not_agreed_on_loses_its_frame() {
    let (wire, _, mut driver) = card(1, CSUM);
    for header in [
        [1, 0, 0, 0, 0, 0, 80, 0, 20, 0, 0, 0],
        [1, 1, 54, 0, 180, 5, 34, 0, 16, 0, 0, 0],
        [0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    ] {
        driver.write(BUFFERS, &[&header[..], &frame([1; 6], 90)].concat());
        driver.request(1, &[readable(BUFFERS, 102)]).unwrap();
    }
    for length in [0, 5, 12, 20] {
        driver.request(1, &[readable(BUFFERS, length)]).unwrap();
    }
    assert!(lock(&wire.sent).is_empty());
    driver.write(BUFFERS, &[1, 0, 0, 0, 0, 0, 34, 0, 16, 0, 0, 0]);
    driver.request(1, &[readable(BUFFERS, 102)]).unwrap();
    assert_eq!(lock(&wire.sent).len(), 1);
}

#[test]
fn what_comes_fills_as_many_buffers_as_it_takes() {
    let (wire, _, mut driver) = card(1, MERGEABLE);
    let received = frame(ADDRESS, 250);
    for at in 0..4 {
        driver.offer(0, &[writable(BUFFERS + 0x1000 * at, 100)]);
    }
    assert!(wire.give(&received));
    let used: Vec<_> = std::iter::from_fn(|| driver.used(0)).map(|(_, written)| written).collect();
    assert_eq!(used, [100, 100, 62]);
    let mut whole: Vec<u8> = (0..3).flat_map(|at| driver.bytes(BUFFERS + 0x1000 * at, 100)).collect();
    whole.truncate(262);
    assert_eq!((whole[10], &whole[12..]), (3, &received[..]));
}

#[test]
fn a_driver_without_merging_gets_whole_frames_and_an_old_one_a_short_header() {
    let (wire, _, mut driver) = card(1, 0);
    driver.offer(0, &[writable(BUFFERS, 60)]);
    driver.offer(0, &[writable(BUFFERS, 12), writable(BUFFERS + 12, 500)]);
    assert!(wire.give(&frame(ADDRESS, 100)));
    assert_eq!(driver.used(0).unwrap().1, 0); // too small
    assert!(wire.give(&frame(ADDRESS, 100)));
    assert_eq!(driver.used(0).unwrap().1, 112);

    let wire = Arc::new(Wire { plain: true, ..Wire::default() });
    let mut driver =
        Driver::new(Arc::new(Net::new(Settings { mac: ADDRESS, pairs: 1, mtu: None }, wire.clone())));
    driver.place_legacy(0, 0x10);
    driver.place_legacy(1, 0x20);
    driver.legacy.write(0x12, 1, 7);
    driver.offer(0, &[writable(BUFFERS, 200)]);
    assert!(wire.give(&frame(ADDRESS, 100)));
    assert_eq!(driver.used(0).unwrap().1, 110);
    assert_eq!(driver.bytes(BUFFERS + 10, 100), frame(ADDRESS, 100));
}

#[test]
fn a_link_that_found_no_room_hears_of_it() {
    let (wire, _, mut driver) = card(1, MERGEABLE | feature::EVENT_INDEX);
    driver.offer(0, &[writable(BUFFERS, 100)]);
    assert!(!wire.give(&frame(ADDRESS, 150)));
    assert_eq!(driver.used(0), None);
    driver.offer(0, &[writable(BUFFERS + 0x1000, 100)]);
    driver.kick(0);
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while *lock(&wire.readied) == 0 {
        assert!(std::time::Instant::now() < deadline, "nobody told the link");
        std::thread::yield_now();
    }
    assert!(wire.give(&frame(ADDRESS, 150)));
    assert_eq!(driver.used(0).unwrap().1 + driver.used(0).unwrap().1, 162);
}

fn command(driver: &mut Driver, queue: u16, bytes: &[u8]) -> u8 {
    driver.write(BUFFERS + 0x8000, bytes);
    let pieces = [readable(BUFFERS + 0x8000, bytes.len() as u32), writable(BUFFERS + 0x9000, 1)];
    driver.request(queue, &pieces).unwrap();
    driver.bytes(BUFFERS + 0x9000, 1)[0]
}

#[test]
fn the_driver_chooses_what_it_hears() {
    let (wire, _, mut driver) = card(1, CONTROL | CONTROL_RX | CONTROL_MAC);
    let other = [2, 2, 2, 2, 2, 2];
    for _ in 0..4 {
        driver.offer(0, &[writable(BUFFERS, 500)]);
    }
    assert_eq!(command(&mut driver, 2, &[0, 0, 0]), 0);
    assert!(wire.give(&frame(other, 60)));
    assert_eq!(driver.used(0), None);
    let table = [&[1, 0, 1, 0, 0, 0][..], &other, &[0; 4]].concat();
    assert_eq!(command(&mut driver, 2, &table), 0);
    wire.give(&frame(other, 60));
    assert!(driver.used(0).is_some());
    assert_eq!(command(&mut driver, 2, &[&[1, 1][..], &other].concat()), 0);
    assert_eq!(driver.modern.read(0x2000, 4), 0x0202_0202);
    for wrong in [&[1, 1, 2][..], &[9, 9], &[0, 0], &[1, 0, 255, 255, 255, 255], &[4, 0, 2, 0]] {
        assert_eq!(command(&mut driver, 2, wrong), 1, "{wrong:?}");
    }
}

#[test]
fn several_queues_work_each_for_itself() {
    let (wire, _, mut driver) = card(2, CONTROL | MULTI_QUEUE);
    assert_eq!(command(&mut driver, 4, &[4, 0, 2, 0]), 0);
    assert_eq!(command(&mut driver, 4, &[4, 0, 3, 0]), 1);
    let mut question = frame([1; 6], 60);
    question[12..15].copy_from_slice(&[8, 0, 0x45]);
    question[23] = 17;
    driver.write(BUFFERS, &[&[0; 12][..], &question].concat());
    driver.request(3, &[readable(BUFFERS, 72)]).unwrap();
    for queue in [0, 2] {
        driver.offer(queue, &[writable(BUFFERS + 0x1000, 500)]);
    }
    question[..6].copy_from_slice(&ADDRESS);
    wire.give(&question);
    assert!(driver.used(0).is_none() && driver.used(2).is_some());
}

#[test]
fn a_pulled_cable_is_told_and_carries_nothing() {
    let (wire, net, mut driver) = card(1, STATUS);
    assert_eq!(driver.modern.read(0x2006, 2), 1);
    driver.offer(0, &[writable(BUFFERS, 500)]);
    net.set_up(false);
    assert!(driver.recorder.wait(0) || driver.modern.read(0x2006, 2) == 0);
    assert_eq!(driver.modern.read(0x2006, 2), 0);
    assert!(wire.give(&frame(ADDRESS, 60)));
    assert_eq!(driver.used(0), None);
    driver.request(1, &[readable(BUFFERS, 100)]).unwrap();
    assert!(lock(&wire.sent).is_empty());
    net.set_up(true);
    assert!(wire.give(&frame(ADDRESS, 60)));
    assert!(driver.used(0).is_some());
}

#[test]
fn without_offloads_of_the_link_there_are_none_of_the_card() {
    let wire = Arc::new(Wire { plain: true, ..Wire::default() });
    let net = Net::new(Settings { mac: ADDRESS, pairs: 1, mtu: Some(9000) }, wire);
    assert_eq!(net.features() & (CSUM | GUEST_CSUM | HOST_TSO4 | GUEST_TSO4 | MULTI_QUEUE), 0);
    assert_ne!(net.features() & MTU, 0);
}
