//! The IDE function of a PIIX3: two channels at the ports that everybody knows, each with two drives.
//!
//! Spec: Intel 82371SB datasheet (290550), 2.4 and 3.3; ATA8-ACS and ATA/ATAPI-5 (registers, protocols);
//! Programming Interface for Bus Master IDE Controller 1.0. Configuration space is Python's
//! (`innkeeper.devices.ide`). Left out: timing, which has no effect.
//!
//! The guest touches a channel's registers under its lock, and never for long: what takes time happens on the
//! channel's thread.

mod bus_master;
mod channel;
mod port;
mod registers;
mod transfer;
mod worker;

use std::sync::{Arc, Mutex};

use innkeeper_bus::bus::Device;
use innkeeper_bus::interrupt::Line;
use innkeeper_bus::memory::GuestMemory;
use innkeeper_bus::state::{BadState, Fields, Value, map};

use super::Drive;
use channel::Channel;
pub use port::{BusMasterPorts, CommandPorts, ControlPort};
use worker::{Drives, Worker};

pub const CHANNELS: usize = 2;

/// The controller. Its threads end with it.
pub struct IdeController {
    channels: [Arc<Channel>; CHANNELS],
    workers: Vec<Worker>,
    drives: Vec<Drives>,
}

impl IdeController {
    /// `drives` by channel and place (master, slave); `lines` are the channels' interrupts.
    ///
    /// # Errors
    /// The host refuses a thread.
    pub fn new(
        memory: &Arc<GuestMemory>,
        lines: [Arc<dyn Line>; CHANNELS],
        drives: [[Option<Drive>; 2]; CHANNELS],
    ) -> std::io::Result<Self> {
        let mut workers = Vec::new();
        let (mut channels, mut all) = (Vec::new(), Vec::new());
        for (line, mut drives) in lines.into_iter().zip(drives) {
            for drive in drives.iter_mut().flatten() {
                drive.reset(true);
            }
            let channel = Arc::new(Channel::new(Arc::clone(memory), line, &drives));
            let any = drives.iter().any(Option::is_some);
            let drives: Drives = Arc::new(Mutex::new(drives));
            if any {
                workers.push(Worker::start(Arc::clone(&channel), Arc::clone(&drives))?);
            }
            all.push(drives);
            channels.push(channel);
        }
        let channels = channels.try_into().unwrap_or_else(|_| unreachable!("two lines, two channels"));
        Ok(Self { channels, workers, drives: all })
    }

    /// The command block of a channel: eight ports.
    pub fn command_block(&self, channel: usize) -> Arc<dyn Device> {
        Arc::new(CommandPorts(Arc::clone(&self.channels[channel])))
    }

    /// The control block, of which there is one port.
    pub fn control_block(&self, channel: usize) -> Arc<dyn Device> {
        Arc::new(ControlPort(Arc::clone(&self.channels[channel])))
    }

    /// The bus master registers of both: sixteen ports.
    pub fn bus_master(&self) -> Arc<dyn Device> {
        Arc::new(BusMasterPorts(self.channels.clone()))
    }

    /// Whether the function may reach memory (PCI command register, bit 2).
    pub fn set_master(&self, enabled: bool) {
        self.channels.iter().for_each(|channel| channel.set_master(enabled));
    }

    /// Waits until its drives have nothing to do, while the vCPUs stand still; false if the guest is in the middle of
    /// something with one.
    pub fn settle(&self) -> bool {
        self.channels.iter().all(|channel| channel.settle())
    }

    /// Registers and drives, once it has settled.
    pub fn state(&self) -> Value {
        let drives = |drives: &Drives| {
            let drives = drives.lock().expect("IDE drive lock");
            Value::List(
                drives.iter().map(|drive| drive.as_ref().map_or(Value::Nothing, Drive::state)).collect(),
            )
        };
        map([
            ("channels", Value::List(self.channels.iter().map(|channel| channel.state()).collect())),
            ("drives", Value::List(self.drives.iter().map(drives).collect())),
        ])
    }

    /// Takes on the state of another controller, once it has settled.
    ///
    /// # Errors
    /// [`BadState`] for what cannot be; it must not be used then.
    pub fn restore(&self, state: &Value) -> Result<(), BadState> {
        let mut fields = Fields::of(state)?;
        let (channels, drives) = (list(fields.value("channels")?)?, list(fields.value("drives")?)?);
        fields.end()?;
        if (channels.len(), drives.len()) != (CHANNELS, CHANNELS) {
            return Err(BadState::new("it has other channels"));
        }
        for (channel, state) in self.channels.iter().zip(channels) {
            channel.restore(state)?;
        }
        for (drives, states) in self.drives.iter().zip(drives) {
            for (drive, state) in drives.lock().expect("IDE drive lock").iter_mut().zip(list(states)?) {
                drive.as_mut().map_or(Ok(()), |drive| drive.restore(state))?;
            }
        }
        Ok(())
    }

    /// Ends its threads: commands that are under way are finished or forgotten.
    pub fn close(&mut self) {
        self.channels.iter().for_each(|channel| channel.close());
        self.workers.drain(..).for_each(Worker::join);
    }
}

fn list(value: &Value) -> Result<&[Value], BadState> {
    match value {
        Value::List(values) => Ok(values),
        _ => Err(BadState::new("it is no list")),
    }
}

impl Drop for IdeController {
    fn drop(&mut self) {
        self.close();
    }
}
