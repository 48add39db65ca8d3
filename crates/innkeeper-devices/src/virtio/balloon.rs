//! The balloon: memory that the guest gives up goes back to the host, asked for or reported as free.
//!
//! Spec: virtio 1.2, 5.5. Left out: free-page hints (they are for migration) and page poison.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use innkeeper_bus::memory::GuestMemory;
use innkeeper_bus::state::{BadState, Fields, Plain, Value, map};

use super::class::{Activation, Class, Link, Saving, VirtQueue, read_config_bytes};
use super::lock;
use super::queue::{Chain, Fault};
use super::worker::{Bell, Workers};

const KIND: u16 = 5;
const QUEUE_SIZE: u16 = 128;
const STATS: u64 = 1 << 1;
const DEFLATE_ON_OOM: u64 = 1 << 2;
const REPORTING: u64 = 1 << 5;

pub const PAGE: u64 = 4096;
/// Page numbers in one buffer that are looked at; Linux's driver sends 256.
const MOST_PAGES: u64 = 1 << 16;
/// Bytes of one statistic, and how many there may be.
const STATISTIC_BYTES: usize = 10;
const MOST_STATISTICS: usize = 64;

/// What the driver was asked to do and has done.
#[derive(Default)]
struct Shared {
    /// Pages that the host wants, and those that the driver says it gave.
    wanted: AtomicU32,
    actual: AtomicU32,
    /// Bytes given back since power-on: asked for, and reported as free.
    inflated: AtomicU64,
    reported: AtomicU64,
    /// What the driver last said of its memory, by tag.
    statistics: Mutex<Vec<(u16, u64)>>,
    /// A refresh of the statistics was asked for.
    refresh: AtomicBool,
    active: Mutex<Option<(Arc<Link>, u16)>>,
}

pub struct Balloon {
    deflate_on_oom: bool,
    shared: Arc<Shared>,
    workers: Workers,
}

/// Counters of a balloon.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub wanted_bytes: u64,
    pub actual_bytes: u64,
    pub inflated_bytes: u64,
    pub reported_bytes: u64,
    pub statistics: Vec<(u16, u64)>,
}

impl Balloon {
    pub fn new(deflate_on_oom: bool) -> Self {
        Self { deflate_on_oom, shared: Arc::default(), workers: Workers::default() }
    }

    /// How much of its memory the guest shall give up.
    pub fn set_wanted(&self, bytes: u64) {
        let pages = u32::try_from(bytes / PAGE).unwrap_or(u32::MAX);
        self.shared.wanted.store(pages, Ordering::SeqCst);
        if let Some((device, _)) = &*lock(&self.shared.active) {
            device.config_changed();
        }
    }

    /// Asks the driver for new statistics; they are there some time later.
    pub fn refresh(&self) {
        if let Some((_, queue)) = &*lock(&self.shared.active) {
            self.shared.refresh.store(true, Ordering::SeqCst);
            self.workers.ring(*queue);
        }
    }

    pub fn report(&self) -> Report {
        let shared = &self.shared;
        Report {
            wanted_bytes: u64::from(shared.wanted.load(Ordering::SeqCst)) * PAGE,
            actual_bytes: u64::from(shared.actual.load(Ordering::SeqCst)) * PAGE,
            inflated_bytes: shared.inflated.load(Ordering::SeqCst),
            reported_bytes: shared.reported.load(Ordering::SeqCst),
            statistics: lock(&shared.statistics).clone(),
        }
    }

    fn serve(
        &self,
        driver: &Activation,
        queue: Option<VirtQueue>,
        work: impl Fn(&Chain) -> Result<u32, Fault> + Send + 'static,
    ) {
        let Some(mut queue) = queue else { return };
        let (number, mut chain) = (queue.number(), queue.chain());
        self.workers.start("virtio-balloon", &[number], &driver.device, move |bell| {
            while bell.wait(Duration::ZERO) {
                queue.drain(&mut chain, &work);
            }
        });
    }
}

impl Class for Balloon {
    fn kind(&self) -> u16 {
        KIND
    }

    fn features(&self) -> u64 {
        STATS | REPORTING | if self.deflate_on_oom { DEFLATE_ON_OOM } else { 0 }
    }

    fn queues(&self) -> Vec<u16> {
        vec![QUEUE_SIZE; 4]
    }

