//! Virtio over PCI: one device's registers, through the modern regions or the legacy one.
//!
//! Spec: virtio 1.2, 3.1 (initialization), 4.1 (PCI transport). Configuration space itself, with the capabilities
//! that lead here, is Python's: `src/innkeeper/devices/virtio/function.py`.

mod legacy;
mod modern;
mod saving;

pub use modern::{NOTIFY_MULTIPLIER, PLACES};

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use innkeeper_bus::bus::Device;
use innkeeper_bus::interrupt::{InterruptFabric, Line};
use innkeeper_bus::memory::GuestMemory;

use super::class::{Activation, Class, Link, VirtQueue};
use super::interrupts::Interrupts;
use super::queue::{Fault, Layout, Options, SplitQueue};
use super::{feature, lock, status};

/// What a driver wrote about a queue.
#[derive(Clone, Copy, Default)]
struct QueueRegisters {
    layout: Layout,
    enabled: bool,
    /// The page number of the legacy layout, if that was used.
    page: u32,
}

/// What the class does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Idle,
    /// It serves a driver of the time before version 1.
    Legacy,
    Modern,
}

#[derive(Default)]
struct Registers {
    device_feature_select: u32,
    driver_feature_select: u32,
    driver_features: u64,
    queue_select: u16,
    queues: Vec<QueueRegisters>,
    stage: Stage,
    /// It does nothing of that now, but will go on.
    paused: bool,
}

/// One virtio function on PCI, from one power-on to the next.
pub struct VirtioPci {
    class: Arc<dyn Class>,
    memory: Arc<GuestMemory>,
    link: Arc<Link>,
    limits: Vec<u16>,
    registers: Mutex<Registers>,
    /// The class is active: doorbells reach it.
    active: AtomicBool,
    over: AtomicBool,
}

/// The regions that base address registers place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// Of I/O ports, for drivers of the time before version 1.
    Legacy,
    /// Vector table and pending bits.
    Vectors,
    /// All that version 1 has.
    Modern,
}

struct Region {
    function: Arc<VirtioPci>,
    window: Window,
}

impl VirtioPci {
    /// The device after power-on.
    pub fn new(
        class: Arc<dyn Class>,
        memory: Arc<GuestMemory>,
        fabric: Arc<dyn InterruptFabric>,
        line: Arc<dyn Line>,
    ) -> Arc<Self> {
        let limits = class.queues();
        let link = Arc::new(Link::new(Interrupts::new(fabric, line, limits.len())));
        let function = Self {
            class,
            memory,
            link,
            registers: Mutex::new(fresh(&limits)),
            limits,
            active: AtomicBool::new(false),
            over: AtomicBool::new(false),
        };
        function.class.reset();
        Arc::new(function)
    }

    pub fn region(self: &Arc<Self>, window: Window) -> Arc<dyn Device> {
        Arc::new(Region { function: Arc::clone(self), window })
    }

    /// In bytes, a power of two.
    pub fn region_size(&self, window: Window) -> u64 {
        match window {
            Window::Legacy => legacy::BYTES,
            Window::Vectors => 2 * self.pending_at(),
            Window::Modern => modern::bytes(self.limits.len()),
        }
    }

    /// Where the pending bits begin in the region of the vectors.
    pub fn pending_at(&self) -> u64 {
        (16 * self.vectors() as u64).next_power_of_two().max(2048)
    }

    pub fn vectors(&self) -> usize {
        self.link.interrupts.vectors()
    }

    /// The command register of configuration space was written.
    pub fn set_command(&self, command: u16) {
        let before = self.link.interrupts.is_master();
        self.link.interrupts.set_command(command);
        if !before && self.link.interrupts.is_master() {
            (0..self.limits.len()).for_each(|queue| self.notify(queue as u64)); // they were told in vain
        }
    }

    /// The message control of the MSI-X capability was written.
    pub fn set_msix_control(&self, control: u16) {
        self.link.interrupts.set_msix_control(control);
    }

    /// The board is taken apart: returns once the device does not touch the guest's memory any more.
    pub fn shut_down(&self) {
        if !self.over.swap(true, Ordering::AcqRel) {
            self.reset(&mut lock(&self.registers));
        }
    }

    fn notify(&self, queue: u64) {
        if self.active.load(Ordering::Acquire)
            && let Ok(queue) = u16::try_from(queue)
            && usize::from(queue) < self.limits.len()
        {
            self.class.notify(queue);
        }
    }

    fn status(&self) -> u8 {
        self.link.status.load(Ordering::Acquire)
    }

    fn offered(&self, legacy: bool) -> u64 {
        let all = feature::TRANSPORT | self.class.features();
        if legacy { all & u64::from(u32::MAX) } else { all & !feature::ANY_LAYOUT }
    }

