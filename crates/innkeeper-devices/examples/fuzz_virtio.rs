//! Drivers that mean harm against every virtio device: `fuzz_virtio SECONDS SEED`. Prints the seed that fails.

use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use innkeeper_block::medium::Memory;
use innkeeper_block::raw::Raw;
use innkeeper_devices::virtio::balloon::Balloon;
use innkeeper_devices::virtio::blk::{Blk, Options};
use innkeeper_devices::virtio::class::Class;
use innkeeper_devices::virtio::console::Console;
use innkeeper_devices::virtio::gpu::Gpu;
use innkeeper_devices::virtio::hostile;
use innkeeper_devices::virtio::input::{Input, Model};
use innkeeper_devices::virtio::p9::{Folder, P9};
use innkeeper_devices::virtio::rng::Rng;
use innkeeper_devices::virtio::vsock::Vsock;

type Make = fn() -> Arc<dyn Class>;

fn blk() -> Arc<dyn Class> {
    let disk = Arc::new(Raw::open(Arc::new(Memory::new(&[0; 1 << 20]))).expect("a disk in memory"));
    Arc::new(Blk::new(disk, Options { queues: 2, ..Options::default() }))
}

fn rng() -> Arc<dyn Class> {
    Arc::new(Rng::default())
}

fn balloon() -> Arc<dyn Class> {
    Arc::new(Balloon::new(true))
}

fn console() -> Arc<dyn Class> {
    Arc::new(Console::new(Box::new(|_| ())).expect("a thread"))
}

fn gpu() -> Arc<dyn Class> {
    Arc::new(Gpu::default())
}

fn tablet() -> Arc<dyn Class> {
    Arc::new(Input::new(Model::Tablet))
}

/// Where what devices have on the host is.
fn place() -> PathBuf {
    std::env::temp_dir().join(format!("innkeeper-fuzz-{}", std::process::id()))
}

fn p9() -> Arc<dyn Class> {
    Arc::new(P9::new(Folder::open(&place(), false).expect("a folder"), "files"))
}

fn vsock() -> Arc<dyn Class> {
    let path = place().join("vm");
    let _ = std::fs::remove_file(&path); // of the case before
    let listener = UnixListener::bind(&path).expect("a socket");
    Arc::new(Vsock::new(3, path, listener).expect("a descriptor"))
}

const CLASSES: [(&str, Make); 8] = [
    ("blk", blk),
    ("rng", rng),
    ("balloon", balloon),
    ("console", console),
    ("gpu", gpu),
    ("tablet", tablet),
    ("9p", p9),
    ("vsock", vsock),
];

fn main() {
    let argument = |index: usize, default: u64| {
        std::env::args().nth(index).and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let (limit, first) = (Duration::from_secs(argument(1, 60)), argument(2, 1));
    std::fs::create_dir(place()).expect("a folder of its own");
    let begun = Instant::now();
    let mut cases = 0;
    while begun.elapsed() < limit {
        for (name, make) in CLASSES {
            let seed = first.wrapping_mul(1 << 32).wrapping_add(cases);
            let run = || hostile::run(make(), seed);
            if std::panic::catch_unwind(run).is_err() {
                eprintln!("{name} fails with seed {seed}");
                std::process::exit(1);
            }
        }
        cases += 1;
    }
    std::fs::remove_dir_all(place()).expect("the folder goes");
    println!("{cases} cases of each of {} devices passed, 0 failed", CLASSES.len());
}
