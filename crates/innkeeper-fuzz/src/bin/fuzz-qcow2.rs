//! `fuzz-qcow2 [--seconds N] [--seed S] [--cases N]`: hostile qcow2 images. Makes an image, spoils some of it (fields
//! of the header, entries of tables, compressed data, its length), opens it and sends requests. An image may be refused
//! and requests may fail; nothing may panic, take more than ten seconds or more than 256 MiB. What does is printed
//! with the seed that repeats it; the exit status is then 1.

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::{IoSlice, IoSliceMut};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use innkeeper_block::Disk;
use innkeeper_block::medium::{Medium, Memory};
use innkeeper_block::qcow2::header::COMPRESSION_TYPE;
use innkeeper_block::qcow2::tables::{self, Geometry};
use innkeeper_block::qcow2::{Compression, Header, Qcow2, Use};
use innkeeper_block::raw::Raw;

const MOST_MEMORY: usize = 256 << 20;
const LONGEST: Duration = Duration::from_secs(10);

/// Bytes allocated by now, and the most since [`PEAK`] was last reset.
static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

struct Counting;

// SAFETY: everything is System's, which is sound; counting touches no memory of it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(now, Ordering::Relaxed);
        // SAFETY: the caller's promise, handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise, handed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Splitmix64.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// An image with data, zeroes, holes and compressed clusters in it.
fn image(rng: &mut Rng) -> Memory {
    let version = 2 + u32::from(!rng.one_in(4));
    let refcount_order = if version == 2 { 4 } else { rng.below(7) as u32 };
    let cluster_bits = [9, 10, 12, 14, 16, 21][rng.below(6) as usize];
    let zstd = version == 3 && rng.one_in(2);
    let size = (1 + rng.below(64)) << cluster_bits;
    let extended_l2 = version == 3 && cluster_bits >= 14 && rng.one_in(2);
    let geometry = Geometry { cluster_bits, refcount_order, extended_l2 };
    let empty = Header::empty(version, geometry, size);
    let header = Header {
        incompatible: empty.incompatible | (u64::from(zstd) * COMPRESSION_TYPE),
        compression: if zstd { Compression::Zstd } else { Compression::Zlib },
        backing_file: rng.one_in(2).then(|| "below.raw".into()),
        backing_format: rng.one_in(2).then(|| "raw".into()),
        ..empty
    };
    let memory = Arc::new(Memory::new(&header.serialise().expect("a short header")));
    let put = |offset: u64, bytes: &[u8]| memory.write_all(offset, bytes).expect("memory");
    put(1 << cluster_bits, &(2u64 << cluster_bits).to_be_bytes());
    let mut block = vec![0; 1 << cluster_bits];
    (0..4).for_each(|cluster| tables::set_refcount(&mut block, refcount_order, cluster, 1));
    put(2 << cluster_bits, &block);
    memory.set_size(4 << cluster_bits).expect("memory");
    let disk = Qcow2::open(Arc::clone(&memory) as _, below(rng), Use { read_only: false, unmap: true });
    let disk = disk.expect("a sound image");
    (0..6).for_each(|_| request(&disk, size, rng));
    drop(disk);
    Arc::into_inner(memory).expect("nobody else has it")
}

fn below(rng: &mut Rng) -> Option<Arc<dyn Disk>> {
    if rng.one_in(2) {
        return None;
    }
    let bytes = vec![0x5A; (rng.below(32) * 512) as usize];
    Some(Arc::new(Raw::open(Arc::new(Memory::new(&bytes))).expect("memory has a size")))
}

/// One request, whose failure is nobody's fault.
fn request(disk: &Qcow2, size: u64, rng: &mut Rng) {
    let offset = if rng.one_in(8) { rng.next() } else { rng.below(size) } & !511;
    let longest = 1 << rng.below(9);
    let length = ((1 + rng.below(longest)) * 512).min(size.saturating_sub(offset));
    let mut bytes = vec![rng.next() as u8; length as usize];
    let cluster = 1u64 << disk.header().cluster_bits;
    let _ = match rng.below(10) {
        0 => disk.write_zeroes(
            offset,
            rng.below(1 << 28).min(size.saturating_sub(offset)) & !511,
            rng.one_in(2),
        ),
        1 => disk.discard(offset, rng.below(1 << 28).min(size.saturating_sub(offset)) & !511),
        2 => disk.flush(),
        3 => disk.extent(offset, size.saturating_sub(offset).min(1 << 40)).map(drop),
        4 => {
            let start = offset / cluster * cluster;
            bytes.resize(cluster.min(size.saturating_sub(start)) as usize, 7);
            disk.write_compressed(start, &bytes)
        }
        5..=7 => disk.write(offset, &[IoSlice::new(&bytes)]),
        _ => disk.read(offset, &mut [IoSliceMut::new(&mut bytes)]),
    };
}