    /// The driver writes the device status. Zero resets; what was set otherwise stays set until then.
    fn set_status(&self, registers: &mut Registers, value: u8, legacy: bool) {
        if value == 0 {
            return self.reset(registers);
        }
        let before = self.status();
        let mut added = value & !before & !status::NEEDS_RESET;
        if added & status::FEATURES_OK != 0 && !self.acceptable(registers.driver_features) {
            added &= !status::FEATURES_OK; // the driver reads that its choice will not do
        }
        let now = self.link.status.fetch_or(added, Ordering::AcqRel) | added;
        if added & status::DRIVER_OK != 0 && !self.over.load(Ordering::Acquire) {
            if legacy || now & status::FEATURES_OK != 0 {
                self.activate(registers, legacy);
            } else {
                self.link.needs_reset();
            }
        }
    }

    fn acceptable(&self, features: u64) -> bool {
        features & !self.offered(false) == 0 && features & feature::VERSION_1 != 0
    }

    fn reset(&self, registers: &mut Registers) {
        self.active.store(false, Ordering::Release);
        self.class.reset();
        *registers = Registers { paused: registers.paused, ..fresh(&self.limits) };
        self.link.mend(); // and forgets where the queues were
        self.link.interrupts.reset();
        self.link.status.store(0, Ordering::Release);
    }

    fn activate(&self, registers: &mut Registers, legacy: bool) {
        registers.stage = if legacy { Stage::Legacy } else { Stage::Modern };
        if !registers.paused {
            self.start(registers);
        }
    }

    /// Has the class serve its driver, from where each queue is.
    fn start(&self, registers: &Registers) {
        let legacy = registers.stage == Stage::Legacy;
        let features = registers.driver_features & self.offered(legacy);
        match self.open_queues(registers, features) {
            Ok(queues) => {
                let memory = Arc::clone(&self.memory);
                let device = Arc::clone(&self.link);
                // First this: a doorbell that comes meanwhile finds no worker yet, or one that has yet to look.
                self.active.store(true, Ordering::Release);
                self.class.activate(Activation { memory, features, queues, device });
            }
            Err(_fault) => self.link.needs_reset(),
        }
    }

    fn open_queues(&self, registers: &Registers, features: u64) -> Result<Vec<Option<VirtQueue>>, Fault> {
        let options = Options {
            indirect: features & feature::INDIRECT_DESCRIPTORS != 0,
            event_index: features & feature::EVENT_INDEX != 0,
        };
        let open = |(number, queue): (usize, &QueueRegisters)| {
            if !queue.enabled {
                return Ok(None);
            }
            let split = SplitQueue::new(&self.memory, queue.layout, self.limits[number], options)?;
            let split = split.at(self.link.place(number));
            Ok(Some(VirtQueue::new(split, number as u16, Arc::clone(&self.link))))
        };
        registers.queues.iter().enumerate().map(open).collect()
    }

    /// The selected queue, to be written: `None` if there is no such queue, or the driver said that it is ready.
    fn writable_queue<'a>(&self, registers: &'a mut Registers) -> Option<&'a mut QueueRegisters> {
        let open = self.status() & status::DRIVER_OK == 0;
        registers.queues.get_mut(usize::from(registers.queue_select)).filter(|_| open)
    }

    /// Device-specific configuration, as a little-endian number.
    fn read_class_config(&self, offset: u64, size: u8) -> u64 {
        let mut bytes = [0; 8];
        self.class.read_config(offset, &mut bytes[..usize::from(size.min(8))]);
        u64::from_le_bytes(bytes)
    }

    fn write_class_config(&self, offset: u64, size: u8, value: u64) {
        self.class.write_config(offset, &value.to_le_bytes()[..usize::from(size.min(8))]);
    }
}

fn fresh(limits: &[u16]) -> Registers {
    let queue =
        |&size| QueueRegisters { layout: Layout { size, ..Layout::default() }, ..QueueRegisters::default() };
    Registers { queues: limits.iter().map(queue).collect(), ..Registers::default() }
}

impl Device for Region {
    fn read(&self, offset: u64, size: u8) -> u64 {
        let function = &self.function;
        match self.window {
            Window::Legacy => function.read_legacy(offset, size),
            Window::Vectors => function.link.interrupts.read_table(offset, size, function.pending_at()),
            Window::Modern => function.read_modern(offset, size),
        }
    }

    fn write(&self, offset: u64, size: u8, value: u64) {
        let function = &self.function;
        match self.window {
            Window::Legacy => function.write_legacy(offset, size, value),
            Window::Vectors => {
                function.link.interrupts.write_table(offset, size, value, function.pending_at())
            }
            Window::Modern => function.write_modern(offset, size, value),
        }
    }
}

impl Drop for VirtioPci {
    fn drop(&mut self) {
        self.shut_down();
    }
}
