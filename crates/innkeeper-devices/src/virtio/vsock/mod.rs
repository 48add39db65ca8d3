//! Sockets between guest and host: the guest's vsock ports on one side, Unix sockets on the other.
//!
//! Spec: virtio 1.2, 5.10; the host's side as Firecracker and Cloud Hypervisor have it: whoever connects to PATH and
//! says `CONNECT PORT` is connected to that port of the guest's and told `OK` with the port it comes from; what the
//! guest connects to at port P of the host (CID 2) is `PATH_P`. Left out: datagrams and sequenced packets.
//!
//! A pause leaves connections as they are. In a machine that is restored elsewhere they are gone, and its guest hears so
//! (5.10.6.7).

mod connection;
mod packet;
mod switch;
mod sys;

use std::io;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use innkeeper_bus::state::{BadState, Fields, Plain, Value, map};

use super::class::{Activation, Class, Saving, read_config_bytes};
use super::lock;
use super::worker::Workers;
use switch::{Queues, Switch, Traffic};

const KIND: u16 = 19;
const QUEUE_SIZE: u16 = 128;
const RECEIVE: usize = 0;
const TRANSMIT: usize = 1;
const EVENT: usize = 2;

/// What outlives a driver.
struct Host {
    /// The guest's address.
    cid: u64,
    path: PathBuf,
    listener: UnixListener,
    wake: sys::Wake,
}

pub struct Vsock {
    host: Arc<Host>,
    workers: Workers,
    /// A driver has been active: whatever was connected is not any more.
    used: AtomicBool,
    /// What was under way when the device was paused.
    kept: Arc<Mutex<Option<Traffic>>>,
}

impl Vsock {
    /// `listener` is the one at `path`.
    ///
    /// # Errors
    /// The host has no descriptor left.
    pub fn new(cid: u32, path: PathBuf, listener: UnixListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let host = Arc::new(Host { cid: cid.into(), path, listener, wake: sys::Wake::new()? });
        Ok(Self { host, workers: Workers::default(), used: AtomicBool::new(false), kept: Arc::default() })
    }
}

impl Class for Vsock {
    fn kind(&self) -> u16 {
        KIND
    }

    fn features(&self) -> u64 {
        0
    }

    fn queues(&self) -> Vec<u16> {
        vec![QUEUE_SIZE; 3]
    }

    fn read_config(&self, offset: u64, out: &mut [u8]) {
        read_config_bytes(&self.host.cid.to_le_bytes(), offset, out);
    }

    fn activate(&self, mut driver: Activation) {
        let (Some(receive), Some(transmit)) = (driver.take(RECEIVE), driver.take(TRANSMIT)) else { return };
        let queues = Queues { chain: receive.chain(), receive, transmit, event: driver.take(EVENT) };
        let lost = self.used.swap(true, Ordering::SeqCst);
        let traffic = lock(&self.kept).take().unwrap_or_else(|| Traffic::none(lost));
        let switch = Switch::new(Arc::clone(&self.host), queues, traffic);
        let kept = Arc::clone(&self.kept);
        self.host.wake.set_end(false);
        self.workers.start("virtio-vsock", &[], &driver.device, move |_| {
            let traffic = switch.run();
            *lock(&kept) = Some(traffic);
        });
    }

    fn notify(&self, _queue: u16) {
        self.host.wake.ring();
    }

    fn reset(&self) {
        self.pause();
        *lock(&self.kept) = None;
    }

    fn saving(&self) -> Option<&dyn Saving> {
        Some(self)
    }
}

impl Saving for Vsock {
    fn pause(&self) {
        self.host.wake.set_end(true);
        self.workers.stop();
    }

    fn state(&self) -> Value {
        map([("next_port", lock(&self.kept).as_ref().map(Traffic::next_port).save())])
    }

    fn restore(&self, state: &Value) -> Result<(), BadState> {
        let mut fields = Fields::of(state)?;
        let next_port: Option<u32> = fields.take("next_port")?;
        fields.end()?;
        *lock(&self.kept) = next_port.map(Traffic::elsewhere).transpose()?;
        self.used.store(next_port.is_some(), Ordering::SeqCst);
        Ok(())
    }
}

impl Drop for Vsock {
    fn drop(&mut self) {
        self.reset();
    }
}

#[cfg(test)]
mod tests;
