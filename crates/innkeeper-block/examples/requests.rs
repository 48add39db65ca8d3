//! `requests FILE [FORMAT]`: how long one 4 KiB request takes us, on a host that has the file in memory. Writes all over it.

use std::io::{IoSlice, IoSliceMut};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use innkeeper_block::{Disk, Format, Options, open};

const REQUESTS: u64 = 200_000;

fn measure(what: &str, threads: u64, disk: &Arc<dyn Disk>, request: impl Fn(&dyn Disk, u64) + Sync) {
    let blocks = disk.size() / 4096;
    let (started, before) = (Instant::now(), spent());
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let request = &request;
            scope.spawn(move || {
                let mut state = thread + 1;
                for _ in 0..REQUESTS / threads {
                    state =
                        state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    request(&**disk, (state >> 33) % blocks * 4096);
                }
            });
        }
    });
    let each = started.elapsed().as_secs_f64() * 1e6 / REQUESTS as f64;
    let after = spent();
    let [own, kernel] = [after.0 - before.0, after.1 - before.1].map(|spent| spent / REQUESTS as f64);
    println!(
        "{what}, {threads} at a time: {each:.2} µs each, our own processor time {own:.2}, the kernel's {kernel:.2}"
    );
}

/// Processor time of this process, its own and the kernel's for it, in microseconds.
fn spent() -> (f64, f64) {
    // SAFETY: all zeroes is a valid rusage, and the call writes one.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &raw mut usage);
        usage
    };
    let micros = |time: libc::timeval| time.tv_sec as f64 * 1e6 + time.tv_usec as f64;
    (micros(usage.ru_utime), micros(usage.ru_stime))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [path, rest @ ..] = &words[..] else { return Err("usage: requests FILE [FORMAT]".into()) };
    let format = rest.first().map(|name| Format::named(name)).transpose()?;
    let disk = open(Path::new(path), &Options { format, ..Options::default() })?;
    let write = |disk: &dyn Disk, at: u64| disk.write(at, &[IoSlice::new(&[7; 4096])]).expect("a write");
    let read =
        |disk: &dyn Disk, at: u64| disk.read(at, &mut [IoSliceMut::new(&mut [0; 4096])]).expect("a read");
    measure("writes, the first time", 1, &disk, write);
    measure("writes again", 1, &disk, write);
    measure("writes again", 2, &disk, write);
    measure("reads", 1, &disk, read);
    measure("reads", 2, &disk, read);
    let started = Instant::now();
    disk.flush()?;
    println!("the flush: {:.0} ms", started.elapsed().as_secs_f64() * 1e3);
    Ok(())
}
