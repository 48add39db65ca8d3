//! A folder of the host as a 9P file system.
//!
//! Spec: virtio 1.2, device ID 9 (its feature and configuration are Linux's virtio_9p.h); 9P2000.L. Left out: extended
//! attributes, authentication, and locks between the guest and the host's programs.
//!
//! A machine that is saved keeps its guest's fids as paths, and what was open is opened again: what has vanished from
//! the folder until then cannot be, and its name is said.

mod files;
mod folder;
mod saving;
mod session;
mod sys;
mod wire;

use std::sync::{Arc, Mutex};
use std::time::Duration;

pub use folder::Folder;

use super::class::{Activation, Class, Saving, read_config_bytes};
use super::lock;
use super::queue::{Chain, Fault};
use super::worker::Workers;
use session::{MESSAGE_LIMIT, Session};

const KIND: u16 = 9;
const QUEUE_SIZE: u16 = 128;
const MOUNT_TAG: u64 = 1 << 0;

pub struct P9 {
    folder: Arc<Folder>,
    /// By which the guest mounts it.
    tag: Vec<u8>,
    workers: Workers,
    /// The session of a driver while the device is paused.
    kept: Arc<Mutex<Option<Session>>>,
}

impl P9 {
    pub fn new(folder: Folder, tag: &str) -> Self {
        let (folder, tag) = (Arc::new(folder), tag.as_bytes().to_vec());
        Self { folder, tag, workers: Workers::default(), kept: Arc::default() }
    }
}

impl Class for P9 {
    fn kind(&self) -> u16 {
        KIND
    }

    fn features(&self) -> u64 {
        MOUNT_TAG
    }

    fn queues(&self) -> Vec<u16> {
        vec![QUEUE_SIZE]
    }

    fn read_config(&self, offset: u64, out: &mut [u8]) {
        let length = self.tag.len() as u16;
        read_config_bytes(&[&length.to_le_bytes(), &self.tag[..]].concat(), offset, out);
    }

    fn activate(&self, mut driver: Activation) {
        let Some(mut queue) = driver.take(0) else { return };
        let session = lock(&self.kept).take();
        let mut session = session.unwrap_or_else(|| Session::new(Arc::clone(&self.folder)));
        let (mut chain, kept) = (queue.chain(), Arc::clone(&self.kept));
        self.workers.start("virtio-9p", &[0], &driver.device, move |bell| {
            while bell.wait(Duration::ZERO) {
                queue.drain(&mut chain, |chain| serve(&mut session, chain));
            }
            *lock(&kept) = Some(session);
        });
    }

    fn notify(&self, queue: u16) {
        self.workers.ring(queue);
    }

    fn reset(&self) {
        self.workers.stop();
        *lock(&self.kept) = None;
    }

    fn saving(&self) -> Option<&dyn Saving> {
        Some(self)
    }
}

fn serve(session: &mut Session, chain: &Chain) -> Result<u32, Fault> {
    let mut message = vec![0; chain.readable().min(MESSAGE_LIMIT.into()) as usize];
    let length = chain.read(0, &mut message);
    let room = chain.writable().min(MESSAGE_LIMIT.into()) as usize;
    let answer = session.answer(&message[..length], room).ok_or(Fault::Request)?;
    Ok(chain.write(0, &answer) as u32)
}

#[cfg(test)]
mod tests;
