//! A driver by script, for the tests and fuzzers of this crate and others: a small machine without processors, one
//! function in it, and whatever a driver does through its registers and in its memory.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use innkeeper_bus::bus::Device;
use innkeeper_bus::interrupt::{InterruptFabric, Line};
use innkeeper_bus::memory::GuestMemory;

use super::class::Class;
use super::queue::Layout;
use super::transport::{VirtioPci, Window};
use super::{feature, lock, status};

/// RAM of the machine: enough for queues, and buffers from [`BUFFERS`] on.
pub const RAM: u64 = 4 << 20;
/// Where queues begin, each [`QUEUE_SPACING`] after the other.
pub const QUEUES: u64 = 0x10_000;
pub const QUEUE_SPACING: u64 = 0x4000;
pub const BUFFERS: u64 = 0x20_0000;
/// Where messages go: vector `n` has data `n`.
pub const MESSAGES: u64 = 0xFEE0_0000;
const PATIENCE: Duration = Duration::from_secs(20);

/// What arrived at the processors.
#[derive(Default)]
pub struct Recorder {
    messages: Mutex<Vec<(u64, u32)>>,
    arrived: Condvar,
    level: AtomicBool,
}

impl InterruptFabric for Recorder {
    fn set_irq(&self, _gsi: u32, _level: bool) {}

    fn signal_msi(&self, address: u64, data: u32) {
        lock(&self.messages).push((address, data));
        self.arrived.notify_all();
    }
}

impl Line for Recorder {
    fn set(&self, level: bool) {
        self.level.store(level, Ordering::SeqCst);
    }
}

impl Recorder {
    pub fn take(&self) -> Vec<(u64, u32)> {
        std::mem::take(&mut lock(&self.messages))
    }

    pub fn level(&self) -> bool {
        self.level.load(Ordering::SeqCst)
    }

    /// Waits for a message with this data, and takes all.
    pub fn wait(&self, data: u32) -> bool {
        let arrived = |messages: &mut Vec<(u64, u32)>| !messages.iter().any(|message| message.1 == data);
        let waited = self.arrived.wait_timeout_while(lock(&self.messages), PATIENCE, arrived);
        let (mut messages, result) = waited.unwrap_or_else(std::sync::PoisonError::into_inner);
        messages.clear();
        !result.timed_out()
    }
}

/// One descriptor of a chain to be offered.
#[derive(Clone, Copy, Debug)]
pub struct Piece {
    pub gpa: u64,
    pub length: u32,
    pub writable: bool,
}

/// A piece for the device to read.
pub fn readable(gpa: u64, length: u32) -> Piece {
    Piece { gpa, length, writable: false }
}

/// A piece for the device to write.
pub fn writable(gpa: u64, length: u32) -> Piece {
    Piece { gpa, length, writable: true }
}

#[derive(Clone, Copy, Default)]
struct DriverQueue {
    layout: Layout,
    available: u16,
    used: u16,
    next_descriptor: u16,
}

/// The machine and the driver's side of its function.
pub struct Driver {
    pub memory: Arc<GuestMemory>,
    pub recorder: Arc<Recorder>,
    pub function: Arc<VirtioPci>,
    pub modern: Arc<dyn Device>,
    pub legacy: Arc<dyn Device>,
    pub vectors: Arc<dyn Device>,
    queues: Vec<DriverQueue>,
    event_index: bool,
}

impl Driver {
    /// A machine with this device, which may master the bus, and whose driver has done nothing yet.
    pub fn new(class: Arc<dyn Class>) -> Self {
        let memory = Arc::new(GuestMemory::new(&[(0, RAM)]).expect("test memory"));
        let recorder = Arc::new(Recorder::default());
        let function =
            VirtioPci::new(Arc::clone(&class), Arc::clone(&memory), recorder.clone(), recorder.clone());
        function.set_command(1 << 2);
        let region = |window| function.region(window);
        Self {
            queues: class.queues().iter().map(|_| DriverQueue::default()).collect(),
            modern: region(Window::Modern),
            legacy: region(Window::Legacy),
            vectors: region(Window::Vectors),
            memory,
            recorder,
            function,
            event_index: false,
        }
    }

    /// The same after a modern driver has set it up with `features` of its own, all queues and a vector for each.
    pub fn ready(class: Arc<dyn Class>, features: u64) -> Self {
        let mut driver = Self::new(class);
        driver.enable_messages();
        driver.negotiate(features | feature::VERSION_1);
        (0..driver.queues.len()).for_each(|queue| driver.place(queue as u16));
        driver.set_status(status::DRIVER_OK);
        driver
    }

