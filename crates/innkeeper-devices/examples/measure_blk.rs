//! How long a disk's requests take outside the guest: 4 KiB reads by a scripted driver, from doorbell to used ring, at
//! depth 1 (the hand-over to the queue's thread) and 32. `measure_blk IMAGE`, of at least 64 MiB.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use innkeeper_block::{Options as Open, open};
use innkeeper_devices::virtio::blk::{Blk, Options};
use innkeeper_devices::virtio::testing::{BUFFERS, Driver, readable, writable};

const ROUNDS: u64 = 20_000;
const HEADERS: u64 = BUFFERS;
const DATA: u64 = BUFFERS + 0x1000;
const REQUEST: u64 = 0x1010;

fn main() {
    let image = std::env::args().nth(1).expect("an image");
    let disk = open(Path::new(&image), &Open::default()).expect("the image opens");
    for depth in [1, 32] {
        let mut driver = Driver::ready(Arc::new(Blk::new(disk.clone(), Options::default())), 0);
        let mut times: Vec<f64> = (0..ROUNDS / depth).map(|round| batch(&mut driver, depth, round)).collect();
        times.sort_by(f64::total_cmp);
        let at = |share: usize| times[times.len() * share / 100];
        println!("depth {depth}: {:.1} µs a request (median), {:.1} µs (90 %)", at(50), at(90));
    }
}

/// Microseconds for each of `depth` reads that are offered at once.
fn batch(driver: &mut Driver, depth: u64, round: u64) -> f64 {
    for index in 0..depth {
        let mut header = [0; 16];
        let sector = (round * depth + index) * 7919 % (64 << 11) / 8 * 8;
        header[8..].copy_from_slice(&sector.to_le_bytes());
        driver.write(HEADERS + 16 * index, &header);
        let at = DATA + REQUEST * index;
        driver.offer(0, &[readable(HEADERS + 16 * index, 16), writable(at, 4096), writable(at + 4096, 1)]);
    }
    let begun = Instant::now();
    driver.kick(0);
    for _ in 0..depth {
        driver.wait_used(0).expect("an answer");
    }
    begun.elapsed().as_secs_f64() * 1e6 / depth as f64
}
