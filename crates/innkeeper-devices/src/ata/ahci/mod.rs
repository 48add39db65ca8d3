//! An AHCI controller as in an Intel ICH9: ports with one drive each, commands in memory, queues.
//!
//! Spec: Serial ATA AHCI 1.3.1; FISes are Serial ATA 3.0's. Configuration space is Python's
//! (`innkeeper.devices.ata.ahci`). Left out: port multipliers, hot plugging, power management of links, command
//! completion coalescing, several MSI messages.
//!
//! The guest touches a port's registers under its lock; commands are done by the port's thread.

mod fis;
mod port;
mod registers;
mod worker;

use std::sync::{Arc, Mutex};

use innkeeper_bus::bus::Device;
use innkeeper_bus::interrupt::{InterruptFabric, Line};
use innkeeper_bus::memory::GuestMemory;
use innkeeper_bus::plain_struct;
use innkeeper_bus::state::{BadState, Fields, Plain, Value, map};

use super::Drive;
use port::Port;
use worker::{Held, Worker};

pub const MOST_PORTS: usize = 6;
/// Bytes of its memory region.
pub const REGION: u64 = 0x1000;
const PORTS: u64 = 0x100;
const PORT: u64 = 0x80;

mod hba {
    pub const CAPABILITIES: u64 = 0x00;
    pub const CONTROL: u64 = 0x04;
    pub const INTERRUPT_STATUS: u64 = 0x08;
    pub const PORTS_IMPLEMENTED: u64 = 0x0C;
    pub const VERSION: u64 = 0x10;
}

/// GHC.
const CONTROL_RESET: u32 = 1 << 0;
const CONTROL_INTERRUPTS: u32 = 1 << 1;
const CONTROL_AHCI: u32 = 1 << 31;
/// CAP: addresses of 64 bits, queues, the BSY override, AHCI alone, 3 Gbit/s, blocks of PIO, 32 slots.
const CAPABILITIES: u32 =
    1 << 31 | 1 << 30 | 1 << 24 | 1 << 18 | 2 << 20 | 1 << 15 | (registers::SLOTS as u32 - 1) << 8;
const VERSION_1_3: u32 = 0x0001_0300;

/// How interrupts leave the controller, and why.
#[derive(Default)]
struct Interrupts {
    enabled: bool,
    /// The register, and the ports that have a cause.
    status: u32,
    causes: u32,
    /// Address and data, if the guest turned MSI on.
    message: Option<(u64, u32)>,
    /// The guest has turned the pin off.
    pin_off: bool,
    level: bool,
}

/// What the ports share.
pub struct Shared {
    pub memory: Arc<GuestMemory>,
    fabric: Arc<dyn InterruptFabric>,
    pin: Arc<dyn Line>,
    interrupts: Mutex<Interrupts>,
}

plain_struct!(Interrupts { enabled, status, causes, message, pin_off, level });

impl Shared {
    fn with<T>(&self, change: impl FnOnce(&mut Interrupts) -> T) -> T {
        change(&mut self.interrupts.lock().expect("AHCI interrupt lock"))
    }

    /// A port has a cause for an interrupt, or none any more. Called whenever either may have become so.
    pub fn cause(&self, port: usize, active: bool) {
        self.with(|interrupts| {
            let bit = 1 << port;
            if active {
                interrupts.causes |= bit;
                interrupts.status |= bit;
                self.deliver(interrupts);
            } else {
                interrupts.causes &= !bit;
            }
        });
    }

    /// Sends a message if anything is pending, or drives the pin.
    fn deliver(&self, interrupts: &mut Interrupts) {
        let pending = interrupts.enabled && interrupts.status != 0;
        if let Some((address, data)) = interrupts.message.filter(|_| pending) {
            self.fabric.signal_msi(address, data);
        }
        let level = pending && interrupts.message.is_none() && !interrupts.pin_off;
        if std::mem::replace(&mut interrupts.level, level) != level {
            self.pin.set(level);
        }
    }
}

/// The controller. Its threads end with it.
pub struct AhciController {
    registers: Arc<Registers>,
    workers: Vec<Worker>,
    /// By port.
    drives: Vec<Option<Held>>,
}

/// Its memory region.
struct Registers {
    shared: Arc<Shared>,
    ports: Vec<Arc<Port>>,
}

impl AhciController {
    /// # Errors
    /// The host refuses a thread.
    pub fn new(
        memory: &Arc<GuestMemory>,
        fabric: Arc<dyn InterruptFabric>,
        pin: Arc<dyn Line>,
        drives: [Option<Drive>; MOST_PORTS],
    ) -> std::io::Result<Self> {
        let interrupts = Mutex::default();
        let shared = Arc::new(Shared { memory: Arc::clone(memory), fabric, pin, interrupts });
        let (mut ports, mut workers, mut held) = (Vec::new(), Vec::new(), Vec::new());
        for (index, drive) in drives.into_iter().enumerate() {
            let port = Arc::new(Port::new(index, Arc::clone(&shared), drive.as_ref()));
            let drive = drive.map(|mut drive| {
                drive.reset(true);
                Held::new(Mutex::new((drive, false)))
            });
            if let Some(drive) = &drive {
                workers.push(Worker::start(Arc::clone(&port), Arc::clone(drive))?);
            }
            held.push(drive);
            ports.push(port);
        }
        Ok(Self { registers: Arc::new(Registers { shared, ports }), workers, drives: held })
    }

    pub fn region(&self) -> Arc<dyn Device> {
        self.registers.clone()
    }