    fn read_config(&self, offset: u64, out: &mut [u8]) {
        let mut config = [0; 8];
        config[..4].copy_from_slice(&self.shared.wanted.load(Ordering::SeqCst).to_le_bytes());
        config[4..].copy_from_slice(&self.shared.actual.load(Ordering::SeqCst).to_le_bytes());
        read_config_bytes(&config, offset, out);
    }

    fn write_config(&self, offset: u64, data: &[u8]) {
        if offset == 4
            && let Some(&[a, b, c, d]) = data.get(..4)
        {
            self.shared.actual.store(u32::from_le_bytes([a, b, c, d]), Ordering::SeqCst);
        }
    }

    fn activate(&self, mut driver: Activation) {
        let (memory, shared) = (Arc::clone(&driver.memory), Arc::clone(&self.shared));
        let queue = driver.take(0);
        self.serve(&driver, queue, move |chain| inflate(&memory, &shared, chain));
        let queue = driver.take(1);
        self.serve(&driver, queue, |_| Ok(0)); // the guest's touch brings pages back
        let mut next = 2; // queues of features that were not accepted do not exist
        let statistics = driver.has(STATS).then(|| driver.take(next)).flatten();
        next += usize::from(driver.has(STATS));
        let reporting = driver.has(REPORTING).then(|| driver.take(next)).flatten();
        let (memory, shared) = (Arc::clone(&driver.memory), Arc::clone(&self.shared));
        self.serve(&driver, reporting, move |chain| Ok(discard_free(&memory, &shared, chain)));
        if let Some(mut queue) = statistics {
            let shared = Arc::clone(&self.shared);
            let number = queue.number();
            *lock(&self.shared.active) = Some((Arc::clone(&driver.device), number));
            self.workers.start("virtio-balloon", &[number], &driver.device, move |bell| {
                collect(&shared, &mut queue, &bell);
            });
        } else {
            *lock(&self.shared.active) = Some((Arc::clone(&driver.device), u16::MAX));
        }
    }

    fn notify(&self, queue: u16) {
        self.workers.ring(queue);
    }

    fn reset(&self) {
        self.pause();
        self.shared.actual.store(0, Ordering::SeqCst);
        self.shared.refresh.store(false, Ordering::SeqCst);
        lock(&self.shared.statistics).clear();
    }

    fn saving(&self) -> Option<&dyn Saving> {
        Some(self)
    }
}

impl Saving for Balloon {
    /// The buffer of statistics, which it keeps, is taken anew.
    fn pause(&self) {
        *lock(&self.shared.active) = None;
        self.workers.stop();
    }

    fn state(&self) -> Value {
        let shared = &self.shared;
        map([
            ("wanted", shared.wanted.load(Ordering::SeqCst).save()),
            ("actual", shared.actual.load(Ordering::SeqCst).save()),
            ("inflated", shared.inflated.load(Ordering::SeqCst).save()),
            ("reported", shared.reported.load(Ordering::SeqCst).save()),
        ])
    }

    fn restore(&self, state: &Value) -> Result<(), BadState> {
        let mut fields = Fields::of(state)?;
        let (wanted, actual) = (fields.take("wanted")?, fields.take("actual")?);
        let (inflated, reported) = (fields.take("inflated")?, fields.take("reported")?);
        fields.end()?;
        let shared = &self.shared;
        shared.wanted.store(wanted, Ordering::SeqCst);
        shared.actual.store(actual, Ordering::SeqCst);
        shared.inflated.store(inflated, Ordering::SeqCst);
        shared.reported.store(reported, Ordering::SeqCst);
        Ok(())
    }
}

/// Gives the listed pages back, in runs of neighbours. What is no RAM is left alone.
fn inflate(memory: &GuestMemory, shared: &Shared, chain: &Chain) -> Result<u32, Fault> {
    let mut bytes = vec![0; (chain.readable().min(4 * MOST_PAGES) & !3) as usize];
    chain.read(0, &mut bytes);
    let mut pages: Vec<_> =
        bytes.chunks_exact(4).map(|page| u32::from_le_bytes([page[0], page[1], page[2], page[3]])).collect();
    pages.sort_unstable();
    for run in pages.chunk_by(|&before, &after| after.wrapping_sub(before) == 1) {
        let (start, length) = (u64::from(run[0]) * PAGE, run.len() as u64 * PAGE);
        if memory.discard(start, length).is_ok() {
            shared.inflated.fetch_add(length, Ordering::Relaxed);
        }
    }
    Ok(0)
}

