//! Frames as bytes: Ethernet, IPv4 and IPv6, and what they carry.
//!
//! Spec: IEEE 802.3, RFC 791, RFC 8200, RFC 768. Checksums of what a guest sends are not looked at: its wire is memory.
//! Left out: VLAN tags, IPv4 options (skipped over), and of IPv6's extension headers the authenticated and encrypted.

mod checksum;
mod tcp;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub use checksum::{Sum, checksum};
pub use tcp::{ACK, FIN, PSH, RST, SYN, TCP_BYTES, Tcp};

pub type Mac = [u8; 6];

pub const ETHERNET_BYTES: usize = 14;
pub const IPV4_BYTES: usize = 20;
pub const IPV6_BYTES: usize = 40;
pub const UDP_BYTES: usize = 8;

pub const ARP: u16 = 0x0806;
pub const IPV4: u16 = 0x0800;
pub const IPV6: u16 = 0x86DD;

pub const ICMP: u8 = 1;
pub const TCP: u8 = 6;
pub const UDP: u8 = 17;
pub const ICMPV6: u8 = 58;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION_OPTIONS: u8 = 60;
const DO_NOT_FRAGMENT: u16 = 0x4000;
const MORE_FRAGMENTS: u16 = 0x2000;
const HOPS: u8 = 64;

/// The big-endian word at `at`; None beyond the end.
pub fn word(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

/// The big-endian double word at `at`; None beyond the end.
pub fn double(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// N bytes at `at`; None beyond the end.
pub fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ethernet {
    pub destination: Mac,
    pub source: Mac,
    pub kind: u16,
}

impl Ethernet {
    pub fn parse(frame: &[u8]) -> Option<Self> {
        Some(Self { destination: array(frame, 0)?, source: array(frame, 6)?, kind: word(frame, 12)? })
    }
}

/// A piece of a packet that was too large for the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    pub id: u32,
    pub offset: usize,
    pub more: bool,
}

/// An IP packet of either version. `start` and `end` are where its payload lies, as offsets into the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    pub source: IpAddr,
    pub destination: IpAddr,
    pub protocol: u8,
    pub start: usize,
    pub end: usize,
    pub fragment: Option<Fragment>,
    pub hops: u8,
}

impl Packet {
    /// `head` are the first bytes of a frame of `length` bytes; headers that reach beyond `head` are none.
    pub fn parse(kind: u16, head: &[u8], length: usize) -> Option<Self> {
        let packet = match kind {
            IPV4 => Self::parse_v4(head)?,
            IPV6 => Self::parse_v6(head, length)?,
            _ => return None,
        };
        (packet.start <= packet.end && packet.end <= length && packet.start <= head.len()).then_some(packet)
    }

    fn parse_v4(head: &[u8]) -> Option<Self> {
        let ip = head.get(ETHERNET_BYTES..)?;
        let header = 4 * usize::from(ip.first()? & 0xF);
        if ip[0] >> 4 != 4 || header < IPV4_BYTES {
            return None;
        }
        let (total, flags) = (usize::from(word(ip, 2)?), word(ip, 6)?);
        let (offset, more) = (8 * usize::from(flags & 0x1FFF), flags & MORE_FRAGMENTS != 0);
        let fragment = Fragment { id: word(ip, 4)?.into(), offset, more };
        Some(Self {
            source: Ipv4Addr::from(array::<4>(ip, 12)?).into(),
            destination: Ipv4Addr::from(array::<4>(ip, 16)?).into(),
            protocol: *ip.get(9)?,
            start: ETHERNET_BYTES + header,
            end: ETHERNET_BYTES + total,
            fragment: (more || offset > 0).then_some(fragment),
            hops: ip[8],
        })
    }

    fn parse_v6(head: &[u8], length: usize) -> Option<Self> {
        let ip = head.get(ETHERNET_BYTES..)?;
        if ip.first()? >> 4 != 6 {
            return None;
        }
        let mut packet = Self {
            source: Ipv6Addr::from(array::<16>(ip, 8)?).into(),
            destination: Ipv6Addr::from(array::<16>(ip, 24)?).into(),
            protocol: *ip.get(6)?,
            start: ETHERNET_BYTES + IPV6_BYTES,
            end: ETHERNET_BYTES + IPV6_BYTES + usize::from(word(ip, 4)?),
            fragment: None,
            hops: *ip.get(7)?,
        };
        if packet.end > length {
            return None;
        }
        while matches!(packet.protocol, HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS | FRAGMENT) {
            let mut size = 8 * (1 + usize::from(*head.get(packet.start + 1)?));
            if packet.protocol == FRAGMENT {
                let place = word(head, packet.start + 2)?;
                let (offset, more) = (usize::from(place & !7), place & 1 != 0);
                let id = double(head, packet.start + 4)?;
                packet.fragment = (more || offset > 0).then_some(Fragment { id, offset, more });
                size = 8;
            }
            packet.protocol = head[packet.start];
            packet.start += size;
            if packet.fragment.is_some() {
                break;
            }
        }
        Some(packet)
    }
}

/// Room for the largest headers that we write: virtio's, Ethernet, IPv6 with a fragment header, TCP with options.
const HEAD_BYTES: usize = 12 + ETHERNET_BYTES + IPV6_BYTES + 8 + TCP_BYTES + 20;

/// The headers of a frame, written one after the other.
#[derive(Clone)]
pub struct Head {
    bytes: [u8; HEAD_BYTES],
    length: usize,
}

