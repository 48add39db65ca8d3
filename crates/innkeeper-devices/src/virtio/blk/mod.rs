//! The block device: a disk image's sectors through one or more queues, each with a thread of its own.
//!
//! Spec: virtio 1.2, 5.2. Left out: SCSI commands, lifetime, secure erase and zoned disks.

mod config;
mod request;
mod serve;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use innkeeper_block::Disk;

use innkeeper_bus::state::{BadState, Plain, Value};

use super::class::{Activation, Class, Link, Saving, read_config_bytes};
use super::lock;
use super::worker::Workers;
use config::Layout;
use request::{Server, WriteCache};

const KIND: u16 = 2;
const QUEUE_SIZE: u16 = 256;
pub const SECTOR: u64 = 512;

// Feature bits (5.2.3).
const SEG_MAX: u64 = 1 << 2;
const READ_ONLY: u64 = 1 << 5;
const BLOCK_SIZE: u64 = 1 << 6;
const FLUSH: u64 = 1 << 9;
const TOPOLOGY: u64 = 1 << 10;
const CONFIG_WCE: u64 = 1 << 11;
const MULTI_QUEUE: u64 = 1 << 12;
const DISCARD: u64 = 1 << 13;
const WRITE_ZEROES: u64 = 1 << 14;

/// How a disk is shown and treated.
#[derive(Clone, Debug)]
pub struct Options {
    /// At most 20 bytes.
    pub serial: String,
    pub read_only: bool,
    pub queues: u16,
    /// Whether writes may wait for a flush, until the driver says otherwise.
    pub writeback: bool,
    /// Flushes are ignored, for disks that nobody needs afterwards.
    pub unsafe_cache: bool,
    /// Space that the guest gives up goes back to the host.
    pub discard: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            serial: String::new(),
            read_only: false,
            queues: 1,
            writeback: true,
            unsafe_cache: false,
            discard: true,
        }
    }
}

pub struct Blk {
    disk: Arc<dyn Disk>,
    options: Options,
    /// What the driver reads and may toggle: writes wait for a flush.
    writeback: Arc<AtomicBool>,
    /// While a driver is there.
    device: Mutex<Option<Arc<Link>>>,
    /// What is begun shall be finished before the threads end.
    finishes: Arc<AtomicBool>,
    workers: Workers,
}

impl Blk {
    pub fn new(disk: Arc<dyn Disk>, options: Options) -> Self {
        let writeback = Arc::new(AtomicBool::new(options.writeback));
        let (device, finishes, workers) = (Mutex::default(), Arc::default(), Workers::default());
        Self { disk, options, writeback, device, finishes, workers }
    }

    fn is_read_only(&self) -> bool {
        self.options.read_only || self.disk.is_read_only()
    }
}

impl Class for Blk {
    fn kind(&self) -> u16 {
        KIND
    }

    fn features(&self) -> u64 {
        let mut features = SEG_MAX | BLOCK_SIZE | FLUSH | TOPOLOGY | CONFIG_WCE;
        if self.options.queues > 1 {
            features |= MULTI_QUEUE;
        }
        if self.is_read_only() {
            return features | READ_ONLY;
        }
        features | WRITE_ZEROES | if self.options.discard { DISCARD } else { 0 }
    }

    fn queues(&self) -> Vec<u16> {
        vec![QUEUE_SIZE; usize::from(self.options.queues.max(1))]
    }

    fn read_config(&self, offset: u64, out: &mut [u8]) {
        let layout = Layout {
            sectors: self.disk.size() / SECTOR,
            writeback: self.writeback.load(Ordering::Relaxed),
            queues: self.options.queues.max(1),
            discard: self.options.discard,
        };
        read_config_bytes(&layout.to_bytes(), offset, out);
    }

    fn write_config(&self, offset: u64, data: &[u8]) {
        if offset == config::WRITEBACK
            && let Some(&value) = data.first()
        {
            self.writeback.store(value != 0, Ordering::Relaxed);
        }
    }

    fn activate(&self, mut driver: Activation) {
        *lock(&self.device) = Some(Arc::clone(&driver.device));
        let cache = if self.options.unsafe_cache {
            WriteCache::Ignored
        } else if driver.has(CONFIG_WCE) {
            WriteCache::Toggled(Arc::clone(&self.writeback))
        } else if driver.has(FLUSH) && self.options.writeback {
            WriteCache::Back
        } else {
            WriteCache::Through // a driver that cannot flush takes what is answered for kept
        };
        let server = Arc::new(Server {
            disk: Arc::clone(&self.disk),
            read_only: self.is_read_only(),
            cache,
            discard: self.options.discard,
            serial: self.options.serial.clone(),
        });
        let queues = driver.queues.len();
        for number in 0..queues {
            if let Some(queue) = driver.take(number) {
                serve::start(&self.workers, &driver.device, queue, &server, queues, &self.finishes);
            }
        }
    }

    fn notify(&self, queue: u16) {
        self.workers.ring(queue);
    }

    /// The disk has another size.
    fn changed(&self) {
        if let Some(device) = lock(&self.device).as_ref() {
            device.config_changed();
        }
    }

    fn reset(&self) {
        *lock(&self.device) = None;
        self.workers.stop();
        self.writeback.store(self.options.writeback, Ordering::Relaxed);
    }

    fn saving(&self) -> Option<&dyn Saving> {
        Some(self)
    }
}

impl Saving for Blk {
    fn pause(&self) {
        *lock(&self.device) = None;
        self.finishes.store(true, Ordering::SeqCst);
        self.workers.stop();
        self.finishes.store(false, Ordering::SeqCst);
        // What cannot be made durable now is the driver's to hear of when it flushes, as always.
        let _ = self.disk.flush();
    }

    fn state(&self) -> Value {
        self.writeback.load(Ordering::Relaxed).save()
    }

    fn restore(&self, state: &Value) -> Result<(), BadState> {
        self.writeback.store(bool::load(state)?, Ordering::Relaxed);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
