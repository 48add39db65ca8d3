//! What goes to the guest: frames of all kinds, given to the card with their virtio header.

use std::io::IoSlice;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::layout::{GATEWAY_MAC, GATEWAY_V4, ROUTER_V6};
use crate::header::{Gso, HEADER_BYTES, Header};
use crate::wire::{
    ETHERNET_BYTES, Fragment, Head, ICMP, ICMPV6, IPV4_BYTES, IPV6_BYTES, Ip, Mac, Sum, TCP, Tcp, UDP,
    UDP_BYTES, word,
};
use crate::{Card, Offloads};

/// Bytes of an IP packet on the way between guest and gateway.
pub const MTU: usize = 1500;
/// Payload bytes of the largest segment that a guest takes at once: the packet's length has 16 bits.
const LARGE_SEGMENT: usize = 65535 - IPV6_BYTES - 60;
const TCP_CHECKSUM_OFFSET: u16 = 16;

/// The way to the guest.
pub struct Out {
    card: Option<Arc<dyn Card>>,
    accepted: Offloads,
    /// Where the guest is, as it said itself.
    pub guest: Mac,
    /// The card had no room: nothing is sent until it says that it has.
    pub blocked: bool,
    unflushed: bool,
    ids: u16,
}

impl Out {
    pub fn new(guest: Mac) -> Self {
        Self { card: None, accepted: Offloads::default(), guest, blocked: false, unflushed: false, ids: 0 }
    }

    pub fn connect(&mut self, card: Option<Arc<dyn Card>>, accepted: Offloads) {
        (self.card, self.accepted, self.blocked, self.unflushed) = (card, accepted, false, false);
    }

    /// Payload bytes that one segment may have.
    pub fn largest_segment(&self, v4: bool, mss: usize) -> usize {
        let large = if v4 { self.accepted.tso4 } else { self.accepted.tso6 };
        if large && self.accepted.checksum { (LARGE_SEGMENT / mss * mss).max(mss) } else { mss }
    }

    /// Tells the card that this was all for now.
    pub fn flush(&mut self) {
        if std::mem::take(&mut self.unflushed)
            && let Some(card) = &self.card
        {
            card.flush();
        }
    }