/// A number that is likely to be where something breaks.
fn nasty(rng: &mut Rng, size: u64, cluster: u64) -> u64 {
    let flags = [0, tables::COPIED, tables::COMPRESSED, 1, tables::COPIED | 1][rng.below(5) as usize];
    let place = rng.below(size / cluster + 2) * cluster;
    match rng.below(8) {
        0 => rng.next(),
        1 => [0, 1, u64::MAX, 1 << 62, i64::MAX as u64, 0x00FF_FFFF_FFFF_FE00][rng.below(6) as usize],
        2 => 1 << rng.below(64),
        3 => (place + rng.below(cluster)) | flags,
        _ => place | flags,
    }
}

fn spoil(memory: &Memory, rng: &mut Rng) {
    let size = memory.size().expect("memory");
    let mut field = [0; 4];
    memory.read_exact(20, &mut field).expect("memory");
    let cluster = 1u64 << u32::from_be_bytes(field).clamp(9, 21);
    for _ in 0..1 + rng.below(6) {
        let at = match rng.below(6) {
            0 | 1 => rng.below(120),
            // Tables lie near the beginning.
            2 => cluster + 8 * rng.below(8),
            3 => 3 * cluster + 8 * rng.below(8),
            4 => rng.below(12) * cluster + rng.below(16),
            _ => rng.below(size),
        };
        let value = nasty(rng, size, cluster);
        let bytes = value.to_be_bytes();
        let bytes = match rng.below(3) {
            0 => &bytes[7..],
            1 => &bytes[4..],
            _ => &bytes[..],
        };
        memory.write_all(at, bytes).expect("memory");
    }
    match rng.below(8) {
        0 => memory.set_size(rng.below(size)).expect("memory"),
        1 => memory.set_size(i64::MAX as u64 & !(rng.next() >> rng.below(64))).expect("memory"),
        _ => {}
    }
}

/// One image with a few requests; whether it could be opened.
fn case(seed: u64) -> bool {
    let mut rng = Rng(seed);
    let memory = Arc::new(image(&mut rng));
    spoil(&memory, &mut rng);
    let read_only = rng.one_in(3);
    match Qcow2::open(memory, below(&mut rng), Use { read_only, unmap: rng.one_in(2) }) {
        Ok(disk) => {
            let size = disk.size();
            (0..12).for_each(|_| request(&disk, size, &mut rng));
            true
        }
        Err(error) => {
            let text = error.to_string();
            assert!(!text.is_empty() && !text.contains('\n') && text.len() < 2000, "no sentence: {text}");
            false
        }
    }
}

/// Ends the program if one case takes too long: the case that is under way, and since when.
fn watch(started: Instant, under_way: &'static AtomicU64, since: &'static AtomicU64) {
    std::thread::spawn(move || {
        loop {
            std::thread::sleep(Duration::from_secs(1));
            let running = started.elapsed().as_millis() as u64 - since.load(Ordering::SeqCst);
            if u128::from(running) > LONGEST.as_millis() {
                println!(
                    "--seed {} --cases 1: takes more than {LONGEST:?}",
                    under_way.load(Ordering::SeqCst)
                );
                std::process::exit(1);
            }
        }
    });
}

fn main() -> ExitCode {
    static UNDER_WAY: AtomicU64 = AtomicU64::new(0);
    static SINCE: AtomicU64 = AtomicU64::new(0);
    let (mut seconds, mut seed, mut cases) = (60, 1, u64::MAX);
    let words: Vec<String> = std::env::args().skip(1).collect();
    for pair in words.chunks(2) {
        let value: Option<u64> = pair.get(1).and_then(|word| word.parse().ok());
        match (pair[0].as_str(), value) {
            ("--seconds", Some(value)) => seconds = value,
            ("--seed", Some(value)) => seed = value,
            ("--cases", Some(value)) => cases = value,
            _ => {
                eprintln!("usage: fuzz-qcow2 [--seconds N] [--seed S] [--cases N]");
                return ExitCode::from(2);
            }
        }
    }
    let started = Instant::now();
    watch(started, &UNDER_WAY, &SINCE);
    let (mut done, mut opened, mut bad) = (0u64, 0u64, 0u64);
    while done < cases && started.elapsed().as_secs() < seconds {
        UNDER_WAY.store(seed, Ordering::SeqCst);
        SINCE.store(started.elapsed().as_millis() as u64, Ordering::SeqCst);
        PEAK.store(NOW.load(Ordering::Relaxed), Ordering::Relaxed);
        let before = NOW.load(Ordering::Relaxed);
        match catch_unwind(AssertUnwindSafe(|| case(seed))) {
            Ok(could) => opened += u64::from(could),
            Err(_) => {
                println!("--seed {seed} --cases 1: panics");
                bad += 1;
            }
        }
        let peak = PEAK.load(Ordering::Relaxed).saturating_sub(before);
        if peak > MOST_MEMORY {
            println!("--seed {seed} --cases 1: takes {peak} bytes");
            bad += 1;
        }
        done += 1;
        seed += 1;
    }
    println!(
        "{done} images, {opened} of them opened, {bad} bad, in {:.0} s",
        started.elapsed().as_secs_f64()
    );
    ExitCode::from(u8::from(bad > 0))
}