/// What an IP header says.
#[derive(Clone, Copy, Debug)]
pub struct Ip {
    pub source: IpAddr,
    pub destination: IpAddr,
    pub protocol: u8,
    /// Bytes after the header.
    pub payload: usize,
    pub id: u16,
    pub fragment: Option<Fragment>,
    pub hops: u8,
}

impl Ip {
    /// Of a whole packet. Its `payload` and `id` are for later.
    pub fn new(source: IpAddr, destination: IpAddr, protocol: u8) -> Self {
        Self { source, destination, protocol, payload: 0, id: 0, fragment: None, hops: HOPS }
    }

    /// Bytes of the header.
    pub fn bytes(&self) -> usize {
        match self.source {
            IpAddr::V4(_) => IPV4_BYTES,
            IpAddr::V6(_) if self.fragment.is_some() => IPV6_BYTES + 8,
            IpAddr::V6(_) => IPV6_BYTES,
        }
    }

    pub fn kind(&self) -> u16 {
        if self.source.is_ipv4() { IPV4 } else { IPV6 }
    }
}

impl Default for Head {
    fn default() -> Self {
        Self { bytes: [0; HEAD_BYTES], length: 0 }
    }
}

impl Head {
    pub fn put(&mut self, bytes: &[u8]) {
        self.bytes[self.length..self.length + bytes.len()].copy_from_slice(bytes);
        self.length += bytes.len();
    }

    fn put_word(&mut self, word: u16) {
        self.put(&word.to_be_bytes());
    }

    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.length]
    }

    pub fn ethernet(&mut self, destination: Mac, source: Mac, kind: u16) {
        self.put(&destination);
        self.put(&source);
        self.put_word(kind);
    }

    pub fn ip(&mut self, ip: &Ip) {
        match (ip.source, ip.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => self.ipv4(ip, source, destination),
            (IpAddr::V6(source), IpAddr::V6(destination)) => self.ipv6(ip, source, destination),
            _ => unreachable!("a packet has addresses of one family"),
        }
    }

    fn ipv4(&mut self, ip: &Ip, source: Ipv4Addr, destination: Ipv4Addr) {
        let start = self.length;
        let flags = ip.fragment.map_or(DO_NOT_FRAGMENT, |piece| {
            (piece.offset / 8) as u16 | if piece.more { MORE_FRAGMENTS } else { 0 }
        });
        self.put(&[0x45, 0]);
        self.put_word((IPV4_BYTES + ip.payload) as u16);
        self.put_word(ip.id);
        self.put_word(flags);
        self.put(&[ip.hops, ip.protocol, 0, 0]);
        self.put(&source.octets());
        self.put(&destination.octets());
        let sum = checksum(&self.bytes[start..self.length]);
        self.bytes[start + 10..start + 12].copy_from_slice(&sum.to_be_bytes());
    }

    fn ipv6(&mut self, ip: &Ip, source: Ipv6Addr, destination: Ipv6Addr) {
        self.put(&[0x60, 0, 0, 0]);
        let more = if ip.fragment.is_some() { 8 } else { 0 };
        self.put_word((ip.payload + more) as u16);
        self.put(&[if ip.fragment.is_some() { FRAGMENT } else { ip.protocol }, ip.hops]);
        self.put(&source.octets());
        self.put(&destination.octets());
        if let Some(piece) = ip.fragment {
            self.put(&[ip.protocol, 0]);
            self.put_word(piece.offset as u16 | u16::from(piece.more));
            self.put(&piece.id.to_be_bytes());
        }
    }

    /// A UDP header; the checksum is given.
    pub fn udp(&mut self, source: u16, destination: u16, payload: usize, checksum: u16) {
        for word in [source, destination, (UDP_BYTES + payload) as u16, checksum] {
            self.put_word(word);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(source: &str, destination: &str, fragment: Option<Fragment>) -> (Head, Ip) {
        let (source, destination) = (source.parse().unwrap(), destination.parse().unwrap());
        let ip = Ip { payload: 8, fragment, ..Ip::new(source, destination, UDP) };
        let mut head = Head::default();
        head.ethernet([1; 6], [2; 6], ip.kind());
        head.ip(&ip);
        head.udp(1, 2, 0, 0);
        (head, ip)
    }

    #[test]
    fn what_is_written_is_read_again() {
        for fragment in [None, Some(Fragment { id: 0, offset: 1480, more: true })] {
            for (source, destination) in [("10.0.2.2", "10.0.2.15"), ("fe80::2", "fd00::1")] {
                let (head, ip) = written(source, destination, fragment);
                let bytes = head.as_slice();
                let kind = Ethernet::parse(bytes).unwrap().kind;
                let packet = Packet::parse(kind, bytes, bytes.len()).unwrap();
                assert_eq!((packet.source, packet.destination), (ip.source, ip.destination));
                assert_eq!((packet.protocol, packet.fragment), (UDP, fragment));
                assert_eq!((packet.start, packet.end), (bytes.len() - 8, bytes.len()));
            }
        }
        let (head, _) = written("10.0.2.2", "10.0.2.15", None);
        assert_eq!(checksum(&head.as_slice()[14..34]), 0);
    }

    #[test]
    fn a_packet_longer_than_its_frame_is_none() {
        for source in ["10.0.2.2", "fe80::2"] {
            let (head, ip) = written(source, source, None);
            for cut in 0..head.as_slice().len() {
                assert_eq!(Packet::parse(ip.kind(), &head.as_slice()[..cut], cut), None, "{cut} bytes");
            }
        }
    }
}