    fn give(&mut self, frame: &[IoSlice<'_>]) -> bool {
        let Some(card) = &self.card else { return false };
        if self.blocked || !card.receive(frame) {
            self.blocked = true;
            return false;
        }
        self.unflushed = true;
        true
    }

    fn start(&self, header: Header, kind: u16) -> Head {
        let mut head = Head::default();
        head.put(&header.bytes());
        head.ethernet(self.guest, GATEWAY_MAC, kind);
        head
    }

    /// A frame that is neither IPv4 nor IPv6.
    pub fn plain(&mut self, destination: Mac, kind: u16, payload: &[u8]) -> bool {
        let mut head = Head::default();
        head.put(&Header::default().bytes());
        head.ethernet(destination, GATEWAY_MAC, kind);
        self.give(&[IoSlice::new(head.as_slice()), IoSlice::new(payload)])
    }

    /// A TCP segment. Where `payload` is more than `mss`, the guest takes it in one piece.
    pub fn tcp(
        &mut self,
        from: IpAddr,
        to: IpAddr,
        segment: &Tcp,
        payload: [IoSlice<'_>; 2],
        mss: usize,
    ) -> bool {
        let length = payload[0].len() + payload[1].len();
        let ip = Ip { payload: segment.bytes() + length, id: self.next_id(), ..Ip::new(from, to, TCP) };
        let start = ETHERNET_BYTES + ip.bytes();
        let mut header = Header::default();
        if self.accepted.checksum {
            header = Header {
                needs_checksum: true,
                checksum_start: start as u16,
                checksum_offset: TCP_CHECKSUM_OFFSET,
                ..header
            };
        }
        if length > mss {
            header.gso = if from.is_ipv4() { Gso::Tcp4 } else { Gso::Tcp6 };
            header.header_length = (start + segment.bytes()) as u16;
            header.segment = mss as u16;
        }
        let mut head = self.start(header, ip.kind());
        head.ip(&ip);
        let pseudo = Sum::default().pseudo(from, to, TCP, ip.payload);
        segment.write(&mut head, if self.accepted.checksum { pseudo.partial() } else { 0 });
        if !self.accepted.checksum {
            let at = HEADER_BYTES + start;
            let sum = sum_of_two(pseudo.bytes(&head.as_slice()[at..]), &payload);
            let place = at + usize::from(TCP_CHECKSUM_OFFSET);
            head.as_mut_slice()[place..place + 2].copy_from_slice(&sum.to_be_bytes());
        }
        self.give(&[IoSlice::new(head.as_slice()), payload[0], payload[1]])
    }

    /// A UDP datagram, in pieces if it is too large for one frame.
    pub fn udp(&mut self, from: SocketAddr, to: SocketAddr, payload: &[u8]) -> bool {
        let ip = Ip::new(from.ip(), to.ip(), UDP);
        let length = UDP_BYTES + payload.len();
        if ip.bytes() + length > 65535 {
            return true; // it would have been lost anywhere else, too
        }
        let mut udp = [0; UDP_BYTES];
        for (at, word) in [from.port(), to.port(), length as u16, 0].into_iter().enumerate() {
            udp[2 * at..2 * at + 2].copy_from_slice(&word.to_be_bytes());
        }
        let sum =
            Sum::default().pseudo(ip.source, ip.destination, UDP, length).bytes(&udp).bytes(payload).finish();
        // Zero means that there is none, and the sum that would be it is written as its other self (RFC 768).
        udp[6..].copy_from_slice(&if sum == 0 { 0xFFFF } else { sum }.to_be_bytes());
        self.packet(ip, &udp, payload)
    }

    /// An IP packet of `first` and `second`, in pieces if need be. False if not all of it found room.
    pub fn packet(&mut self, ip: Ip, first: &[u8], second: &[u8]) -> bool {
        let (total, id) = (first.len() + second.len(), self.next_id());
        if ip.bytes() + total <= MTU {
            let mut head = self.start(Header::default(), ip.kind());
            head.ip(&Ip { payload: total, id, ..ip });
            return self.give(&[IoSlice::new(head.as_slice()), IoSlice::new(first), IoSlice::new(second)]);
        }
        let header = if ip.source.is_ipv4() { IPV4_BYTES } else { IPV6_BYTES + 8 };
        let step = (MTU - header) / 8 * 8;
        for offset in (0..total).step_by(step) {
            let length = step.min(total - offset);
            let piece = Fragment { id: id.into(), offset, more: offset + length < total };
            let mut head = self.start(Header::default(), ip.kind());
            head.ip(&Ip { payload: length, id, fragment: Some(piece), ..ip });
            let cut = |bytes: &'_ [u8], before: usize| {
                let start = offset.saturating_sub(before).min(bytes.len());
                let end = (offset + length).saturating_sub(before).min(bytes.len());
                (start, end)
            };
            let ((a, b), (c, d)) = (cut(first, 0), cut(second, first.len()));
            if !self.give(&[
                IoSlice::new(head.as_slice()),
                IoSlice::new(&first[a..b]),
                IoSlice::new(&second[c..d]),
            ]) {
                return false;
            }
        }
        true
    }

    /// An ICMP or ICMPv6 message whose checksum is still zero.
    pub fn icmp(&mut self, mut ip: Ip, message: &mut [u8]) -> bool {
        let sum = if ip.source.is_ipv4() {
            ip.protocol = ICMP;
            Sum::default()
        } else {
            ip.protocol = ICMPV6;
            Sum::default().pseudo(ip.source, ip.destination, ICMPV6, message.len())
        };
        let sum = sum.bytes(message).finish();
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        self.packet(ip, message, &[])
    }

    /// Says that a packet got nowhere. `start` are its first bytes after the IP header.
    pub fn unreachable(&mut self, lost: Ip, start: &[u8], why: Unreachable) -> bool {
        let (router, v4) = match lost.source {
            IpAddr::V4(_) => (IpAddr::from(GATEWAY_V4), true),
            IpAddr::V6(_) => (ROUTER_V6.into(), false),
        };
        let mut quoted = Head::default();
        quoted.put(&why.message(v4));
        quoted.ip(&lost);
        quoted.put(&start[..start.len().min(8)]);
        self.icmp(Ip::new(router, lost.source, 0), quoted.as_mut_slice())
    }

    fn next_id(&mut self) -> u16 {
        self.ids = self.ids.wrapping_add(1);
        self.ids
    }
}

fn sum_of_two(sum: Sum, payload: &[IoSlice<'_>; 2]) -> u16 {
    let sum = sum.bytes(&payload[0]);
    if payload[0].len().is_multiple_of(2) {
        return sum.bytes(&payload[1]).finish();
    }
    // The second part starts in the middle of a word: its sum counts with its bytes swapped.
    let second = Sum::default().bytes(&payload[1]).partial().swap_bytes();
    sum.word(second).finish()
}

/// Why a packet got nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreachable {
    Host,
    Port,
    Prohibited,
}

impl Unreachable {
    /// Type, code, and six bytes of nothing (RFC 792; RFC 1812, 5.2.7.1; RFC 4443, 3.1).
    fn message(self, v4: bool) -> [u8; 8] {
        let (kind, code) = match (self, v4) {
            (Self::Host, true) => (3, 1),
            (Self::Port, true) => (3, 3),
            (Self::Prohibited, true) => (3, 13),
            (Self::Host, false) => (1, 3),
            (Self::Port, false) => (1, 4),
            (Self::Prohibited, false) => (1, 1),
        };
        [kind, code, 0, 0, 0, 0, 0, 0]
    }
}

/// The UDP header at the start of `bytes`: source port, destination port, bytes of payload.
pub fn udp_ports(bytes: &[u8]) -> Option<(u16, u16, usize)> {
    let length = usize::from(word(bytes, 4)?).checked_sub(UDP_BYTES)?;
    (bytes.len() >= UDP_BYTES).then_some((word(bytes, 0)?, word(bytes, 2)?, length))
}
