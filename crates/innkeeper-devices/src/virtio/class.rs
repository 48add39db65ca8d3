//! What a class of devices is to the transport, and what it is given when its driver is ready.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use innkeeper_bus::memory::GuestMemory;
use innkeeper_bus::state::{BadState, Value};

use super::interrupts::Interrupts;
use super::queue::{Chain, Fault, Place, SplitQueue};
use super::{feature, lock, status};

/// A device without its transport: it outlives resets and boards, and with it what it has on the host.
pub trait Class: Send + Sync {
    /// The device type (virtio 1.2, 5).
    fn kind(&self) -> u16;
    /// The device's own feature bits, beyond [`feature::TRANSPORT`].
    fn features(&self) -> u64;
    /// How many descriptors each queue may have: powers of two.
    fn queues(&self) -> Vec<u16>;
    /// Fills `out` with configuration space from `offset` on, zeroes beyond its end. May be called at any time.
    fn read_config(&self, offset: u64, out: &mut [u8]);
    /// The driver writes to configuration space. May be called at any time.
    fn write_config(&self, _offset: u64, _data: &[u8]) {}
    /// The driver is ready: from now on, what it makes available is served. Not called again before [`Self::reset`].
    fn activate(&self, driver: Activation);
    /// The driver made something available in a queue. Called from a vCPU's thread, between [`Self::activate`] and the
    /// end of [`Self::reset`]; never waits. A spurious call does no harm.
    fn notify(&self, queue: u16);
    /// What it has on the host has changed: the driver is told to look at the configuration again.
    fn changed(&self) {}
    /// Back to where [`Self::activate`] can be called. Returns once nothing of the device touches the guest's memory
    /// any more. Also called when the device is not active.
    fn reset(&self);
    /// How it is saved with its machine; `None` if it cannot be.
    fn saving(&self) -> Option<&dyn Saving> {
        None
    }
}

/// A class whose devices can be saved in the middle of their work.
pub trait Saving {
    /// Like [`Class::reset`], but requests that were begun are finished first, and the driver's settings stay. What was
    /// taken from a queue and is not given back then is taken anew, so it must be what was taken last.
    fn pause(&self);
    /// What keeps it from being saved just now, once it is paused, in words that follow the device's name and a colon.
    fn obstacle(&self) -> Option<String> {
        None
    }
    /// The driver's settings, once it is paused.
    fn state(&self) -> Value;
    /// Takes them on; [`Class::activate`] follows, if the driver was ready.
    ///
    /// # Errors
    /// [`BadState`], and nothing has changed.
    fn restore(&self, state: &Value) -> Result<(), BadState>;
}

/// What a class is given by a driver that is ready.
pub struct Activation {
    pub memory: Arc<GuestMemory>,
    /// What the driver accepted of what was offered.
    pub features: u64,
    /// By number; `None` for those that the driver does not use.
    pub queues: Vec<Option<VirtQueue>>,
    pub device: Arc<Link>,
}

impl Activation {
    pub fn has(&self, feature: u64) -> bool {
        self.features & feature != 0
    }

    /// The driver is of the time before version 1.
    pub fn is_legacy(&self) -> bool {
        !self.has(feature::VERSION_1)
    }

    /// Takes a queue, if the driver uses it.
    pub fn take(&mut self, queue: usize) -> Option<VirtQueue> {
        self.queues.get_mut(queue).and_then(Option::take)
    }
}

/// What class and transport of a device share.
pub struct Link {
    pub(super) interrupts: Interrupts,
    pub(super) status: AtomicU8,
    generation: AtomicU32,
    /// The driver broke it.
    broken: AtomicBool,
    /// How far each queue was when it was last let go of.
    places: Mutex<Vec<Place>>,
}

impl Link {
    pub(super) fn new(interrupts: Interrupts) -> Self {
        Self {
            interrupts,
            status: AtomicU8::new(0),
            generation: AtomicU32::new(0),
            broken: AtomicBool::new(false),
            places: Mutex::default(),
        }
    }

    pub(super) fn generation(&self) -> u8 {
        self.generation.load(Ordering::Acquire) as u8
    }

    /// The configuration has changed: call it after `read_config` gives what is new.
    pub fn config_changed(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
        if self.status.load(Ordering::Acquire) & status::DRIVER_OK != 0 {
            self.interrupts.signal_config();
        }
    }

    /// The driver broke the rules: nothing more is done for it until it resets the device.
    pub fn needs_reset(&self) {
        self.broken.store(true, Ordering::Release);
        let before = self.status.fetch_or(status::NEEDS_RESET, Ordering::AcqRel);
        if before & status::NEEDS_RESET == 0 && before & status::DRIVER_OK != 0 {
            self.interrupts.signal_config();
        }
    }

