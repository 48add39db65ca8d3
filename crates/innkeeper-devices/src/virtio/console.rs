//! The console: bytes both ways, and the size of the terminal.
//!
//! Spec: virtio 1.2, 5.3. Left out: several ports on one device, and ports with names (`channel.rs`). A guest takes several devices as well, and Linux's
//! driver up to 6.1 at least reads the size of a port with columns and rows exchanged, that of a device rightly.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use innkeeper_bus::state::{BadState, Bytes, Plain, Value};

use super::class::{Activation, Class, Link, Saving, VirtQueue, read_config_bytes};
use super::lock;
use super::outlet::{MOST_WAITING, Outlet, transmit};
use super::queue::Chain;
use super::worker::Workers;

pub use super::outlet::Sink;

const KIND: u16 = 3;
const QUEUE_SIZE: u16 = 64;
const RECEIVE: u16 = 0;
const TRANSMIT: u16 = 1;
const SIZE: u64 = 1 << 0;
const EMERGENCY_WRITE: u64 = 1 << 2;
const EMERGENCY_AT: u64 = 8;
struct Receiver {
    queue: VirtQueue,
    chain: Chain,
}

#[derive(Default)]
struct Input {
    waiting: VecDeque<u8>,
    receiver: Option<Receiver>,
    device: Option<Arc<Link>>,
}

impl Input {
    fn deliver(&mut self) {
        let Some(Receiver { queue, chain }) = &mut self.receiver else { return };
        while !self.waiting.is_empty() {
            if !queue.pop(chain) {
                if queue.listen() {
                    continue;
                }
                break;
            }
            let bytes = self.waiting.make_contiguous();
            let written = chain.write(0, bytes);
            self.waiting.drain(..written);
            queue.push(chain.head(), written as u32);
        }
        queue.interrupt();
    }
}

pub struct Console {
    input: Mutex<Input>,
    outlet: Outlet,
    /// Columns, and rows in the upper half.
    size: AtomicU32,
    workers: Workers,
}

impl Console {
    /// # Errors
    /// The host has no thread for it.
    pub fn new(sink: Sink) -> std::io::Result<Self> {
        let outlet = Outlet::new("virtio-console-out", sink)?;
        let (input, size, workers) = (Mutex::default(), AtomicU32::new(0), Workers::default());
        Ok(Self { input, outlet, size, workers })
    }

    /// Types at the console; gives how many bytes there was room for.
    pub fn receive(&self, data: &[u8]) -> usize {
        let mut input = lock(&self.input);
        let taken = data.len().min(MOST_WAITING - input.waiting.len());
        input.waiting.extend(&data[..taken]);
        input.deliver();
        taken
    }

    /// The terminal has this size from now on.
    pub fn set_size(&self, columns: u16, rows: u16) {
        self.size.store(u32::from(columns) | u32::from(rows) << 16, Ordering::SeqCst);
        if let Some(device) = &lock(&self.input).device {
            device.config_changed();
        }
    }

    /// Returns when the sink has all there was, or has not taken it in `patience`.
    pub fn close(&self, patience: Duration) {
        self.outlet.close(patience);
    }
}

impl Class for Console {
    fn kind(&self) -> u16 {
        KIND
    }

    fn features(&self) -> u64 {
        SIZE | EMERGENCY_WRITE
    }

    fn queues(&self) -> Vec<u16> {
        vec![QUEUE_SIZE; 2]
    }

    fn read_config(&self, offset: u64, out: &mut [u8]) {
        let mut config = [0; 12];
        config[..4].copy_from_slice(&self.size.load(Ordering::SeqCst).to_le_bytes());
        config[4] = 1; // port
        read_config_bytes(&config, offset, out);
    }

    fn write_config(&self, offset: u64, data: &[u8]) {
        if offset == EMERGENCY_AT
            && let Some(&byte) = data.first()
        {
            self.outlet.output().put(&[byte], || true);
        }
    }

