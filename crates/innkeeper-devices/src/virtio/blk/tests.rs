use std::io::{IoSlice, IoSliceMut};
use std::sync::Mutex;
use std::sync::atomic::AtomicU32;

use innkeeper_block::Extent;

use super::*;
use crate::virtio::testing::{BUFFERS, Driver, Piece, readable, writable};

/// A disk in memory that counts its flushes and can be told to fail.
struct Ram {
    bytes: Mutex<Vec<u8>>,
    flushes: AtomicU32,
    discards: AtomicU32,
    fails: AtomicBool,
}

impl Ram {
    fn new(sectors: u64) -> Arc<Self> {
        let bytes = (0..sectors * SECTOR).map(|at| (at / SECTOR) as u8).collect();
        let (flushes, discards) = (AtomicU32::new(0), AtomicU32::new(0));
        Arc::new(Self { bytes: Mutex::new(bytes), flushes, discards, fails: AtomicBool::new(false) })
    }

    fn check(&self) -> std::io::Result<()> {
        if self.fails.load(Ordering::SeqCst) { Err(std::io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn flushes(&self) -> u32 {
        self.flushes.load(Ordering::SeqCst)
    }
}

impl Disk for Ram {
    fn size(&self) -> u64 {
        self.bytes.lock().unwrap().len() as u64
    }
    fn is_read_only(&self) -> bool {
        false
    }
    fn read(&self, offset: u64, buffers: &mut [IoSliceMut<'_>]) -> std::io::Result<()> {
        self.check()?;
        let (bytes, mut at) = (self.bytes.lock().unwrap(), offset as usize);
        for buffer in buffers {
            let length = buffer.len();
            buffer.copy_from_slice(&bytes[at..at + length]);
            at += length;
        }
        Ok(())
    }
    fn write(&self, offset: u64, buffers: &[IoSlice<'_>]) -> std::io::Result<()> {
        self.check()?;
        let (mut bytes, mut at) = (self.bytes.lock().unwrap(), offset as usize);
        for buffer in buffers {
            bytes[at..at + buffer.len()].copy_from_slice(buffer);
            at += buffer.len();
        }
        Ok(())
    }
    fn flush(&self) -> std::io::Result<()> {
        self.flushes.fetch_add(1, Ordering::SeqCst);
        self.check()
    }
    fn write_zeroes(&self, offset: u64, length: u64, unmap: bool) -> std::io::Result<()> {
        self.discards.fetch_add(unmap.into(), Ordering::SeqCst);
        self.bytes.lock().unwrap()[offset as usize..(offset + length) as usize].fill(0);
        Ok(())
    }
    fn discard(&self, offset: u64, length: u64) -> std::io::Result<()> {
        self.write_zeroes(offset, length, true)
    }
    fn extent(&self, offset: u64, length: u64) -> std::io::Result<Extent> {
        Ok(Extent { offset, length, zero: false, here: true })
    }
}

const ALL: u64 = FLUSH | CONFIG_WCE | DISCARD | WRITE_ZEROES;
const STATUS: u64 = BUFFERS + 0x8000;
const DATA: u64 = BUFFERS + 0x1000;

fn ready(disk: &Arc<Ram>, options: Options, features: u64) -> Driver {
    Driver::ready(Arc::new(Blk::new(disk.clone(), options)), features)
}

/// Sends a request and gives its status.
fn ask(driver: &mut Driver, kind: u32, sector: u64, data: &[Piece]) -> u8 {
    let mut header = [0; 16];
    header[..4].copy_from_slice(&kind.to_le_bytes());
    header[8..].copy_from_slice(&sector.to_le_bytes());
    driver.write(BUFFERS, &header);
    driver.write(STATUS, &[0xAA]);
    let mut pieces = vec![readable(BUFFERS, 16)];
    pieces.extend_from_slice(data);
    pieces.push(writable(STATUS, 1));
    let written = driver.request(0, &pieces).expect("an answer");
    let room: u32 = pieces.iter().filter(|piece| piece.writable).map(|piece| piece.length).sum();
    assert_eq!(written, room);
    driver.bytes(STATUS, 1)[0]
}

fn range(driver: &Driver, sector: u64, count: u32, flags: u32) {
    driver.write(DATA, &[&sector.to_le_bytes()[..], &count.to_le_bytes(), &flags.to_le_bytes()].concat());
}

#[test]
fn sectors_are_read_and_written_where_they_are() {
    let disk = Ram::new(64);
    let mut driver = ready(&disk, Options::default(), ALL);
    assert_eq!(driver.modern.read(0x2000, 8), 64);
    assert_eq!(ask(&mut driver, 0, 5, &[writable(DATA, 700), writable(DATA + 700, 324)]), 0);
    assert_eq!((driver.bytes(DATA, 512), driver.bytes(DATA + 512, 512)), (vec![5; 512], vec![6; 512]));
    driver.write(DATA, &[0xCD; 1024]);
    assert_eq!(ask(&mut driver, 1, 62, &[readable(DATA, 1024)]), 0);
    assert_eq!(disk.bytes.lock().unwrap()[62 * 512..], [0xCD; 1024]);
    assert_eq!(disk.flushes(), 0);
    assert_eq!((ask(&mut driver, 4, 0, &[]), disk.flushes()), (0, 1));
}

#[test]
fn what_is_not_on_the_disk_is_an_error_and_touches_nothing() {
    let disk = Ram::new(64);
    let before = disk.bytes.lock().unwrap().clone();
    let mut driver = ready(&disk, Options::default(), ALL);
    for (sector, length) in [(64, 512), (63, 1024), (u64::MAX, 512), (u64::MAX / 512, 512), (0, 100)] {
        assert_eq!(ask(&mut driver, 0, sector, &[writable(DATA, length)]), 1);
        assert_eq!(ask(&mut driver, 1, sector, &[readable(DATA, length)]), 1);
    }
    assert_eq!(ask(&mut driver, 77, 0, &[]), 2);
    disk.fails.store(true, Ordering::SeqCst);
    assert_eq!(ask(&mut driver, 0, 0, &[writable(DATA, 512)]), 1);
    assert_eq!(ask(&mut driver, 1, 0, &[readable(DATA, 512)]), 1);
    assert_eq!(ask(&mut driver, 4, 0, &[]), 1);
    assert_eq!(*disk.bytes.lock().unwrap(), before);
}

#[test]
fn a_request_without_header_or_status_ends_the_device() {
    for pieces in [vec![readable(BUFFERS, 15), writable(STATUS, 1)], vec![readable(BUFFERS, 16)]] {
        let mut driver = ready(&Ram::new(8), Options::default(), ALL);
        driver.offer(0, &pieces);
        driver.kick(0);
        assert!(driver.wait_broken());
    }
}

#[test]
fn a_read_only_disk_says_so_and_is_not_written() {
    let disk = Ram::new(8);
    let mut driver = ready(&disk, Options { read_only: true, ..Options::default() }, FLUSH);
    assert_eq!(driver.offered() & (READ_ONLY | DISCARD | WRITE_ZEROES), READ_ONLY);
    assert_eq!(ask(&mut driver, 1, 0, &[readable(DATA, 512)]), 1);
    range(&driver, 0, 1, 0);
    assert_eq!(ask(&mut driver, 13, 0, &[readable(DATA, 16)]), 1);
    assert_eq!(disk.bytes.lock().unwrap()[512], 1);
    assert_eq!((ask(&mut driver, 4, 0, &[]), disk.flushes()), (0, 0));
}

#[test]
fn discard_and_write_zeroes_take_checked_ranges() {
    let disk = Ram::new(64);
    let mut driver = ready(&disk, Options::default(), ALL);
    range(&driver, 8, 8, 0);
    assert_eq!(ask(&mut driver, 11, 0, &[readable(DATA, 16)]), 0);
    assert_eq!(disk.discards.load(Ordering::SeqCst), 1);
    range(&driver, 16, 1, 1);
    assert_eq!(ask(&mut driver, 13, 0, &[readable(DATA, 16)]), 0);
    assert_eq!(disk.discards.load(Ordering::SeqCst), 2);
    assert_eq!(disk.bytes.lock().unwrap()[16 * 512..17 * 512], [0; 512]);
    for (kind, sector, count, flags, status) in [
        (11, 64, 1, 0, 1),
        (11, 0, 1, 1, 2),
        (13, 0, 1, 2, 2),
        (13, 63, 2, 0, 1),
        (13, u64::MAX, u32::MAX, 0, 1),
        (13, 9, 0, 0, 0),
    ] {
        range(&driver, sector, count, flags);
        assert_eq!(
            ask(&mut driver, kind, 0, &[readable(DATA, 16)]),
            status,
            "{kind} {sector} {count} {flags}"
        );
    }
    assert_eq!(ask(&mut driver, 13, 0, &[readable(DATA, 15)]), 1);
    assert_eq!(ask(&mut driver, 11, 0, &[readable(DATA, 257 * 16)]), 1);
    let mut driver = ready(&disk, Options { discard: false, ..Options::default() }, FLUSH);
    assert_eq!(driver.offered() & (DISCARD | WRITE_ZEROES), WRITE_ZEROES);
    assert_eq!(ask(&mut driver, 11, 0, &[readable(DATA, 16)]), 2);
}

#[test]
fn the_serial_is_told_as_far_as_there_is_room() {
    let mut driver = ready(&Ram::new(8), Options { serial: "SN-1".into(), ..Options::default() }, ALL);
    driver.write(DATA, &[0xFF; 32]);
    assert_eq!(ask(&mut driver, 8, 0, &[writable(DATA, 20)]), 0);
    assert_eq!(driver.bytes(DATA, 21), [&b"SN-1"[..], &[0; 16], &[0xFF]].concat());
    assert_eq!(ask(&mut driver, 8, 0, &[writable(DATA, 2)]), 0);
}

#[test]
fn without_a_write_cache_each_write_is_kept_before_it_is_answered() {
    let disk = Ram::new(8);
    let write = |driver: &mut Driver| ask(driver, 1, 0, &[readable(DATA, 512)]);
    let mut driver = ready(&disk, Options::default(), 0); // a driver that cannot flush
    assert_eq!((write(&mut driver), disk.flushes()), (0, 1));
    let mut driver = ready(&disk, Options::default(), ALL);
    assert_eq!((driver.modern.read(0x2020, 1), write(&mut driver), disk.flushes()), (1, 0, 1));
    driver.modern.write(0x2020, 1, 0);
    assert_eq!((driver.modern.read(0x2020, 1), write(&mut driver), disk.flushes()), (0, 0, 2));
    let through = Options { writeback: false, ..Options::default() };
    let mut driver = ready(&disk, through, ALL);
    assert_eq!((write(&mut driver), disk.flushes()), (0, 3));
    let mut driver = ready(&disk, Options { unsafe_cache: true, ..Options::default() }, 0);
    assert_eq!((write(&mut driver), ask(&mut driver, 4, 0, &[]), disk.flushes()), (0, 0, 3));
}

#[test]
fn every_queue_is_served() {
    let mut driver = ready(&Ram::new(8), Options { queues: 3, ..Options::default() }, ALL | MULTI_QUEUE);
    assert_eq!((driver.modern.read(0x2022, 2), driver.modern.read(0x12, 2)), (3, 3));
    driver.write(BUFFERS, &[0; 16]);
    for queue in 0..3 {
        assert_eq!(driver.request(queue, &[readable(BUFFERS, 16), writable(DATA, 513)]), Some(513));
        assert!(driver.recorder.wait(u32::from(queue) + 1));
    }
}

#[test]
fn drivers_that_mean_harm_end_the_disk_and_nothing_else() {
    for seed in 0..300 {
        let options = Options { queues: 2, ..Options::default() };
        crate::virtio::hostile::run(Arc::new(Blk::new(Ram::new(64), options)), seed);
    }
}

#[test]
fn a_disk_that_grows_is_a_change_of_configuration() {
    let disk = Ram::new(8);
    let blk = Arc::new(Blk::new(disk.clone(), Options::default()));
    let driver = Driver::ready(blk.clone(), ALL);
    let generation = driver.modern.read(0x15, 1);
    disk.bytes.lock().unwrap().resize(16 * SECTOR as usize, 0);
    blk.changed();
    assert!(driver.recorder.wait(0));
    assert_ne!(driver.modern.read(0x15, 1), generation);
    assert_eq!(driver.modern.read(0x2000, 4), 16);
}

/// Counts how many write to it at a time; each takes as long as it is told to.
struct Crowd {
    takes: std::time::Duration,
    now: AtomicU32,
    most: AtomicU32,
}

impl Disk for Crowd {
    fn size(&self) -> u64 {
        64 << 20
    }
    fn is_read_only(&self) -> bool {
        false
    }
    fn read(&self, _: u64, _: &mut [IoSliceMut<'_>]) -> std::io::Result<()> {
        Ok(())
    }
    fn write(&self, _: u64, _: &[IoSlice<'_>]) -> std::io::Result<()> {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        std::thread::sleep(self.takes);
        self.now.fetch_sub(1, Ordering::SeqCst);
        Ok(())
    }
    fn flush(&self) -> std::io::Result<()> {
        Ok(())
    }
    fn write_zeroes(&self, _: u64, _: u64, _: bool) -> std::io::Result<()> {
        Ok(())
    }
    fn discard(&self, _: u64, _: u64) -> std::io::Result<()> {
        Ok(())
    }
    fn extent(&self, offset: u64, length: u64) -> std::io::Result<Extent> {
        Ok(Extent { offset, length, zero: false, here: true })
    }
}

#[test]
fn large_writes_go_side_by_side_where_the_disk_is_slow() {
    let (now, most) = (AtomicU32::new(0), AtomicU32::new(0));
    let disk = Arc::new(Crowd { takes: std::time::Duration::from_millis(20), now, most });
    let mut driver = Driver::ready(Arc::new(Blk::new(disk.clone(), Options::default())), ALL);
    driver.write(BUFFERS, &[1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    let pieces = [readable(BUFFERS, 16), readable(BUFFERS, 0x10_0000), writable(STATUS, 1)];
    for _ in 0..2 {
        // The first tells how slow it is, so the others may go together.
        assert_eq!(driver.request(0, &pieces), Some(1));
    }
    assert_eq!(disk.most.load(Ordering::SeqCst), 1);
    (0..4).for_each(|_| _ = driver.offer(0, &pieces));
    driver.kick(0);
    (0..4).for_each(|_| assert!(driver.wait_used(0).is_some()));
    assert!(disk.most.load(Ordering::SeqCst) > 1);
}