    /// The machine is saved and restored elsewhere, with another device of the kind there: its driver goes on.
    pub fn moved_to(self, class: Arc<dyn Class>) -> Self {
        self.function.pause();
        assert_eq!(self.function.obstacle(), None);
        let state = self.function.state();
        let mut there = Self::new(class);
        there.write(0, &self.bytes(0, RAM as usize));
        there.function.pause();
        there.function.restore(&state).expect("a state of this kind");
        assert_eq!(there.function.state(), state);
        there.function.set_msix_control(1 << 15); // which is configuration space's
        there.function.go_on();
        (there.queues, there.event_index) = (self.queues.clone(), self.event_index);
        there
    }

    /// Every vector unmasked.
    pub fn enable_messages(&self) {
        for vector in 0..self.function.vectors() as u64 {
            self.vectors.write(16 * vector, 4, MESSAGES);
            self.vectors.write(16 * vector + 8, 4, vector);
            self.vectors.write(16 * vector + 12, 4, 0);
        }
        self.function.set_msix_control(1 << 15);
    }

    pub fn status(&self) -> u8 {
        self.modern.read(0x14, 1) as u8
    }

    /// Adds to the status.
    pub fn set_status(&self, bits: u8) {
        self.modern.write(0x14, 1, (self.status() | bits).into());
    }

    pub fn reset(&mut self) {
        self.modern.write(0x14, 1, 0);
        self.queues.fill(DriverQueue::default());
    }

    pub fn offered(&self) -> u64 {
        let half = |select| {
            self.modern.write(0, 4, select);
            self.modern.read(4, 4)
        };
        half(0) | half(1) << 32
    }

    /// Acknowledges and negotiates; true if the device agrees.
    pub fn negotiate(&mut self, features: u64) -> bool {
        self.set_status(status::ACKNOWLEDGE | status::DRIVER);
        for (select, value) in [(0, features & 0xFFFF_FFFF), (1, features >> 32)] {
            self.modern.write(8, 4, select);
            self.modern.write(12, 4, value);
        }
        self.event_index = features & feature::EVENT_INDEX != 0;
        self.set_status(status::FEATURES_OK);
        self.status() & status::FEATURES_OK != 0
    }

    /// Where a queue of the driver's choice is.
    pub fn layout(queue: u16, size: u16) -> Layout {
        let base = QUEUES + u64::from(queue) * QUEUE_SPACING;
        Layout { size, descriptors: base, available: base + 0x1000, used: base + 0x2000 }
    }

    pub fn queue_count(&self) -> u16 {
        self.queues.len() as u16
    }

    pub fn is_placed(&self, queue: u16) -> bool {
        self.queues[usize::from(queue)].layout.size > 0
    }

    /// Enables a queue with at most 128 descriptors, with vector `queue + 1`; 0 is the configuration's.
    pub fn place(&mut self, queue: u16) {
        self.modern.write(0x16, 2, queue.into());
        let size = (self.modern.read(0x18, 2) as u16).min(128);
        let layout = Self::layout(queue, size);
        self.place_at(queue, layout);
    }

    pub fn place_at(&mut self, queue: u16, layout: Layout) {
        self.modern.write(0x10, 2, 0);
        self.modern.write(0x16, 2, queue.into());
        self.modern.write(0x18, 2, layout.size.into());
        self.modern.write(0x1A, 2, u64::from(queue) + 1);
        for (register, gpa) in [(0x20, layout.descriptors), (0x28, layout.available), (0x30, layout.used)] {
            self.modern.write(register, 4, gpa & 0xFFFF_FFFF);
            self.modern.write(register + 4, 4, gpa >> 32);
        }
        self.modern.write(0x1C, 2, 1);
        self.queues[usize::from(queue)] = DriverQueue { layout, ..DriverQueue::default() };
    }

    /// The same through the legacy registers.
    pub fn place_legacy(&mut self, queue: u16, page: u32) {
        self.legacy.write(0x0E, 2, queue.into());
        let size = self.legacy.read(0x0C, 2) as u16;
        self.legacy.write(0x08, 4, page.into());
        let layout = Layout::legacy(size, page);
        self.queues[usize::from(queue)] = DriverQueue { layout, ..DriverQueue::default() };
    }

    pub fn write(&self, gpa: u64, data: &[u8]) {
        self.memory.write(gpa, data).expect("the driver writes to RAM");
    }