    fn activate(&self, mut driver: Activation) {
        let mut input = lock(&self.input);
        input.device = Some(Arc::clone(&driver.device));
        input.receiver = driver.take(RECEIVE.into()).map(|queue| Receiver { chain: queue.chain(), queue });
        input.deliver();
        drop(input);
        if let Some(queue) = driver.take(TRANSMIT.into()) {
            let output = Arc::clone(self.outlet.output());
            self.workers.start("virtio-console", &[TRANSMIT], &driver.device, move |bell| {
                transmit(queue, &output, &bell);
            });
        }
    }

    fn notify(&self, queue: u16) {
        match queue {
            RECEIVE => lock(&self.input).deliver(),
            _ => self.workers.ring(queue),
        }
    }

    fn reset(&self) {
        let mut input = lock(&self.input);
        (input.receiver, input.device) = (None, None);
        drop(input);
        self.workers.stop();
    }

    fn saving(&self) -> Option<&dyn Saving> {
        Some(self)
    }
}

impl Saving for Console {
    fn pause(&self) {
        self.reset(); // what was typed and not taken yet is the host's, and stays
    }

    fn state(&self) -> Value {
        Bytes(lock(&self.input).waiting.iter().copied().collect()).save()
    }

    fn restore(&self, state: &Value) -> Result<(), BadState> {
        let Bytes(waiting) = Bytes::load(state)?;
        if waiting.len() > MOST_WAITING {
            return Err(BadState::new(format!("{} bytes wait, of {MOST_WAITING} that may", waiting.len())));
        }
        lock(&self.input).waiting = waiting.into();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::virtio::testing::{BUFFERS, Driver, readable, writable};

    fn console() -> (Arc<Console>, Arc<Mutex<Vec<u8>>>) {
        let said = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&said);
        let console = Console::new(Box::new(move |bytes| lock(&heard).extend_from_slice(bytes))).unwrap();
        (Arc::new(console), said)
    }

    #[test]
    fn bytes_go_both_ways() {
        let (console, said) = console();
        let mut driver = Driver::ready(console.clone(), SIZE);
        driver.write(BUFFERS, b"hello world");
        assert_eq!(driver.request(1, &[readable(BUFFERS, 6), readable(BUFFERS + 6, 5)]), Some(0));
        assert_eq!(console.receive(b"typed"), 5);
        assert_eq!(driver.request(0, &[writable(BUFFERS, 3)]), Some(3));
        assert_eq!(driver.request(0, &[writable(BUFFERS + 3, 9)]), Some(2));
        assert_eq!(driver.bytes(BUFFERS, 5), b"typed");
        driver.modern.write(0x2008, 4, b'!'.into());
        console.close(Duration::from_secs(20));
        assert_eq!(*lock(&said), b"hello world!");
    }

    #[test]
    fn a_new_size_is_a_change_of_configuration() {
        let (console, _) = console();
        let driver = Driver::ready(console.clone(), SIZE);
        console.set_size(132, 43);
        assert!(driver.recorder.wait(0));
        assert_eq!(driver.modern.read(0x2000, 4), 43 << 16 | 132);
    }

    #[test]
    fn a_reader_who_never_reads_holds_up_no_reset_and_little_memory() {
        let (sender, waits) = std::sync::mpsc::channel::<()>();
        let waits = Mutex::new(waits);
        let stuck: Sink = Box::new(move |_| assert!(lock(&waits).recv().is_err()));
        let console = Arc::new(Console::new(stuck).unwrap());
        let mut driver = Driver::ready(console.clone(), 0);
        for _ in 0..40 {
            driver.offer(1, &[readable(BUFFERS, 4096)]);
        }
        driver.kick(1);
        driver.reset();
        assert!(console.outlet.output().waiting() <= MOST_WAITING);
        assert_eq!(console.receive(&[0; 2 * MOST_WAITING]), MOST_WAITING);
        drop(sender);
    }

    #[test]
    fn drivers_that_mean_harm_end_the_console_and_nothing_else() {
        (0..200).for_each(|seed| crate::virtio::hostile::run(console().0, seed));
    }
}