    /// Whether the function may reach memory (PCI command register, bit 2).
    pub fn set_master(&self, enabled: bool) {
        self.registers.ports.iter().for_each(|port| port.set_master(enabled));
    }

    /// The PCI command register's INTx disable, and what MSI is told, if it is on.
    pub fn set_interrupts(&self, pin_off: bool, message: Option<(u64, u32)>) {
        let shared = &self.registers.shared;
        shared.with(|interrupts| {
            (interrupts.pin_off, interrupts.message) = (pin_off, message);
            shared.deliver(interrupts);
        });
    }

    /// Waits until its drives have nothing to do, while the vCPUs stand still; false if that takes too long.
    pub fn settle(&self) -> bool {
        self.registers.ports.iter().all(|port| port.settle())
    }

    /// Registers and drives, once it has settled.
    pub fn state(&self) -> Value {
        let drive = |drive: &Option<Held>| {
            drive.as_ref().map_or(Value::Nothing, |held| {
                let (drive, resetting) = &*held.lock().expect("AHCI drive lock");
                map([("drive", drive.state()), ("resetting", resetting.save())])
            })
        };
        map([
            ("interrupts", self.registers.shared.with(|interrupts| interrupts.save())),
            ("ports", Value::List(self.registers.ports.iter().map(|port| port.state()).collect())),
            ("drives", Value::List(self.drives.iter().map(drive).collect())),
        ])
    }

    /// Takes on the state of another controller, once it has settled.
    ///
    /// # Errors
    /// [`BadState`] for what cannot be; it must not be used then.
    pub fn restore(&self, state: &Value) -> Result<(), BadState> {
        let mut fields = Fields::of(state)?;
        let saved: Interrupts = fields.take("interrupts")?;
        let (Value::List(ports), Value::List(drives)) = (fields.value("ports")?, fields.value("drives")?)
        else {
            return Err(BadState::new("it has no ports"));
        };
        fields.end()?;
        if (ports.len(), drives.len()) != (self.registers.ports.len(), self.drives.len()) {
            return Err(BadState::new("it has other ports"));
        }
        for (held, state) in self.drives.iter().zip(drives) {
            let Some(held) = held else { continue };
            let (drive, resetting) = &mut *held.lock().expect("AHCI drive lock");
            let mut fields = Fields::of(state)?;
            drive.restore(fields.value("drive")?)?;
            *resetting = fields.take("resetting")?;
            fields.end()?;
        }
        for (port, state) in self.registers.ports.iter().zip(ports) {
            port.restore(state)?;
        }
        let shared = &self.registers.shared;
        shared.with(|interrupts| {
            *interrupts = saved;
            shared.pin.set(interrupts.level);
        });
        Ok(())
    }

    /// Ends its threads: commands that are under way are finished or forgotten.
    pub fn close(&mut self) {
        self.registers.ports.iter().for_each(|port| port.close());
        self.workers.drain(..).for_each(Worker::join);
        self.set_interrupts(true, None);
    }
}

impl Drop for AhciController {
    fn drop(&mut self) {
        self.close();
    }
}

impl Registers {
    fn read_word(&self, offset: u64) -> u32 {
        if offset >= PORTS {
            let (index, register) = ((offset - PORTS) / PORT, (offset - PORTS) % PORT);
            return self.ports.get(index as usize).map_or(0, |port| port.read(register));
        }
        match offset {
            hba::CAPABILITIES => CAPABILITIES | (self.ports.len() as u32 - 1),
            hba::CONTROL => {
                let enabled = self.shared.with(|interrupts| interrupts.enabled);
                CONTROL_AHCI | if enabled { CONTROL_INTERRUPTS } else { 0 }
            }
            hba::INTERRUPT_STATUS => self.shared.with(|interrupts| interrupts.status),
            hba::PORTS_IMPLEMENTED => (1 << self.ports.len()) - 1,
            hba::VERSION => VERSION_1_3,
            _ => 0,
        }
    }

    fn write_word(&self, offset: u64, value: u32) {
        if offset >= PORTS {
            let (index, register) = ((offset - PORTS) / PORT, (offset - PORTS) % PORT);
            if let Some(port) = self.ports.get(index as usize) {
                port.write(register, value);
            }
            return;
        }
        match offset {
            hba::CONTROL => self.write_control(value),
            hba::INTERRUPT_STATUS => self.shared.with(|interrupts| {
                interrupts.status = interrupts.status & !value | interrupts.causes;
                self.shared.deliver(interrupts);
            }),
            _ => {}
        }
    }

    fn write_control(&self, value: u32) {
        if value & CONTROL_RESET != 0 {
            self.ports.iter().for_each(|port| port.reset());
        }
        self.shared.with(|interrupts| {
            interrupts.enabled = value & CONTROL_INTERRUPTS != 0;
            if value & CONTROL_RESET != 0 {
                (interrupts.enabled, interrupts.status, interrupts.causes) = (false, 0, 0);
            }
            self.shared.deliver(interrupts);
        });
    }
}

impl Device for Registers {
    /// Narrow reads see their part of a register; wide ones two of them.
    fn read(&self, offset: u64, size: u8) -> u64 {
        let word = u64::from(self.read_word(offset & !3));
        if size == 8 {
            return word | u64::from(self.read_word((offset & !3) + 4)) << 32;
        }
        word >> (8 * (offset & 3))
    }

    /// Registers are written whole: a narrow write would change what it does not mean.
    fn write(&self, offset: u64, size: u8, value: u64) {
        if offset & 3 != 0 || size < 4 {
            return;
        }
        self.write_word(offset, value as u32);
        if size == 8 {
            self.write_word(offset + 4, (value >> 32) as u32);
        }
    }
}