    pub fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Acquire)
    }

    pub(super) fn mend(&self) {
        self.broken.store(false, Ordering::Release);
        lock(&self.places).clear();
    }

    pub(super) fn place(&self, queue: usize) -> Place {
        lock(&self.places).get(queue).copied().unwrap_or_default()
    }

    pub(super) fn note_place(&self, queue: usize, place: Place) {
        let mut places = lock(&self.places);
        if places.len() <= queue {
            places.resize(queue + 1, Place::default());
        }
        places[queue] = place;
    }

    /// For a saved state: whether the driver broke it, and how often the configuration has changed.
    pub(super) fn history(&self) -> (bool, u32) {
        (self.is_broken(), self.generation.load(Ordering::Acquire))
    }

    pub(super) fn set_history(&self, (broken, generation): (bool, u32)) {
        self.broken.store(broken, Ordering::Release);
        self.generation.store(generation, Ordering::Release);
    }
}

/// A queue in use, with the way to its driver. One thread at a time has it.
pub struct VirtQueue {
    queue: SplitQueue,
    number: u16,
    device: Arc<Link>,
}

impl VirtQueue {
    pub(super) fn new(queue: SplitQueue, number: u16, device: Arc<Link>) -> Self {
        Self { queue, number, device }
    }

    pub fn number(&self) -> u16 {
        self.number
    }

    pub fn size(&self) -> u16 {
        self.queue.size()
    }

    pub fn memory(&self) -> &Arc<GuestMemory> {
        self.queue.memory()
    }

    pub fn device(&self) -> &Arc<Link> {
        &self.device
    }

    /// A chain for [`Self::pop`] to fill, again and again.
    pub fn chain(&self) -> Chain {
        Chain::new(self.memory())
    }

    /// Takes the next chain; false if there is none, or the device may not go on.
    pub fn pop(&mut self, chain: &mut Chain) -> bool {
        if self.device.is_broken() || !self.device.interrupts.is_master() {
            return false;
        }
        match self.queue.pop(chain) {
            Ok(popped) => popped,
            Err(fault) => {
                self.fail(fault);
                false
            }
        }
    }

    /// Whether something is available.
    pub fn has_more(&self) -> bool {
        self.queue.has_more()
    }

    /// Makes the chain that was popped last available again.
    pub fn undo_pop(&mut self) {
        self.queue.undo_pop();
    }

    /// Ends the device's work: the driver broke the rules.
    pub fn fail(&mut self, _fault: Fault) {
        self.device.needs_reset();
    }

    /// Gives a chain back, of which the device wrote the first `written` writable bytes.
    pub fn push(&mut self, head: u16, written: u32) {
        if !self.device.is_broken() {
            self.queue.push(head, written);
        }
    }

    /// Gives several chains back at once: the driver sees all of them or none.
    pub fn push_all(&mut self, chains: &[(u16, u32)]) {
        if self.device.is_broken() {
            return;
        }
        for (ahead, &(head, written)) in chains.iter().enumerate() {
            self.queue.stage(ahead as u16, head, written);
        }
        self.queue.publish(chains.len() as u16);
    }

    /// Interrupts the driver if it wants to hear of what was pushed. Call it after a batch.
    pub fn interrupt(&mut self) {
        if !self.device.is_broken() && self.queue.wants_interrupt() {
            self.device.interrupts.signal_queue(self.number);
        }
    }

    /// Asks for notifications of what becomes available from now on; true if there is something already.
    pub fn listen(&mut self) -> bool {
        !self.device.is_broken() && self.queue.listen() && self.device.interrupts.is_master()
    }

    /// Spares the driver notifications until [`Self::listen`].
    pub fn ignore(&mut self) {
        if !self.device.is_broken() {
            self.queue.ignore();
        }
    }

    /// Serves what is available until nothing is: `serve` is given each chain and tells how many bytes it wrote, or
    /// what is wrong with it.
    pub fn drain(&mut self, chain: &mut Chain, mut serve: impl FnMut(&Chain) -> Result<u32, Fault>) {
        loop {
            self.ignore();
            while self.pop(chain) {
                match serve(chain) {
                    Ok(written) => self.push(chain.head(), written),
                    Err(fault) => return self.fail(fault),
                }
                self.interrupt();
            }
            if !self.listen() {
                return;
            }
        }
    }
}

impl Drop for VirtQueue {
    fn drop(&mut self) {
        self.device.note_place(self.number.into(), self.queue.place());
    }
}

/// Copies what a configuration space has at `offset` into `out`, and zeroes beyond its end.
pub fn read_config_bytes(config: &[u8], offset: u64, out: &mut [u8]) {
    out.fill(0);
    let from = usize::try_from(offset).ok().and_then(|offset| config.get(offset..)).unwrap_or_default();
    let length = from.len().min(out.len());
    out[..length].copy_from_slice(&from[..length]);
}