    pub fn bytes(&self, gpa: u64, length: usize) -> Vec<u8> {
        let mut out = vec![0; length];
        self.memory.read(gpa, &mut out).expect("the driver reads RAM");
        out
    }

    fn word(&self, gpa: u64) -> u16 {
        let mut out = [0; 2];
        self.memory.read(gpa, &mut out).expect("the driver reads RAM");
        u16::from_le_bytes(out)
    }

    /// Writes one descriptor.
    pub fn describe(&self, table: u64, index: u16, piece: Piece, flags: u16, next: u16) {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&piece.gpa.to_le_bytes());
        bytes[8..12].copy_from_slice(&piece.length.to_le_bytes());
        let flags = flags | if piece.writable { 2 } else { 0 };
        bytes[12..14].copy_from_slice(&flags.to_le_bytes());
        bytes[14..].copy_from_slice(&next.to_le_bytes());
        self.write(table + 16 * u64::from(index), &bytes);
    }

    /// Makes a chain available and gives its head. Descriptors are used round and round.
    pub fn offer(&mut self, queue: u16, pieces: &[Piece]) -> u16 {
        let DriverQueue { layout, next_descriptor: head, .. } = self.queues[usize::from(queue)];
        for (at, &piece) in pieces.iter().enumerate() {
            let index = (head + at as u16) % layout.size;
            let last = at + 1 == pieces.len();
            self.describe(layout.descriptors, index, piece, u16::from(!last), (index + 1) % layout.size);
        }
        self.queues[usize::from(queue)].next_descriptor = (head + pieces.len() as u16) % layout.size;
        self.make_available(queue, head);
        head
    }

    pub fn make_available(&mut self, queue: u16, head: u16) {
        // Asked for before the chain is there: a device that answers in between owes no message for what was seen already.
        if self.event_index {
            let DriverQueue { layout, used, .. } = self.queues[usize::from(queue)];
            self.write(layout.available + 4 + 2 * u64::from(layout.size), &used.to_le_bytes());
        }
        let it = &mut self.queues[usize::from(queue)];
        let (layout, at) = (it.layout, it.available);
        it.available = at.wrapping_add(1);
        let index = it.available;
        self.write(layout.available + 4 + 2 * u64::from(at % layout.size), &head.to_le_bytes());
        std::sync::atomic::fence(Ordering::SeqCst);
        self.write(layout.available + 2, &index.to_le_bytes());
    }

    /// Rings the doorbell.
    pub fn kick(&self, queue: u16) {
        self.modern.write(0x3000 + 4 * u64::from(queue), 2, queue.into());
    }

    /// What the device has given back since the last call: head and bytes written, of the next chain.
    pub fn used(&mut self, queue: u16) -> Option<(u16, u32)> {
        let DriverQueue { layout, used, .. } = self.queues[usize::from(queue)];
        if layout.size == 0 || self.word(layout.used + 2) == used {
            return None;
        }
        std::sync::atomic::fence(Ordering::SeqCst);
        let entry = self.bytes(layout.used + 4 + 8 * u64::from(used % layout.size), 8);
        self.queues[usize::from(queue)].used = used.wrapping_add(1);
        let entry = u64::from_le_bytes(entry.try_into().ok()?);
        Some((entry as u16, (entry >> 32) as u32))
    }

    /// Waits for the next chain to be given back; `None` if that takes too long or the device gave up.
    pub fn wait_used(&mut self, queue: u16) -> Option<(u16, u32)> {
        let begun = Instant::now();
        loop {
            if let Some(used) = self.used(queue) {
                return Some(used);
            }
            if begun.elapsed() > PATIENCE || self.status() & status::NEEDS_RESET != 0 {
                return self.used(queue);
            }
            std::thread::yield_now();
        }
    }

    /// Offers a chain, rings, and waits until it is given back: bytes written.
    pub fn request(&mut self, queue: u16, pieces: &[Piece]) -> Option<u32> {
        let head = self.offer(queue, pieces);
        self.kick(queue);
        self.wait_used(queue).filter(|used| used.0 == head).map(|used| used.1)
    }

    /// Waits until the device says that it needs a reset.
    pub fn wait_broken(&self) -> bool {
        let begun = Instant::now();
        while self.status() & status::NEEDS_RESET == 0 {
            if begun.elapsed() > PATIENCE {
                return false;
            }
            std::thread::yield_now();
        }
        true
    }
}
