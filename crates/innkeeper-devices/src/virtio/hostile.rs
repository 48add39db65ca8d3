//! A driver that means harm: registers in any order, every field of the queues at random, memory that changes while
//! the device looks at it. For tests and fuzzing; a seed names a campaign.
//!
//! What must hold: no thread of ours panics, a reset always comes back, and afterwards the device still works for
//! whoever keeps to the rules.

use std::panic;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Once};
use std::time::{Duration, Instant};

use super::class::Class;
use super::testing::{BUFFERS, Driver, Piece, QUEUE_SPACING, QUEUES, RAM};
use super::{feature, status};

/// A reset that takes longer hangs.
const RESET_LIMIT: Duration = Duration::from_secs(10);
/// Where most of what is random goes: queues and buffers.
const HOT: [(u64, u64); 2] = [(QUEUES, 4 * QUEUE_SPACING), (BUFFERS, 0x4000)];

static PANICS: AtomicUsize = AtomicUsize::new(0);
static HOOK: Once = Once::new();

/// SplitMix64.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ z >> 31
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.word() % bound.max(1)
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// Edges of widths, small numbers, addresses in RAM, or anything.
    fn value(&mut self) -> u64 {
        match self.below(6) {
            0 => self.below(16),
            1 => (1u64 << self.below(64)).wrapping_sub(self.below(2)),
            2 => RAM.wrapping_add(self.below(64)).wrapping_sub(32),
            3 => BUFFERS + self.below(0x4000),
            4 => u64::MAX - self.below(64),
            _ => self.word(),
        }
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| if self.one_in(2) { self.below(4) as u8 } else { self.word() as u8 }).collect()
    }
}

/// Runs one case: a device, and a hundred things that no driver should do.
///
/// # Panics
/// If the device did what it must not.
pub fn run(class: Arc<dyn Class>, seed: u64) {
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |information| {
            PANICS.fetch_add(1, Ordering::SeqCst);
            before(information);
        }));
    });
    let before = PANICS.load(Ordering::SeqCst);
    let mut random = Random::new(seed);
    let mut driver = if random.one_in(4) {
        Driver::new(Arc::clone(&class))
    } else {
        let features = class.features() & random.word() | if random.one_in(4) { 0 } else { class.features() };
        let transport = feature::EVENT_INDEX | feature::INDIRECT_DESCRIPTORS;
        Driver::ready(Arc::clone(&class), features | transport & random.word())
    };
    for _ in 0..100 {
        step(&mut driver, &mut random, class.queues().len() as u64);
    }
    let begun = Instant::now();
    driver.reset();
    driver.function.shut_down();
    assert!(begun.elapsed() < RESET_LIMIT, "seed {seed}: the reset took {:?}", begun.elapsed());
    assert_eq!(PANICS.load(Ordering::SeqCst), before, "seed {seed}: a thread panicked");
}

fn step(driver: &mut Driver, random: &mut Random, queues: u64) {
    let beyond = u64::from(random.one_in(8));
    let queue = random.below(queues + beyond) as u16;
    match random.below(10) {
        0 => poke(driver, random),
        1 => scribble(driver, random),
        2..=4 => request(driver, random, queue.min(queues as u16 - 1)),
        5 => describe(driver, random, queue),
        6 => drop((driver.modern.read(random.below(0x4000), 4), driver.legacy.read(random.below(0x100), 4))),
        7 if random.one_in(4) => restart(driver, random),
        _ => driver.kick(queue),
    }
}

/// Any register of any region, at any width.
fn poke(driver: &Driver, random: &mut Random) {
    let size = 1 << random.below(4);
    let value = random.value();
    match random.below(6) {
        0 => driver.legacy.write(random.below(0x100), size, value),
        1 => driver.vectors.write(random.below(0x1000), size, value),
        2 => driver.modern.write(0x2000 + random.below(0x80), size, value),
        3 => driver.modern.write(random.below(0x4000), size, value),
        4 => driver.modern.write(random.below(0x38), size, value),
        _ => match random.below(3) {
            0 => driver.function.set_command(value as u16),
            1 => driver.function.set_msix_control(value as u16),
            _ => driver.function.set_command(1 << 2),
        },
    }
}

/// Random bytes over queues or buffers, while the device is at work.
fn scribble(driver: &Driver, random: &mut Random) {
    let (base, size) = HOT[random.below(2) as usize];
    let length = 1 + random.below(32);
    let at = base + random.below(size - length);
    driver.write(at, &random.bytes(length as usize));
}

/// A chain of plausible shape with some bytes in it.
fn request(driver: &mut Driver, random: &mut Random, queue: u16) {
    let readable = random.below(3);
    let mut pieces = Vec::new();
    for index in 0..readable + random.below(4) {
        let gpa = if random.one_in(20) { random.value() } else { BUFFERS + random.below(0x3000) };
        let length = if random.one_in(20) { random.value() as u32 } else { 1 << random.below(11) };
        let length = if random.one_in(3) { 16 + random.below(16) as u32 } else { length };
        pieces.push(Piece { gpa, length, writable: index >= readable });
    }
    if let Some(first) = pieces.first().filter(|piece| piece.gpa < RAM - 64) {
        let mut header = random.bytes(48);
        header[0] = random.below(16) as u8;
        if random.one_in(2) {
            header[1..8].fill(0);
            header[9..16].fill(0);
            header[1] = [0, 0, 0, 1, 3][random.below(5) as usize]; // the GPU's commands begin at 100h and 300h
        }
        driver.write(first.gpa, &header);
    }
    if driver.is_placed(queue) && !pieces.is_empty() {
        driver.offer(queue, &pieces);
        driver.kick(queue);
    }
}

/// One descriptor of any content, and an index that may jump.
fn describe(driver: &Driver, random: &mut Random, queue: u16) {
    let base = QUEUES + u64::from(queue % 4) * QUEUE_SPACING;
    let piece = Piece { gpa: random.value(), length: random.value() as u32, writable: random.one_in(2) };
    driver.describe(base, random.below(16) as u16, piece, random.below(8) as u16, random.below(20) as u16);
    if random.one_in(8) {
        driver.write(base + 0x1002, &(random.value() as u16).to_le_bytes());
    }
}

/// Resets, and sets up again with whatever order of things.
fn restart(driver: &mut Driver, random: &mut Random) {
    driver.reset();
    driver.write(QUEUES, &vec![0; 4 * QUEUE_SPACING as usize]);
    let features = driver.offered();
    if random.one_in(8) {
        driver.set_status(random.word() as u8);
    }
    driver.negotiate(features);
    for queue in 0..driver.queue_count() {
        if !random.one_in(16) {
            driver.place(queue);
        }
    }
    driver.set_status(status::DRIVER_OK);
    driver.function.set_command(1 << 2);
}
