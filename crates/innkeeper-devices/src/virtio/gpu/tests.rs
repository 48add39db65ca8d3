//! The GPU under a driver by script.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use innkeeper_display::bells::Bell;
use innkeeper_display::{Frame, Rect, Screen};

use super::commands::{MEMORY_LIMIT, RESOURCE_LIMIT};
use super::protocol::{command, common, fits, response};
use super::resource::{Format, SIDE_LIMIT};
use super::{CURSOR, EDID, Gpu};
use crate::virtio::hostile::{self, Random};
use crate::virtio::testing::{BUFFERS, Driver, RAM, readable, writable};

const ANSWER: u64 = BUFFERS + 0x8_0000;
const PICTURE: u64 = BUFFERS + 0x10_0000;
const UNSPECIFIED: u32 = 0x1200;
const OUT_OF_MEMORY: u32 = 0x1201;
const NO_SCANOUT: u32 = 0x1202;
const NO_RESOURCE: u32 = 0x1203;
const BAD: u32 = 0x1205;

struct Guest {
    gpu: Arc<Gpu>,
    driver: Driver,
}

impl Guest {
    fn new() -> Self {
        let gpu = Arc::new(Gpu::default());
        Self { driver: Driver::ready(gpu.clone(), EDID), gpu }
    }

    /// Sends a command with this header; gives the answer's bytes.
    fn send(&mut self, queue: u16, header: [u32; 6], body: &[u32]) -> Vec<u8> {
        let bytes: Vec<u8> = header.iter().chain(body).flat_map(|word| word.to_le_bytes()).collect();
        self.driver.write(BUFFERS, &bytes);
        let pieces = [readable(BUFFERS, bytes.len() as u32), writable(ANSWER, 4096)];
        let written = self.driver.request(queue, &pieces).expect("an answer");
        self.driver.bytes(ANSWER, written as usize)
    }

    /// The kind of the answer to a command.
    fn ask(&mut self, kind: u32, body: &[u32]) -> u32 {
        word(&self.send(0, [kind, 0, 0, 0, 0, 0], body), 0)
    }

    fn must(&mut self, kind: u32, body: &[u32]) {
        assert_eq!(self.ask(kind, body), response::OK, "{kind:#x} {body:x?}");
    }

    fn cursor(&mut self, body: &[u32]) -> u32 {
        word(&self.send(CURSOR, [command::UPDATE_CURSOR, 0, 0, 0, 0, 0], body), 0)
    }

    /// A resource of BGRX with the guest's picture behind it, page by page in turned order.
    fn with_resource(id: u32, width: u32, height: u32) -> Self {
        let mut guest = Self::new();
        guest.create(id, width, height);
        guest
    }

    fn create(&mut self, id: u32, width: u32, height: u32) {
        self.must(command::RESOURCE_CREATE_2D, &[id, 2, width, height]);
        let pages = (4 * width * height).div_ceil(4096);
        let mut body = vec![id, pages];
        (0..pages).for_each(|page| body.extend([gpa_of(page, pages) as u32, 0, 4096, 0]));
        self.must(command::RESOURCE_ATTACH_BACKING, &body);
    }

    /// Stores pixels from `offset` of the picture on.
    fn paint(&self, pages: u32, offset: u64, pixels: &[u32]) {
        for (at, pixel) in (offset..).step_by(4).zip(pixels) {
            let gpa = gpa_of((at / 4096) as u32, pages) + at % 4096;
            self.driver.write(gpa, &pixel.to_le_bytes());
        }
    }
}

