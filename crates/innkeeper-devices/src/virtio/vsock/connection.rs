//! One connection: a socket of the host's, and how much each side may still send (virtio 1.2, 5.10.6.3).

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;

use super::packet::{Header, RECEIVES_NO_MORE, SENDS_NO_MORE, op};
use crate::virtio::queue::Chain;

/// What the guest may send before the host's program takes it.
pub const ROOM: u32 = 256 << 10;

pub struct Connection {
    stream: UnixStream,
    /// The guest agreed to it.
    pub established: bool,
    /// From the guest, not taken yet.
    waiting: VecDeque<u8>,
    /// Bytes that came from the guest, went to the host, and of which the guest knows that they did; all wrap.
    received: u32,
    forwarded: u32,
    told: u32,
    /// The guest's room for what it has not read, what it has read, and what we sent.
    guest_room: u32,
    guest_forwarded: u32,
    sent: u32,
    /// We asked for credit.
    asked: bool,
    /// The guest's flags of shutting down.
    guest_done: u32,
    /// The host's program sends no more.
    host_done: bool,
    /// The host's side was told that nothing comes any more.
    shut: bool,
}

/// What became of an attempt to read.
pub enum Took {
    Bytes(u32),
    Nothing,
    End,
    Failed,
}

impl Connection {
    pub fn new(stream: UnixStream, established: bool) -> Self {
        Self {
            stream,
            established,
            waiting: VecDeque::new(),
            received: 0,
            forwarded: 0,
            told: 0,
            guest_room: 0,
            guest_forwarded: 0,
            sent: 0,
            asked: false,
            guest_done: 0,
            host_done: false,
            shut: false,
        }
    }

    pub fn descriptor(&self) -> RawFd {
        self.stream.as_raw_fd()
    }

    /// Takes what every packet of the guest's tells.
    pub fn heed(&mut self, header: &Header) {
        (self.guest_room, self.guest_forwarded) = (header.room, header.forwarded);
        self.asked = false;
    }

    fn credit(&self) -> u32 {
        self.guest_room.saturating_sub(self.sent.wrapping_sub(self.guest_forwarded))
    }

    /// Puts into a packet what every packet of ours tells.
    pub fn stamp(&mut self, header: &mut Header) {
        (header.room, header.forwarded) = (ROOM, self.forwarded);
        self.told = self.forwarded;
    }

    pub fn wants_to_send(&self) -> bool {
        self.established && !self.host_done && self.guest_done & RECEIVES_NO_MORE == 0 && self.credit() > 0
    }

    /// Whether to ask the guest for room, once.
    pub fn asks(&mut self) -> bool {
        let asks = self.established && !self.host_done && self.credit() == 0 && !self.asked;
        self.asked |= asks;
        asks
    }

    pub fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Reads from the host into a packet's data, at `offset` of the chain.
    pub fn read_into(&mut self, chain: &Chain, offset: u64) -> Took {
        match self.stream.read_vectored(&mut chain.writable_slices(offset, self.credit().into())) {
            Ok(0) => {
                self.host_done = true;
                Took::End
            }
            Ok(length) => {
                chain.wrote(offset, length as u64);
                self.sent = self.sent.wrapping_add(length as u32);
                Took::Bytes(length as u32)
            }
            Err(failed) if later(&failed) => Took::Nothing,
            Err(_) => Took::Failed,
        }
    }

    /// Greets a host's program whose connection the guest took. A socket that has no room for a line is broken.
    pub fn greet(&mut self, port: u32) -> bool {
        let line = format!("OK {port}\n");
        self.stream.write(line.as_bytes()).is_ok_and(|written| written == line.len())
    }

    /// Takes the guest's data; false if there is more than it may send.
    pub fn take(&mut self, data: &[u8]) -> bool {
        let room = ROOM - self.received.wrapping_sub(self.forwarded).min(ROOM);
        if data.len() > room as usize || self.guest_done & SENDS_NO_MORE != 0 {
            return false;
        }
        self.received = self.received.wrapping_add(data.len() as u32);
        self.waiting.extend(data);
        true
    }

    pub fn guest_shuts(&mut self, flags: u32) {
        self.guest_done |= flags & (RECEIVES_NO_MORE | SENDS_NO_MORE);
        if flags & RECEIVES_NO_MORE != 0 {
            // So that who still writes learns that nobody reads. Whoever is gone already need not.
            let _ = self.stream.shutdown(Shutdown::Read);
        }
    }

    /// Passes on what waits; false if the host's program is gone.
    pub fn flush(&mut self) -> bool {
        while !self.waiting.is_empty() {
            match self.stream.write(self.waiting.as_slices().0) {
                Ok(length) => {
                    self.waiting.drain(..length);
                    self.forwarded = self.forwarded.wrapping_add(length as u32);
                }
                Err(failed) if later(&failed) => return true,
                Err(_) => return false,
            }
        }
        if self.guest_done & SENDS_NO_MORE != 0 && !self.shut {
            self.shut = true;
            return self.stream.shutdown(Shutdown::Write).is_ok() || self.is_over();
        }
        true
    }

    /// Whether the guest should hear that there is room again.
    pub fn has_news(&self) -> bool {
        self.forwarded.wrapping_sub(self.told) >= ROOM / 4
    }

    /// The guest is done with it, and all it sent has arrived.
    pub fn is_over(&self) -> bool {
        self.guest_done == RECEIVES_NO_MORE | SENDS_NO_MORE && self.waiting.is_empty()
    }

    /// A packet that tells the guest that nothing comes from the host any more.
    pub fn farewell(&mut self, mut header: Header) -> Header {
        (header.op, header.flags) = (op::SHUTDOWN, SENDS_NO_MORE);
        self.stamp(&mut header);
        header
    }
}

pub fn later(failed: &io::Error) -> bool {
    matches!(failed.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
