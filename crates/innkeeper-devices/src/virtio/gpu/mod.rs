//! A graphics device for two dimensions with one monitor, which tells its driver when viewers want another size.
//!
//! Spec: virtio 1.2, 5.7. Left out: 3D (virgl), blob resources, UUIDs, contexts, more monitors, and the pointer's place,
//! as viewers draw the pointer where their own is.
//!
//! A driver keeps pictures as resources on the host, has parts of them transferred from its memory, and flushes what
//! shall be seen: only then does the picture of the viewers change. One thread serves both queues.

mod commands;
mod front;
mod protocol;
mod resource;
mod saving;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use innkeeper_display::bells::{Bell, Bells};
use innkeeper_display::{Cursor, Frame, Rect, Screen};

use super::class::{Activation, Class, Link, Saving, read_config_bytes};
use super::lock;
use super::queue::Chain;
use super::worker::Workers;
use crate::monitor::edid;
use commands::Commands;
use front::Front;
use saving::Saved;

const KIND: u16 = 16;
const CONTROL: u16 = 0;
const CURSOR: u16 = 1;
const QUEUE_SIZES: [u16; 2] = [256, 16];
const EDID: u64 = 1 << 1;

/// In `events_read`: what GET_DISPLAY_INFO says is new.
const DISPLAY_CHANGED: u32 = 1;
const EVENTS_CLEAR: u64 = 4;
const SCANOUTS: u32 = 1;

#[derive(Default)]
struct Monitor {
    size: (u32, u32),
    /// `events_read`.
    events: u32,
    /// The driver that hears of them.
    device: Option<Arc<Link>>,
    /// It does not hear of anything just now.
    paused: bool,
    /// It has yet to hear of one.
    missed: bool,
}

/// What a paused device goes on with.
#[derive(Default)]
enum Kept {
    #[default]
    Nothing,
    Commands(Box<Commands>),
    /// Of another process.
    Saved(Box<Saved>),
}

/// What the worker shares with viewers and registers.
struct Shared {
    monitor: Mutex<Monitor>,
    front: Mutex<Front>,
    bells: Bells,
}

pub struct Gpu {
    shared: Arc<Shared>,
    workers: Workers,
    kept: Arc<Mutex<Kept>>,
}

impl Default for Gpu {
    fn default() -> Self {
        let monitor = Mutex::new(Monitor { size: edid::PREFERRED, ..Monitor::default() });
        Self {
            shared: Arc::new(Shared { monitor, front: Mutex::default(), bells: Bells::default() }),
            workers: Workers::default(),
            kept: Arc::default(),
        }
    }
}

impl Gpu {
    /// What the driver has made: nothing yet, or what there was before a pause.
    fn commands(&self, driver: &Activation) -> Commands {
        let new = || Commands::new(Arc::clone(&driver.memory), Arc::clone(&self.shared), driver.has(EDID));
        match std::mem::take(&mut *lock(&self.kept)) {
            Kept::Commands(commands) => *commands,
            Kept::Saved(saved) => saved.put_into(new()).unwrap_or_else(|_refused| {
                driver.device.needs_reset(); // its pictures lay where there is no memory
                new()
            }),
            Kept::Nothing => {
                lock(&self.shared.front).restart();
                new()
            }
        }
    }
}

impl Class for Gpu {
    fn kind(&self) -> u16 {
        KIND
    }

    fn features(&self) -> u64 {
        EDID
    }

    fn queues(&self) -> Vec<u16> {
        QUEUE_SIZES.to_vec()
    }

    fn read_config(&self, offset: u64, out: &mut [u8]) {
        let events = lock(&self.shared.monitor).events;
        let words = [events, 0, SCANOUTS, 0]; // no capability sets: those are 3D's
        let config: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        read_config_bytes(&config, offset, out);
    }

    fn write_config(&self, offset: u64, data: &[u8]) {
        if offset == EVENTS_CLEAR
            && let Some(&[a, b, c, d]) = data.get(..4)
        {
            lock(&self.shared.monitor).events &= !u32::from_le_bytes([a, b, c, d]);
        }
    }

    fn activate(&self, mut driver: Activation) {
        let mut commands = Box::new(self.commands(&driver));
        self.shared.bells.ring();
        let mut monitor = lock(&self.shared.monitor);
        monitor.device = Some(Arc::clone(&driver.device));
        let missed = std::mem::take(&mut monitor.missed);
        monitor.paused = false;
        monitor.events |= if missed { DISPLAY_CHANGED } else { 0 };
        drop(monitor);
        let (memory, shared) = (Arc::clone(&driver.memory), Arc::clone(&self.shared));
        let kept = Arc::clone(&self.kept);
        let (mut control, mut cursor) = (driver.take(CONTROL.into()), driver.take(CURSOR.into()));
        self.workers.start("virtio-gpu", &[CONTROL, CURSOR], &driver.device, move |bell| {
            let mut chain = Chain::new(&memory);
            while bell.wait(Duration::ZERO) {
                if let Some(queue) = &mut control {
                    queue.drain(&mut chain, |chain| {
                        let written = commands.control(chain);
                        shared.bells.ring();
                        written
                    });
                }
                if let Some(queue) = &mut cursor {
                    queue.drain(&mut chain, |chain| {
                        let written = commands.cursor(chain);
                        shared.bells.ring();
                        written
                    });
                }
            }
            *lock(&kept) = Kept::Commands(commands);
        });
        if missed {
            driver.device.config_changed();
        }
    }

    fn notify(&self, queue: u16) {
        self.workers.ring(queue);
    }

    fn reset(&self) {
        self.workers.stop();
        *lock(&self.kept) = Kept::Nothing;
        let mut monitor = lock(&self.shared.monitor);
        *monitor = Monitor { size: monitor.size, ..Monitor::default() };
    }

    fn saving(&self) -> Option<&dyn Saving> {
        Some(self)
    }
}

impl Screen for Gpu {
    fn refresh(&self, frame: &mut Frame) -> Vec<Rect> {
        lock(&self.shared.front).refresh(frame)
    }

    fn cursor(&self) -> Option<(u64, Cursor)> {
        lock(&self.shared.front).cursor()
    }

    fn rest(&self, bell: &Bell) -> Duration {
        self.shared.bells.hang(bell);
        Duration::MAX
    }

    fn prefer(&self, width: u32, height: u32) {
        let size = edid::fitted(width, height);
        let mut monitor = lock(&self.shared.monitor);
        if std::mem::replace(&mut monitor.size, size) == size {
            return;
        }
        let Some(device) = monitor.device.clone() else {
            monitor.missed = monitor.paused;
            return;
        };
        monitor.events |= DISPLAY_CHANGED;
        drop(monitor);
        device.config_changed();
    }
}
