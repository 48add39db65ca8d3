//! `make fuzz`: ports, windows and video memory of the VGA at random, while a viewer looks at it. Nothing a guest does
//! may panic, hang or make a picture larger than the chip allows. Arguments: seconds, seed. A panic prints the seed
//! and the operation's number, which repeat it. Built with debug assertions: overflows panic.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use innkeeper_bus::bus::Device;
use innkeeper_bus::memory::{GuestMemory, Ram};
use innkeeper_devices::vga::{DISPI_PORTS, PORTS, Part, REGISTER_BYTES, Region, Vga, WINDOW_BYTES};
use innkeeper_display::{Frame, Screen};

const MEMORY_BYTES: u64 = 4 << 20;
const LARGEST_PIXELS: usize = 4096 * 4096;
/// Between two looks of the viewer.
const OPERATIONS: u64 = 400;

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: u64) -> u64 {
        (self.next() >> 16) % limit
    }

    /// Values at the edges come more often.
    fn value(&mut self) -> u64 {
        match self.below(6) {
            0 => 0,
            1 => u64::MAX,
            2 => 1 << self.below(64),
            3 => self.below(0x20),
            _ => self.next(),
        }
    }
}

/// A register of a file, or of the Bochs extensions, so that modes come about at all.
fn program(random: &mut Random, ports: &Region, dispi: &Region) {
    let value = random.value() & 0xFF;
    match random.below(8) {
        0 => ports.write(0x12, 1, value), // miscellaneous output
        1 => ports.write(0x14, 2, value << 8 | random.below(8)),
        2 => ports.write(0x1E, 2, value << 8 | random.below(16)),
        3 => ports.write(0x24, 2, value << 8 | random.below(32)),
        4 => {
            ports.read(0x2A, 1);
            ports.write(0x10, 1, random.below(0x40));
            ports.write(0x10, 1, value);
            ports.write(0x10, 1, 0x20);
        }
        5 | 6 => {
            dispi.write(0, 2, random.below(12));
            let small = random.below(0x400);
            let depth = [4, 8, 15, 16, 24, 32][random.below(6) as usize];
            let value = [small, depth, 0x41, random.value()][random.below(4) as usize];
            dispi.write(1, 2, value);
        }
        _ => ports.write(random.below(PORTS), 1, value),
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1).map(|word| word.parse::<u64>().expect("a number"));
    let (seconds, seed) = (arguments.next().unwrap_or(10), arguments.next().unwrap_or(1));
    let memory = Arc::new(GuestMemory::new(&[(0, 4096)]).expect("memory"));
    let ram = Arc::new(Ram::take(&memory, MEMORY_BYTES).expect("video memory"));
    let time = Arc::new(AtomicU64::new(0));
    let clock = Arc::clone(&time);
    let chip = Vga::new(Arc::clone(&ram), Box::new(move || clock.load(Ordering::Relaxed)));
    let region = |part| Region { chip: Arc::clone(&chip), part };
    let (ports, dispi) = (region(Part::Ports), region(Part::DispiPorts));
    let regions = [
        (region(Part::Ports), PORTS),
        (region(Part::DispiPorts), DISPI_PORTS),
        (region(Part::Window), WINDOW_BYTES),
        (region(Part::Registers), REGISTER_BYTES),
    ];
    let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let (mut frame, mut operations, mut pictures) = (Frame::default(), 0u64, 0u64);
    let end = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < end {
        for _ in 0..random.below(OPERATIONS) {
            operations += 1;
            if random.below(4) == 0 {
                program(&mut random, &ports, &dispi);
                continue;
            }
            let (region, bytes) = &regions[random.below(4) as usize];
            let size = (1 << random.below(4)).min(*bytes);
            let offset = random.below(bytes - size + 1);
            match random.below(2) {
                0 => drop(region.read(offset, size as u8)),
                _ => region.write(offset, size as u8, random.value()),
            }
        }
        ram.write(random.below(MEMORY_BYTES - 8), &random.next().to_le_bytes()).expect("within it");
        time.fetch_add(random.below(1 << 33), Ordering::Relaxed);
        let changed = chip.refresh(&mut frame);
        pictures += u64::from(!changed.is_empty());
        let (width, height) = (frame.width, frame.height);
        assert_eq!(
            frame.pixels.len(),
            width as usize * height as usize,
            "seed {seed}, operation {operations}"
        );
        assert!(
            frame.pixels.len() <= LARGEST_PIXELS,
            "{width}x{height}: seed {seed}, operation {operations}"
        );
        assert!(changed.iter().all(|rect| rect.x + rect.width <= width && rect.y + rect.height <= height));
        if let Some(text) = chip.text() {
            assert_eq!(text.cells.len(), text.columns as usize * text.rows as usize);
        }
        if random.below(500) == 0 {
            chip.reset();
        }
    }
    println!("fuzz_vga: {operations} operations, {pictures} pictures, seed {seed}");
}
