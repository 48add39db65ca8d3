//! What a connection sends to the guest: what the host's socket has, and acknowledgements.

use std::io::{self, IoSlice, Read};

use super::{Fate, Phase, Tcp, before, mss_limit};
use crate::user::Outside;
use crate::wire::{ACK, FIN, PSH, SYN, Tcp as Segment};

/// Segments that one connection sends before others have their turn.
const BURST: usize = 8;

/// What is left to do for a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Nothing until something happens.
    Idle,
    /// More, when the others have had their turn.
    More,
    /// It waits for a ring.
    Starved,
    Over,
}

impl From<Fate> for Progress {
    fn from(fate: Fate) -> Self {
        if fate == Fate::Remove { Self::Over } else { Self::Idle }
    }
}

impl Tcp {
    /// Does all that can be done now.
    pub fn pump(&mut self, outside: &mut Outside) -> Progress {
        if self.phase == Phase::Open && self.flush_held(outside).is_err() {
            return self.abort(outside).into();
        }
        let mut progress = Progress::Idle;
        if matches!(self.phase, Phase::Open | Phase::SynReceived) {
            for turn in 0.. {
                let read = match self.read_host(outside) {
                    Ok(read) => read,
                    Err(_) => return self.abort(outside).into(),
                };
                let sent = self.phase == Phase::Open && self.send_next(outside);
                if read == Taken::Starved {
                    progress = Progress::Starved;
                }
                if !sent {
                    break;
                }
                if turn == BURST {
                    progress = Progress::More;
                    break;
                }
            }
        }
        if self.ack_due {
            self.send(outside, ACK, self.next, 0, 0);
        }
        if self.is_finished() {
            self.rest(outside);
            return Progress::Idle;
        }
        // A card without room stopped us somewhere above.
        if outside.out.blocked { Progress::More } else { progress }
    }

    /// Both sides have ended, and each knows it.
    fn is_finished(&self) -> bool {
        self.phase == Phase::Open && self.fin_acked && self.shut && self.held.is_empty() && !self.ack_due
    }

    /// Reads from the host's socket what there is room for.
    fn read_host(&mut self, outside: &mut Outside) -> io::Result<Taken> {
        while self.readable && !self.host_done {
            let Some(mut socket) = self.socket.as_ref() else { return Ok(Taken::Done) };
            let Some(room) = self.outgoing.contiguous_room(&mut outside.pool) else {
                return Ok(Taken::Starved);
            };
            if room.is_empty() {
                return Ok(Taken::Done);
            }
            let wanted = room.len();
            let read = socket.read(room);
            self.outgoing.filled(&mut outside.pool, *read.as_ref().unwrap_or(&0));
            match read {
                Ok(0) => self.host_done = true,
                Ok(count) if count < wanted => break, // as good as empty, and its next edge will tell
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.readable = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Taken::Done)
    }

    /// Sends the next segment, if there is one and the guest's window has room. Tells whether it did.
    fn send_next(&mut self, outside: &mut Outside) -> bool {
        let flight = self.next.wrapping_sub(self.una) as usize;
        if self.fin_acked || flight > self.outgoing.len() {
            return false;
        }
        let waiting = self.outgoing.len() - flight;
        let allowed = (self.window as usize).saturating_sub(flight);
        let length = waiting.min(allowed).min(outside.out.largest_segment(self.guest.is_ipv4(), self.mss));
        let last = length == waiting && self.host_done;
        if length == 0 && !last {
            if waiting > 0 && self.deadline.is_none() {
                self.arm(outside); // a window that opens again could get lost: it is probed
            }
            return false;
        }
        let mut flags = ACK;
        flags |= if length == waiting { PSH } else { 0 };
        flags |= if last { FIN } else { 0 };
        if !self.send(outside, flags, self.next, flight, length) {
            return false;
        }
        self.fin_sent |= last;
        self.next = self.next.wrapping_add(length as u32 + u32::from(last));
        if before(self.sent, self.next) {
            self.sent = self.next;
        }
        if self.deadline.is_none() {
            self.arm(outside);
        }
        true
    }

    /// Sends the first of what was not acknowledged; a byte if the window is shut.
    pub(super) fn send_again(&mut self, outside: &mut Outside) {
        if self.outgoing.is_empty() || self.window > 0 {
            while self.send_next(outside) {}
            return;
        }
        if self.send(outside, ACK | PSH, self.una, 0, 1) {
            // Whether the guest takes it or not, it answers. If it takes it, that is the byte's acknowledgement.
            if before(self.sent, self.una.wrapping_add(1)) {
                self.sent = self.una.wrapping_add(1);
            }
            self.next = self.una;
        }
    }

    /// SYN, or SYN and ACK, as the phase is.
    pub(super) fn send_syn(&mut self, outside: &mut Outside) {
        let answers = self.phase == Phase::SynReceived;
        let segment = Segment {
            source: self.remote.port(),
            destination: self.guest.port(),
            sequence: self.una,
            acknowledgement: if answers { self.expected } else { 0 },
            flags: if answers { SYN | ACK } else { SYN },
            window: u16::MAX, // a SYN's is never scaled
            mss: Some(mss_limit(self.guest.is_ipv4()) as u16),
            scale: (!answers || self.our_scale > 0).then_some(self.our_scale),
        };
        if answers {
            self.edge = self.expected.wrapping_add(u16::MAX.into());
        }
        let (from, to) = (self.remote.ip(), self.guest.ip());
        outside.out.tcp(from, to, &segment, [IoSlice::new(&[]); 2], self.mss);
        self.next = self.una.wrapping_add(1);
        self.sent = self.next;
        if self.deadline.is_none() {
            self.arm(outside);
        }
    }

    /// Sends `length` of the outgoing bytes from `from` on, with the acknowledgement of all that came.
    pub(super) fn send(
        &mut self,
        outside: &mut Outside,
        flags: u8,
        sequence: u32,
        from: usize,
        length: usize,
    ) -> bool {
        let window = self.window_to_tell();
        let segment = Segment {
            source: self.remote.port(),
            destination: self.guest.port(),
            sequence,
            acknowledgement: if flags & ACK == 0 { 0 } else { self.expected },
            flags,
            window: (window >> self.our_scale) as u16,
            mss: None,
            scale: None,
        };
        let payload = self.outgoing.slices(from, length);
        if !outside.out.tcp(self.remote.ip(), self.guest.ip(), &segment, payload, self.mss) {
            return false;
        }
        self.edge = self.expected.wrapping_add(window);
        self.ack_due = false;
        true
    }
}

/// How reading from the host ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taken {
    Done,
    Starved,
}
