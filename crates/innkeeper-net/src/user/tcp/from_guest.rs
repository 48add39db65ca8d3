//! What the guest sends on a connection: checked, acknowledged, and written to the host's socket.

use std::io;
use std::net::Shutdown;

use socket2::Socket;

use super::{Fate, Phase, Tcp, WINDOW, before};
use crate::user::Outside;
use crate::user::payload::Payload;
use crate::wire::{ACK, FIN, RST, SYN, Tcp as Segment};

/// Acknowledgements of the same byte that mean that the next ones are lost (RFC 5681, 3.2).
const DUPLICATES: u8 = 3;

impl Tcp {
    /// Takes a segment of the guest's (RFC 9293, 3.10.7). What there is to answer is sent by the next `pump`.
    pub fn segment(&mut self, header: &Segment, payload: Payload<'_>, outside: &mut Outside) -> Fate {
        match self.phase {
            Phase::Connecting if header.flags & RST != 0 => {
                self.reset_host();
                return Fate::Remove;
            }
            Phase::Connecting => return Fate::Keep, // the same SYN again, most likely
            Phase::SynSent => return self.answered(header, outside),
            Phase::TimeWait => {
                self.ack_due = header.flags & (FIN | SYN) != 0 || !payload.is_empty();
                return if header.flags & RST == 0 { Fate::Keep } else { Fate::Remove };
            }
            Phase::SynReceived | Phase::Open => {}
        }
        if header.flags & RST != 0 {
            return self.reset_by_guest(header);
        }
        if header.flags & SYN != 0 {
            self.ack_due = self.phase == Phase::Open;
            if self.phase == Phase::SynReceived {
                self.send_syn(outside);
            }
            return Fate::Keep;
        }
        if header.flags & ACK == 0 {
            return Fate::Keep;
        }
        if before(self.sent, header.acknowledgement) {
            // It acknowledges what was never sent: from another life of that connection.
            return if self.phase == Phase::SynReceived { self.abort(outside) } else { self.challenge() };
        }
        self.acknowledged(header, payload.is_empty(), outside);
        if self.phase == Phase::SynReceived {
            return Fate::Keep; // an old acknowledgement: it is not connected yet
        }
        match self.take(header, payload, outside) {
            Ok(()) => Fate::Keep,
            Err(_) => self.abort(outside),
        }
    }

    fn challenge(&mut self) -> Fate {
        self.ack_due = true;
        Fate::Keep
    }

    /// The guest answers our SYN.
    fn answered(&mut self, header: &Segment, outside: &mut Outside) -> Fate {
        let right = header.flags & ACK != 0 && header.acknowledgement == self.next;
        match (right, header.flags & RST != 0, header.flags & SYN != 0) {
            (true, true, _) => {
                self.reset_host();
                Fate::Remove
            }
            (true, false, true) => {
                self.learn(header);
                self.edge = self.expected;
                (self.una, self.tries, self.deadline) = (self.next, 0, None);
                self.window_at = (header.sequence, header.acknowledgement);
                (self.phase, self.writable, self.ack_due) = (Phase::Open, true, true);
                Fate::Keep
            }
            (false, false, _) if header.flags & ACK != 0 => {
                let reset = Segment {
                    source: self.remote.port(),
                    destination: self.guest.port(),
                    sequence: header.acknowledgement,
                    flags: RST,
                    ..Segment::default()
                };
                outside.out.tcp(
                    self.remote.ip(),
                    self.guest.ip(),
                    &reset,
                    [io::IoSlice::new(&[]); 2],
                    self.mss,
                );
                Fate::Keep
            }
            _ => Fate::Keep,
        }
    }

    fn reset_by_guest(&mut self, header: &Segment) -> Fate {
        if header.sequence == self.expected {
            self.reset_host();
            return Fate::Remove;
        }
        // In the window, but not at its start: maybe a forger's (RFC 5961, 3.2).
        let told = self.edge.wrapping_sub(self.expected);
        self.ack_due = header.sequence.wrapping_sub(self.expected) < told.max(1);
        Fate::Keep
    }

    /// Takes the header's acknowledgement and window.
    fn acknowledged(&mut self, header: &Segment, empty: bool, outside: &mut Outside) {
        let ack = header.acknowledgement;
        if before(ack, self.una) {
            return;
        }
        let window = u32::from(header.window) << self.scale;
        if self.phase == Phase::SynReceived {
            if ack != self.next {
                return;
            }
            (self.phase, self.writable, self.una) = (Phase::Open, true, ack);
            (self.tries, self.deadline) = (0, None);
        }
        let advance = ack.wrapping_sub(self.una) as usize;
        let flight = self.next != self.una;
        if advance > 0 {
            self.drop_acknowledged(ack, advance, outside);
        } else if empty && flight && window == self.window && header.flags & FIN == 0 {
            self.duplicates = self.duplicates.saturating_add(1);
            if self.duplicates == DUPLICATES {
                self.next = self.una;
                self.send_again(outside);
            }
        }
        self.tries = 0;
        // Only a newer telling counts.
        let (sequence, acknowledgement) = self.window_at;
        let newer = before(sequence, header.sequence)
            || (sequence == header.sequence && !before(ack, acknowledgement));
        if newer {
            (self.window, self.window_at) = (window, (header.sequence, ack));
        }
    }

