//! The entropy device: fills the driver's buffers with the host's random bytes.
//!
//! Spec: virtio 1.2, 5.4.

use innkeeper_bus::state::{BadState, Plain, Value};

use super::class::{Activation, Class, Saving, read_config_bytes};
use super::queue::{Chain, Fault};
use super::worker::Workers;
use std::time::Duration;

const KIND: u16 = 4;
const QUEUE_SIZE: u16 = 64;
/// A driver that asks for more gets less: it may not keep a thread busy for seconds.
const MOST_BYTES: u64 = 64 << 10;

#[derive(Default)]
pub struct Rng {
    workers: Workers,
}

impl Class for Rng {
    fn kind(&self) -> u16 {
        KIND
    }

    fn features(&self) -> u64 {
        0
    }

    fn queues(&self) -> Vec<u16> {
        vec![QUEUE_SIZE]
    }

    fn read_config(&self, offset: u64, out: &mut [u8]) {
        read_config_bytes(&[], offset, out);
    }

    fn activate(&self, mut driver: Activation) {
        let Some(mut queue) = driver.take(0) else { return };
        let mut chain = queue.chain();
        self.workers.start("virtio-rng", &[0], &driver.device, move |bell| {
            while bell.wait(Duration::ZERO) {
                queue.drain(&mut chain, fill);
            }
        });
    }

    fn notify(&self, queue: u16) {
        self.workers.ring(queue);
    }

    fn reset(&self) {
        self.workers.stop();
    }

    fn saving(&self) -> Option<&dyn Saving> {
        Some(self)
    }
}

impl Saving for Rng {
    fn pause(&self) {
        self.reset();
    }

    fn state(&self) -> Value {
        Value::Nothing
    }

    fn restore(&self, state: &Value) -> Result<(), BadState> {
        Option::<bool>::load(state).map(drop)
    }
}

fn fill(chain: &Chain) -> Result<u32, Fault> {
    let mut bytes = vec![0; chain.writable().min(MOST_BYTES) as usize];
    let mut done = 0;
    while done < bytes.len() {
        let rest = &mut bytes[done..];
        // SAFETY: the buffer is ours and as long as we say.
        let got = unsafe { libc::getrandom(rest.as_mut_ptr().cast(), rest.len(), 0) };
        match usize::try_from(got) {
            Ok(got) => done += got,
            Err(_) if std::io::Error::last_os_error().kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => break, // no entropy on this host: the driver gets less, and never what is not random
        }
    }
    Ok(chain.write(0, &bytes[..done]) as u32)
}
