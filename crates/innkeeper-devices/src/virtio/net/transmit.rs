//! From the driver's buffers to the link.
//!
//! Spec: virtio 1.2, 5.1.6.2.

use std::io::IoSlice;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use innkeeper_net::header::Gso;
use innkeeper_net::{HEADER_BYTES, Header};

use super::receive::Receiver;
use super::{CSUM, HOST_TSO4, HOST_TSO6, Shared};
use crate::virtio::class::VirtQueue;
use crate::virtio::queue::Chain;
use crate::virtio::worker::Bell;

/// Frames after which link and driver are told, even if there are more.
const BATCH: usize = 64;
/// The largest frame: an IP packet of 64 KiB, with some room.
const FRAME_LIMIT: u64 = 66_000;
const ETHERNET_BYTES: u64 = 14;

/// What a transmit queue's thread knows.
pub struct Sender {
    pub shared: Arc<Shared>,
    /// Bytes of the driver's header.
    pub header: usize,
    pub features: u64,
    /// Where to note on which pair a conversation is, if there are several.
    pub steering: Option<(Arc<Receiver>, u16)>,
}

impl Sender {
    pub fn work(&self, mut queue: VirtQueue, bell: &Bell) {
        let mut chain = queue.chain();
        while bell.wait(Duration::ZERO) {
            loop {
                queue.ignore();
                let mut batch = 0;
                while queue.pop(&mut chain) {
                    self.send(&chain);
                    queue.push(chain.head(), 0);
                    batch += 1;
                    if batch == BATCH {
                        batch = 0;
                        self.shared.cable.flush();
                        queue.interrupt();
                        if bell.ended() {
                            return;
                        }
                    }
                }
                self.shared.cable.flush();
                queue.interrupt();
                if !queue.listen() {
                    break;
                }
            }
        }
    }

    /// Sends a frame. One that makes no sense is lost.
    fn send(&self, chain: &Chain) {
        let mut header = [0; HEADER_BYTES];
        let length = chain.readable().saturating_sub(self.header as u64);
        if chain.read(0, &mut header[..self.header]) < self.header
            || !(ETHERNET_BYTES..=FRAME_LIMIT).contains(&length)
            || !self.shared.up.load(Ordering::Acquire)
        {
            return;
        }
        let Some(header) = Header::parse(&header).filter(|header| self.is_sound(header, length)) else {
            return;
        };
        if let Some((receiver, pair)) = &self.steering {
            let mut start = [0; 64];
            let count = chain.read(self.header as u64, &mut start);
            receiver.steering.sent(&start[..count], *pair);
        }
        let header = header.bytes();
        let mut slices = Vec::with_capacity(24);
        slices.push(IoSlice::new(&header));
        slices.extend(chain.readable_slices(self.header as u64, length));
        self.shared.cable.send(&slices);
    }

    /// Whether a header asks for what was agreed on, within the frame.
    fn is_sound(&self, header: &Header, length: u64) -> bool {
        let agreed = |feature| self.features & feature != 0;
        let place = u64::from(header.checksum_start) + u64::from(header.checksum_offset) + 2;
        let checksum = !header.needs_checksum || (agreed(CSUM) && place <= length);
        let segments = match header.gso {
            Gso::None => true,
            Gso::Tcp4 => agreed(HOST_TSO4) && header.needs_checksum && header.segment > 0,
            Gso::Tcp6 => agreed(HOST_TSO6) && header.needs_checksum && header.segment > 0,
            Gso::Udp => false,
        };
        checksum && segments
    }
}