    fn drop_acknowledged(&mut self, ack: u32, advance: usize, outside: &mut Outside) {
        let bytes = advance.min(self.outgoing.len());
        self.outgoing.drop_front(&mut outside.pool, bytes);
        self.fin_acked = self.fin_sent && advance > bytes;
        self.una = ack;
        if before(self.next, ack) {
            self.next = ack;
        }
        (self.duplicates, self.tries, self.deadline) = (0, 0, None);
        if self.next != self.una {
            self.arm(outside);
        }
    }

    /// Takes what the segment carries, if it is what comes next.
    fn take(&mut self, header: &Segment, payload: Payload<'_>, outside: &mut Outside) -> io::Result<()> {
        let fin = header.flags & FIN != 0;
        if payload.is_empty() && !fin {
            // A keep-alive, or the probe of a window, asks for an answer (RFC 9293, 3.8.4 and 3.10.7.4).
            self.ack_due |= header.sequence != self.expected;
            return Ok(());
        }
        self.ack_due = true;
        let known = self.expected.wrapping_sub(header.sequence) as usize;
        if known > payload.len() || self.guest_done {
            return Ok(()); // it came before, or something before it is missing
        }
        let fresh = payload.after(known);
        let taken = self.deliver(fresh, outside)?;
        self.expected = self.expected.wrapping_add(taken as u32);
        if fin && taken == fresh.len() {
            self.expected = self.expected.wrapping_add(1);
            self.guest_done = true;
        }
        Ok(())
    }

    /// Writes to the host's socket, and holds what that has no room for. Says how much was taken.
    fn deliver(&mut self, payload: Payload<'_>, outside: &mut Outside) -> io::Result<usize> {
        let mut taken = 0;
        let Some(socket) = &self.socket else { return Ok(payload.len()) };
        while self.held.is_empty() && self.writable && taken < payload.len() {
            let (vectors, count) = payload.after(taken).vectors();
            match wrote(socket, &vectors[..count])? {
                Some(count) => taken += count,
                None => self.writable = false,
            }
        }
        for part in payload.after(taken).parts() {
            let held = self.held.push(&mut outside.pool, part);
            taken += held;
            if held < part.len() {
                break;
            }
        }
        Ok(taken)
    }

    /// Writes what was held, and passes on the guest's end after it.
    pub(super) fn flush_held(&mut self, outside: &mut Outside) -> io::Result<()> {
        let Some(socket) = &self.socket else { return Ok(()) };
        while self.writable && !self.held.is_empty() {
            match wrote(socket, &self.held.slices(0, self.held.len()))? {
                Some(count) => self.held.drop_front(&mut outside.pool, count),
                None => self.writable = false,
            }
        }
        if self.guest_done && self.held.is_empty() && !self.shut {
            self.shut = true;
            match socket.shutdown(Shutdown::Write) {
                Err(error) if error.kind() != io::ErrorKind::NotConnected => return Err(error),
                _ => {}
            }
        }
        self.ack_due |= !self.guest_done && self.window_has_opened();
        Ok(())
    }

    /// Room for what the guest sends; never less than what was told before.
    pub(super) fn window_to_tell(&self) -> u32 {
        let limit = u32::from(u16::MAX) << self.our_scale;
        (WINDOW - self.held.len() as u32).max(self.told()).min(limit)
    }

    /// What is left of the window that the guest was told.
    fn told(&self) -> u32 {
        if before(self.edge, self.expected) { 0 } else { self.edge.wrapping_sub(self.expected) }
    }

    /// Whether the guest would like to hear of more room than it was told (RFC 9293, 3.8.6.2.2).
    fn window_has_opened(&self) -> bool {
        self.window_to_tell() >= self.told() + (2 * self.mss as u32).max(WINDOW / 4)
    }
}

/// How much was written; None if there is no room now.
fn wrote(socket: &Socket, parts: &[io::IoSlice<'_>]) -> io::Result<Option<usize>> {
    match socket.send_vectored_with_flags(parts, libc::MSG_NOSIGNAL) {
        Ok(count) => Ok(Some(count)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(Some(0)),
        Err(error) => Err(error),
    }
}