fn gpa_of(page: u32, pages: u32) -> u64 {
    PICTURE + 4096 * u64::from(pages - 1 - page)
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn rect(x: u32, y: u32, width: u32, height: u32) -> Rect {
    Rect { x, y, width, height }
}

#[test]
fn a_saved_machine_shows_its_pictures_again() {
    let mut guest = Guest::with_resource(7, 100, 40);
    let picture: Vec<u32> = (0..4000).map(|at| 0xFF00_0000 | (at * 3)).collect();
    guest.paint(4, 0, &picture);
    guest.must(command::TRANSFER_TO_HOST_2D, &[0, 0, 100, 40, 0, 0, 7, 0]);
    guest.must(command::SET_SCANOUT, &[0, 0, 100, 40, 0, 7]);
    guest.must(command::RESOURCE_CREATE_2D, &[9, 1, 64, 64]);
    assert_eq!(guest.cursor(&[0, 0, 0, 0, 9, 3, 4, 0]), response::OK);
    let seen = |guest: &Guest| {
        let mut frame = Frame::default();
        guest.gpu.refresh(&mut frame);
        (frame.width, frame.height, frame.pixels)
    };
    let before = seen(&guest);
    assert_eq!(before.2[7], 21);

    guest.driver.function.pause();
    guest.gpu.prefer(1600, 1200);
    guest.driver.function.go_on();
    assert_eq!(seen(&guest), before);
    assert_eq!(guest.driver.modern.read(0x2000, 4), 1, "it hears of the size once it goes on");

    let gpu = Arc::new(Gpu::default());
    let driver = guest.driver.moved_to(gpu.clone());
    let mut guest = Guest { gpu, driver };
    assert_eq!(seen(&guest), before);
    let (_, cursor) = guest.gpu.cursor().expect("a pointer");
    assert_eq!((cursor.width, cursor.hot_x, cursor.hot_y), (64, 3, 4));
    assert_eq!(guest.driver.modern.read(0x2000, 4), 1);
    assert_eq!(guest.ask(command::RESOURCE_CREATE_2D, &[7, 2, 10, 10]), NO_RESOURCE, "it is there");
    guest.paint(4, 0, &[0x00FF_FFFF]);
    guest.must(command::TRANSFER_TO_HOST_2D, &[0, 0, 1, 1, 0, 0, 7, 0]); // from the pages that were its backing
    guest.must(command::RESOURCE_FLUSH, &[0, 0, 1, 1, 7, 0]);
    assert_eq!(seen(&guest).2[..2], [0xFF_FFFF, before.2[1]]);
    guest.must(command::RESOURCE_UNREF, &[9, 0]);
    guest.must(command::RESOURCE_UNREF, &[7, 0]);
}

#[test]
fn pictures_that_do_not_fit_into_a_file_are_named() {
    let mut guest = Guest::new();
    let mut random = Random::new(3);
    for id in 1..4 {
        guest.must(command::RESOURCE_CREATE_2D, &[id, 2, 2048, 2048]);
        let noise: Vec<u8> = (0..1 << 18).flat_map(|_| random.word().to_le_bytes()).collect();
        guest.driver.write(PICTURE, &noise[..0xF_8000]);
        // The same again and again, each time a little further: nothing repeats within what a compressor looks back at.
        let mut body = vec![id, 19];
        (0..19).for_each(|at| body.extend([PICTURE as u32 + 4096 * at, 0, 0xE_0000, 0]));
        guest.must(command::RESOURCE_ATTACH_BACKING, &body);
        guest.must(command::TRANSFER_TO_HOST_2D, &[0, 0, 2048, 2048, 0, 0, id, 0]);
    }
    guest.driver.function.pause();
    let obstacle = guest.driver.function.obstacle().expect("48 MiB of noise");
    assert!(obstacle.starts_with("its guest keeps pictures in it that take 4"), "{obstacle}");
}

#[test]
fn a_picture_is_transferred_and_seen_once_it_is_flushed() {
    let mut guest = Guest::with_resource(7, 100, 40);
    let picture: Vec<u32> = (0..4000).map(|at| 0xFF00_0000 | (at * 3)).collect();
    guest.paint(4, 0, &picture);
    let mut frame = Frame::default();
    assert_eq!(guest.gpu.refresh(&mut frame), []);
    guest.must(command::SET_SCANOUT, &[0, 0, 100, 40, 0, 7]);
    assert_eq!(guest.gpu.refresh(&mut frame), [rect(0, 0, 100, 40)]);
    guest.must(command::TRANSFER_TO_HOST_2D, &[0, 0, 100, 40, 0, 0, 7, 0]);
    assert_eq!(guest.gpu.refresh(&mut frame), []);
    guest.must(command::RESOURCE_FLUSH, &[0, 0, 100, 40, 7, 0]);

    assert_eq!(guest.gpu.refresh(&mut frame), [rect(0, 0, 100, 40)]);
    assert_eq!(frame.pixels, picture.iter().map(|pixel| pixel & 0xFF_FFFF).collect::<Vec<_>>());
    guest.must(command::RESOURCE_FLUSH, &[0, 0, 100, 40, 7, 0]);
    assert_eq!(guest.gpu.refresh(&mut frame), []); // nothing was new
    let mut late = Frame::default();
    guest.gpu.refresh(&mut late);
    assert_eq!(late.pixels, frame.pixels);
}

#[test]
fn those_who_wait_hear_of_what_is_flushed() {
    let mut guest = Guest::with_resource(7, 100, 40);
    let heard = Arc::new(AtomicU32::new(0));
    let ear = Arc::clone(&heard);
    let bell: Bell = Arc::new(move || _ = ear.fetch_add(1, Ordering::SeqCst));
    guest.must(command::SET_SCANOUT, &[0, 0, 100, 40, 0, 7]);
    for turn in 1..4 {
        assert_eq!(guest.gpu.rest(&bell), Duration::MAX);
        guest.must(command::RESOURCE_FLUSH, &[0, 0, 100, 40, 7, 0]);
        guest.must(command::RESOURCE_FLUSH, &[0, 0, 100, 40, 7, 0]);
        assert_eq!(heard.load(Ordering::SeqCst), turn);
    }
}

#[test]
fn what_changed_is_told_in_tiles_and_a_scanout_may_be_a_part() {
    let mut guest = Guest::with_resource(1, 200, 60);
    guest.must(command::SET_SCANOUT, &[50, 20, 150, 40, 0, 1]);
    let mut frame = Frame::default();
    guest.gpu.refresh(&mut frame);
    let at = u64::from(4 * (200 * 40 + 120u32));
    guest.paint(12, at, &[5, 6]);
    guest.must(command::TRANSFER_TO_HOST_2D, &[120, 40, 2, 1, at as u32, 0, 1, 0]);
    guest.must(command::RESOURCE_FLUSH, &[0, 0, 200, 60, 1, 0]);

    assert_eq!(guest.gpu.refresh(&mut frame), [rect(64, 16, 64, 16)]);
    assert_eq!(frame.pixels[20 * 150 + 69..][..4], [0, 5, 6, 0]);

    guest.must(command::RESOURCE_UNREF, &[1, 0]);
    guest.gpu.refresh(&mut frame);
    assert_eq!((frame.width, frame.height), (150, 40));
    assert!(frame.pixels.iter().all(|&pixel| pixel == 0));
}

#[test]
fn the_last_picture_stays_when_the_driver_goes() {
    let mut guest = Guest::with_resource(1, 64, 16);
    guest.paint(1, 0, &[9; 1024]);
    guest.must(command::TRANSFER_TO_HOST_2D, &[0, 0, 64, 16, 0, 0, 1, 0]);
    guest.must(command::SET_SCANOUT, &[0, 0, 64, 16, 0, 1]);
    guest.driver.reset();
    let mut frame = Frame::default();
    guest.gpu.refresh(&mut frame);

    assert_eq!(frame.pixels, [9; 1024]);
}

#[test]
fn fences_are_answered_with_their_numbers() {
    let mut guest = Guest::new();
    let answer = guest.send(0, [command::RESOURCE_UNREF, 1, 0x89AB_CDEF, 0x0123_4567, 3, 0], &[1, 0]);

    let expected: Vec<u8> =
        [NO_RESOURCE, 1, 0x89AB_CDEF, 0x0123_4567, 3, 0].iter().flat_map(|word| word.to_le_bytes()).collect();
    assert_eq!(answer, expected);
    assert_eq!(guest.send(0, [command::RESOURCE_UNREF, 0, 5, 5, 5, 5], &[1, 0])[4..], [0; 20]);
}

#[test]
fn the_driver_hears_what_viewers_prefer() {
    let mut guest = Guest::new();
    let info = guest.send(0, [command::GET_DISPLAY_INFO, 0, 0, 0, 0, 0], &[]);
    assert_eq!((info.len(), word(&info, 0)), (24 + 16 * 24, response::DISPLAY_INFO));
    assert_eq!([24, 28, 32, 36, 40, 48].map(|at| word(&info, at)), [0, 0, 1024, 768, 1, 0]);

    guest.driver.recorder.take();
    guest.gpu.prefer(1366, 700);
    assert!(guest.driver.recorder.wait(0)); // the configuration's vector
    assert_eq!(guest.driver.modern.read(0x2000, 4), 1);
    guest.driver.modern.write(0x2004, 4, 1);
    assert_eq!(guest.driver.modern.read(0x2000, 4), 0);
    guest.gpu.prefer(1366, 700);
    assert_eq!(guest.driver.recorder.take(), []);

    let info = guest.send(0, [command::GET_DISPLAY_INFO, 0, 0, 0, 0, 0], &[]);
    assert_eq!([32, 36].map(|at| word(&info, at)), [1360, 700]);
    let edid = guest.send(0, [command::GET_EDID, 0, 0, 0, 0, 0], &[0, 0]);
    assert_eq!((edid.len(), word(&edid, 0), word(&edid, 24)), (24 + 8 + 1024, response::EDID, 128));
    assert_eq!(edid[32..32 + 128], crate::monitor::edid::blob(1360, 700));
    assert_eq!(guest.ask(command::GET_EDID, &[1, 0]), NO_SCANOUT);
}

#[test]
fn a_cursor_has_a_number_that_changes_with_it() {
    let mut guest = Guest::new();
    assert_eq!(guest.cursor(&[0, 0, 0, 0, 0, 0, 0, 0]), response::OK);
    assert_eq!(guest.gpu.cursor(), None);
    guest.must(command::RESOURCE_CREATE_2D, &[1, 1, 64, 64]);
    guest.must(command::RESOURCE_ATTACH_BACKING, &[1, 1, PICTURE as u32, 0, 4 * 64 * 64, 0]);
    guest.driver.write(PICTURE, &[3, 2, 1, 0x80]);
    guest.must(command::TRANSFER_TO_HOST_2D, &[0, 0, 64, 64, 0, 0, 1, 0]);

    assert_eq!(guest.cursor(&[0, 10, 10, 0, 1, 5, 6, 0]), response::OK);
    let (first, shape) = guest.gpu.cursor().unwrap();
    assert_eq!((shape.width, shape.hot_x, shape.hot_y, shape.pixels[0]), (64, 5, 6, 0x8001_0203));
    let moved = guest.send(CURSOR, [command::MOVE_CURSOR, 0, 0, 0, 0, 0], &[0, 1, 2, 0, 0, 0, 0, 0]);
    assert_eq!((word(&moved, 0), guest.gpu.cursor().unwrap().0), (response::OK, first));
    assert_eq!(guest.cursor(&[0, 0, 0, 0, 0, 0, 0, 0]), response::OK);
    let (second, shape) = guest.gpu.cursor().unwrap();
    assert_eq!((second != first, shape.pixels), (true, vec![0]));

    assert_eq!(guest.cursor(&[1, 0, 0, 0, 1, 0, 0, 0]), NO_SCANOUT);
    assert_eq!(guest.cursor(&[0, 0, 0, 0, 2, 0, 0, 0]), NO_RESOURCE);
    assert_eq!(guest.cursor(&[0, 0, 0, 0, 1, 64, 0, 0]), BAD);
    guest.must(command::RESOURCE_CREATE_2D, &[3, 1, 64, 63]);
    assert_eq!(guest.cursor(&[0, 0, 0, 0, 3, 0, 0, 0]), BAD);
}

#[test]
fn every_format_is_read_in_its_order_of_bytes() {
    for (number, expected) in [
        (1, 0x0403_0201),
        (2, 0xFF03_0201),
        (3, 0x0102_0304),
        (4, 0xFF02_0304),
        (67, 0x0401_0203),
        (68, 0xFF04_0302),
        (121, 0x0104_0302),
        (134, 0xFF01_0203),
    ] {
        assert_eq!(Format::new(number).unwrap().pixel([1, 2, 3, 4]), expected, "format {number}");
    }
    assert!(Format::new(5).is_err());
}

#[test]
fn commands_out_of_order_are_refused() {
    let mut guest = Guest::new();
    for kind in [command::RESOURCE_UNREF, command::RESOURCE_DETACH_BACKING] {
        assert_eq!(guest.ask(kind, &[1, 0]), NO_RESOURCE);
    }
    assert_eq!(guest.ask(command::SET_SCANOUT, &[0, 0, 8, 8, 0, 1]), NO_RESOURCE);
    assert_eq!(guest.ask(command::RESOURCE_FLUSH, &[0, 0, 8, 8, 1, 0]), NO_RESOURCE);
    assert_eq!(guest.ask(command::RESOURCE_ATTACH_BACKING, &[1, 0]), NO_RESOURCE);
    assert_eq!(guest.ask(command::TRANSFER_TO_HOST_2D, &[0, 0, 8, 8, 0, 0, 1, 0]), NO_RESOURCE);
    guest.must(command::RESOURCE_CREATE_2D, &[1, 1, 8, 8]);
    assert_eq!(guest.ask(command::TRANSFER_TO_HOST_2D, &[0, 0, 8, 8, 0, 0, 1, 0]), UNSPECIFIED);
    assert_eq!(guest.ask(command::RESOURCE_DETACH_BACKING, &[1, 0]), UNSPECIFIED);
    guest.must(command::RESOURCE_ATTACH_BACKING, &[1, 1, PICTURE as u32, 0, 255, 0]);
    assert_eq!(guest.ask(command::RESOURCE_ATTACH_BACKING, &[1, 1, PICTURE as u32, 0, 255, 0]), UNSPECIFIED);
    assert_eq!(guest.ask(command::TRANSFER_TO_HOST_2D, &[0, 0, 8, 8, 0, 0, 1, 0]), BAD); // a byte too few
    guest.must(command::TRANSFER_TO_HOST_2D, &[0, 0, 8, 7, 0, 0, 1, 0]);
    guest.must(command::RESOURCE_DETACH_BACKING, &[1, 0]);
    assert_eq!(guest.ask(0x108, &[0, 0]), UNSPECIFIED); // capability sets are 3D's
    assert_eq!(guest.ask(command::RESOURCE_UNREF, &[]), BAD);
}

#[test]
fn hostile_sizes_and_places_are_refused() {
    let mut guest = Guest::new();
    for [id, format, width, height] in
        [[1, 1, 0, 8], [1, 1, 8, 0], [1, 9, 8, 8], [1, 1, SIDE_LIMIT + 1, 1], [1, 1, u32::MAX, u32::MAX]]
    {
        assert_eq!(guest.ask(command::RESOURCE_CREATE_2D, &[id, format, width, height]), BAD);
    }
    assert_eq!(guest.ask(command::RESOURCE_CREATE_2D, &[0, 1, 8, 8]), NO_RESOURCE);
    guest.must(command::RESOURCE_CREATE_2D, &[1, 1, 8, 8]);
    assert_eq!(guest.ask(command::RESOURCE_CREATE_2D, &[1, 1, 8, 8]), NO_RESOURCE);
    for [x, y, width, height] in [[1, 0, 8, 8], [0, u32::MAX, 8, 2], [u32::MAX, 0, u32::MAX, 8], [0, 0, 0, 8]]
    {
        assert_eq!(guest.ask(command::SET_SCANOUT, &[x, y, width, height, 0, 1]), BAD);
    }
    assert_eq!(guest.ask(command::SET_SCANOUT, &[0, 0, 8, 8, 1, 1]), NO_SCANOUT);
    assert_eq!(guest.ask(command::RESOURCE_FLUSH, &[8, 8, 1, 1, 1, 0]), BAD);
    for (gpa, length) in [(RAM - 16, 17), (RAM, 1), (u64::MAX - 3, 8), (1 << 40, 4096)] {
        let entry = [gpa as u32, (gpa >> 32) as u32, length, 0];
        let body: Vec<u32> = [1, 1].into_iter().chain(entry).collect();
        assert_eq!(guest.ask(command::RESOURCE_ATTACH_BACKING, &body), BAD, "{gpa:#x}");
    }
    for entries in [2, u32::MAX] {
        assert_eq!(guest.ask(command::RESOURCE_ATTACH_BACKING, &[1, entries, 0, 0, 4096, 0]), BAD);
    }
    guest.must(command::RESOURCE_ATTACH_BACKING, &[1, 1, PICTURE as u32, 0, 4096, 0]);
    for (low, high) in [(4096 - 255, 0), (u32::MAX, u32::MAX), (0, 1)] {
        assert_eq!(guest.ask(command::TRANSFER_TO_HOST_2D, &[0, 0, 8, 8, low, high, 1, 0]), BAD);
    }
    guest.must(command::TRANSFER_TO_HOST_2D, &[0, 0, 8, 8, 4096 - 256, 0, 1, 0]);
}

#[test]
fn the_hosts_memory_is_bounded() {
    let mut guest = Guest::new();
    let largest = [SIDE_LIMIT, (MEMORY_LIMIT / 4 / u64::from(SIDE_LIMIT)) as u32];
    guest.must(command::RESOURCE_CREATE_2D, &[1, 1, largest[0], largest[1]]);
    assert_eq!(guest.ask(command::RESOURCE_CREATE_2D, &[2, 1, 1, 1]), OUT_OF_MEMORY);
    assert_eq!(guest.ask(command::RESOURCE_ATTACH_BACKING, &[1, 1, PICTURE as u32, 0, 4, 0]), OUT_OF_MEMORY);
    guest.must(command::RESOURCE_UNREF, &[1, 0]);
    for id in 1..=RESOURCE_LIMIT as u32 {
        guest.must(command::RESOURCE_CREATE_2D, &[id, 1, 1, 1]);
    }
    assert_eq!(guest.ask(command::RESOURCE_CREATE_2D, &[0xFFFF, 1, 1, 1]), OUT_OF_MEMORY);
    guest.driver.reset();
}

#[test]
fn what_is_returned_can_be_taken_again() {
    let mut guest = Guest::new();
    for _ in 0..20 {
        guest.must(command::RESOURCE_CREATE_2D, &[1, 1, SIDE_LIMIT, SIDE_LIMIT / 2]);
        guest.must(command::RESOURCE_ATTACH_BACKING, &[1, 1, PICTURE as u32, 0, 4, 0]);
        guest.must(command::RESOURCE_UNREF, &[1, 0]);
    }
}

#[test]
fn a_chain_without_a_header_or_room_for_one_ends_the_device() {
    let guest = |pieces: &[_]| {
        let mut guest = Guest::new();
        guest.driver.offer(0, pieces);
        guest.driver.kick(0);
        guest.driver.wait_broken()
    };
    assert!(guest(&[readable(BUFFERS, 23), writable(ANSWER, 24)]));
    assert!(guest(&[readable(BUFFERS, 24), writable(ANSWER, 23)]));
}

/// Any rectangles against what they mean pixel by pixel.
#[test]
fn rectangles_are_what_their_pixels_are() {
    let mut random = Random::new(5);
    let has = |rect: Rect, x: u32, y: u32| {
        let within = |at: u32, from: u32, length: u32| {
            u64::from(at) >= u64::from(from) && u64::from(at) < u64::from(from) + u64::from(length)
        };
        within(x, rect.x, rect.width) && within(y, rect.y, rect.height)
    };
    for _ in 0..20_000 {
        let mut any = || match random.below(12) {
            0 => u32::MAX - random.below(4) as u32,
            _ => random.below(12) as u32,
        };
        let (one, other, size) = (rect(any(), any(), any(), any()), rect(any(), any(), any(), any()), (8, 8));
        let ends = |rect: Rect| {
            let end = |at: u32, length: u32| u64::from(at) + u64::from(length);
            (end(rect.x, rect.width), end(rect.y, rect.height))
        };
        assert_eq!(fits(one, size), ends(one).0 <= 8 && ends(one).1 <= 8, "{one:?}");
        if !fits(one, size) || !fits(other, size) {
            continue;
        }
        let both = common(one, other);
        for (x, y) in (0..8).flat_map(|x| (0..8).map(move |y| (x, y))) {
            let expected = has(one, x, y) && has(other, x, y);
            assert_eq!(both.is_some_and(|both| has(both, x, y)), expected, "{one:?} {other:?}");
        }
    }
}

/// Transfers and flushes of random rectangles: every viewer's frame, brought up to date now and then, is in the end what
/// the guest drew, and each change was told.
#[test]
fn frames_follow_random_rectangles() {
    let (width, height, pages) = (150u32, 50u32, 8);
    let mut guest = Guest::with_resource(1, width, height);
    guest.must(command::SET_SCANOUT, &[0, 0, width, height, 0, 1]);
    let mut random = Random::new(11);
    let (mut frame, mut expected) = (Frame::default(), vec![0; (width * height) as usize]);
    guest.gpu.refresh(&mut frame);
    for round in 1..120u32 {
        let (x, y) = (random.below(width.into()) as u32, random.below(height.into()) as u32);
        let (w, h) =
            (random.below(u64::from(width - x)) as u32 + 1, random.below(u64::from(height - y)) as u32 + 1);
        for row in y..y + h {
            let line = &mut expected[(row * width + x) as usize..][..w as usize];
            line.fill(round);
            guest.paint(pages, u64::from(4 * (row * width + x)), line);
        }
        guest.must(command::TRANSFER_TO_HOST_2D, &[x, y, w, h, 4 * (y * width + x), 0, 1, 0]);
        guest.must(command::RESOURCE_FLUSH, &[x, y, w, h, 1, 0]);
        if random.below(3) == 0 {
            let before = frame.clone();
            let told = guest.gpu.refresh(&mut frame);
            assert_eq!(frame.pixels, expected);
            for (at, _) in
                before.pixels.iter().zip(&expected).enumerate().filter(|(_, (old, new))| old != new)
            {
                let (x, y) = (at as u32 % width, at as u32 / width);
                assert!(told.iter().any(|rect| common(*rect, self::rect(x, y, 1, 1)).is_some()), "{x} {y}");
            }
        }
    }
}

/// Well-formed commands with numbers at random, out of a few that meet and some at the edges.
#[test]
fn any_command_is_answered_and_leaves_the_device_whole() {
    for seed in 0..20 {
        let (mut guest, mut random) = (Guest::new(), Random::new(seed));
        let mut frame = Frame::default();
        let mut answers = std::collections::BTreeSet::new();
        for _ in 0..400 {
            let body: Vec<u32> = (0..8)
                .map(|_| match random.below(16) {
                    0 => [u32::MAX, 1 << 31, 4096, SIDE_LIMIT][random.below(4) as usize],
                    1..3 => [16, 64][random.below(2) as usize],
                    _ => random.below(4) as u32,
                })
                .collect();
            let kind = command::GET_DISPLAY_INFO + random.below(11) as u32;
            answers.insert(guest.ask(kind, &body));
            answers.insert(guest.cursor(&body));
            for rect in guest.gpu.refresh(&mut frame) {
                assert!(fits(rect, (frame.width, frame.height)), "seed {seed}: {rect:?}");
            }
            assert_eq!(frame.pixels.len(), (frame.width * frame.height) as usize);
        }
        assert!(answers.is_superset(&[response::OK, BAD, NO_RESOURCE, NO_SCANOUT].into()), "{answers:x?}");
        guest.gpu.prefer(u32::MAX, 0);
        assert_eq!(guest.ask(command::GET_DISPLAY_INFO, &[]), response::DISPLAY_INFO);
    }
}

#[test]
fn drivers_that_mean_harm_end_the_gpu_and_nothing_else() {
    (0..200).for_each(|seed| hostile::run(Arc::new(Gpu::default()), seed));
}