/// Gives back what the driver says is free, and will not use until this is answered.
fn discard_free(memory: &GuestMemory, shared: &Shared, chain: &Chain) -> u32 {
    for part in chain.writable_parts(0, u64::MAX) {
        shared.reported.fetch_add(memory.discard_buffer(&part), Ordering::Relaxed);
    }
    0
}

/// Keeps the driver's statistics buffer, and gives it back to be filled anew when that is asked for.
fn collect(shared: &Shared, queue: &mut VirtQueue, bell: &Bell) {
    let (mut chain, mut held) = (queue.chain(), None);
    while bell.wait(Duration::ZERO) {
        loop {
            while queue.pop(&mut chain) {
                *lock(&shared.statistics) = parse(&chain);
                if let Some(before) = held.replace(chain.head()) {
                    queue.push(before, 0); // a driver has one only; whatever else there is goes back
                    queue.interrupt();
                }
            }
            if !queue.listen() {
                break;
            }
        }
        if shared.refresh.load(Ordering::SeqCst)
            && let Some(head) = held.take()
        {
            shared.refresh.store(false, Ordering::SeqCst);
            queue.push(head, 0);
            queue.interrupt();
        }
    }
}

fn parse(chain: &Chain) -> Vec<(u16, u64)> {
    let mut bytes = vec![0; STATISTIC_BYTES * MOST_STATISTICS];
    let length = chain.read(0, &mut bytes);
    let statistic = |raw: &[u8]| {
        let (tag, value) = (u16::from_le_bytes([raw[0], raw[1]]), &raw[2..]);
        let value = value.iter().rev().fold(0, |all, &byte| all << 8 | u64::from(byte));
        (tag, value)
    };
    bytes[..length].chunks_exact(STATISTIC_BYTES).map(statistic).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::virtio::testing::{BUFFERS, Driver, RAM, readable, writable};

    #[test]
    fn inflated_and_reported_pages_go_back_to_the_host() {
        let balloon = Arc::new(Balloon::new(true));
        let mut driver = Driver::ready(balloon.clone(), balloon.features());
        let page = BUFFERS + 0x10_000;
        driver.write(page, &[7; 4 * PAGE as usize]);
        let list: Vec<u8> = [page / PAGE + 1, page / PAGE, RAM / PAGE, 0xFFFF_FFFF]
            .iter()
            .flat_map(|&page| (page as u32).to_le_bytes())
            .collect();
        driver.write(BUFFERS, &list);
        assert_eq!(driver.request(0, &[readable(BUFFERS, list.len() as u32)]), Some(0));
        assert_eq!(driver.bytes(page, 3 * PAGE as usize), [&[0; 8192][..], &[7; 4096]].concat());
        assert_eq!(driver.request(1, &[readable(BUFFERS, 4)]), Some(0));
        assert_eq!(driver.request(3, &[writable(page + 2 * PAGE, 4096)]), Some(0));
        assert_eq!(driver.bytes(page + 2 * PAGE, 8192), [&[0; 4096][..], &[7; 4096]].concat());
        let report = balloon.report();
        assert_eq!((report.inflated_bytes, report.reported_bytes), (2 * PAGE, PAGE));
    }

    #[test]
    fn a_new_target_is_a_change_of_configuration() {
        let balloon = Arc::new(Balloon::new(false));
        let driver = Driver::ready(balloon.clone(), STATS);
        let generation = driver.modern.read(0x15, 1);
        balloon.set_wanted(1 << 20);
        assert!(driver.recorder.wait(0));
        assert_ne!(driver.modern.read(0x15, 1), generation);
        assert_eq!(driver.modern.read(0x2000, 4), 256);
        driver.modern.write(0x2004, 4, 100);
        assert_eq!(balloon.report().actual_bytes, 100 * PAGE);
    }

    #[test]
    fn statistics_come_when_they_are_asked_for() {
        let balloon = Arc::new(Balloon::new(false));
        let mut driver = Driver::ready(balloon.clone(), STATS);
        driver.write(BUFFERS, &[4, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
        let head = driver.offer(2, &[readable(BUFFERS, 10)]);
        driver.kick(2);
        while balloon.report().statistics.is_empty() {
            std::thread::yield_now();
        }
        assert_eq!((balloon.report().statistics, driver.used(2)), (vec![(4, 256)], None));
        balloon.refresh();
        assert_eq!(driver.wait_used(2), Some((head, 0)));
    }

    #[test]
    fn drivers_that_mean_harm_end_the_balloon_and_nothing_else() {
        (0..200).for_each(|seed| crate::virtio::hostile::run(Arc::new(Balloon::new(true)), seed));
    }
}
