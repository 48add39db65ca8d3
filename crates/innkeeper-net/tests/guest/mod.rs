//! A guest made of a script: frames in, frames out, and a TCP that can lose, reorder and refuse.

#![allow(dead_code)] // each test program uses a part of it

use std::collections::VecDeque;
use std::io::IoSlice;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use innkeeper_net::user::{Forward, Reach, Settings, UserNet};
use innkeeper_net::wire::{
    ACK, ETHERNET_BYTES, Ethernet, Head, IPV4, Ip, Packet, RST, SYN, Sum, TCP, Tcp, UDP, UDP_BYTES, checksum,
    word,
};
use innkeeper_net::{Card, HEADER_BYTES, Header, Link, Offloads};

pub const MAC: [u8; 6] = [0x52, 0x54, 0, 1, 2, 3];
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 15);
pub const ALL: Offloads = Offloads { checksum: true, tso4: true, tso6: true, ufo: false, ecn: true };
const PATIENCE: Duration = Duration::from_secs(10);

/// A card: frames wait in it until the script takes them.
#[derive(Default)]
pub struct Inbox {
    frames: Mutex<VecDeque<Vec<u8>>>,
    came: Condvar,
    limit: Mutex<Option<usize>>,
}

impl Card for Inbox {
    fn receive(&self, frame: &[IoSlice<'_>]) -> bool {
        let mut frames = self.frames.lock().unwrap();
        if self.limit.lock().unwrap().is_some_and(|limit| frames.len() >= limit) {
            return false;
        }
        frames.push_back(frame.concat_bytes());
        self.came.notify_all();
        true
    }

    fn flush(&self) {}
}

trait Concat {
    fn concat_bytes(&self) -> Vec<u8>;
}

impl Concat for [IoSlice<'_>] {
    fn concat_bytes(&self) -> Vec<u8> {
        self.iter().flat_map(|slice| slice.iter().copied()).collect()
    }
}

/// A frame that came, with its header.
#[derive(Clone, Debug)]
pub struct Frame {
    pub header: Header,
    pub bytes: Vec<u8>,
}

impl Frame {
    pub fn ethernet(&self) -> Ethernet {
        Ethernet::parse(&self.bytes).unwrap()
    }

    pub fn packet(&self) -> Option<Packet> {
        Packet::parse(self.ethernet().kind, &self.bytes, self.bytes.len())
    }

    pub fn payload(&self) -> &[u8] {
        let packet = self.packet().unwrap();
        &self.bytes[packet.start..packet.end]
    }

    /// Checks what a network card would: checksums, where they are complete.
    pub fn check(&self) {
        let Some(packet) = self.packet() else { return };
        if self.ethernet().kind == IPV4 {
            assert_eq!(checksum(&self.bytes[ETHERNET_BYTES..ETHERNET_BYTES + 20]), 0, "IPv4's checksum");
        }
        if packet.fragment.is_some() || self.header.needs_checksum {
            return;
        }
        let payload = self.payload();
        let sum = match packet.protocol {
            TCP | UDP | 58 => {
                Sum::default().pseudo(packet.source, packet.destination, packet.protocol, payload.len())
            }
            _ => Sum::default(),
        };
        assert_eq!(sum.bytes(payload).finish(), 0, "checksum of protocol {}", packet.protocol);
    }
}

pub struct Guest {
    pub net: UserNet,
    pub inbox: Arc<Inbox>,
    pub address: IpAddr,
}

impl Guest {
    pub fn new(settings: Settings, accepted: Offloads) -> Self {
        let net = UserNet::new(Settings { guest: MAC, ..settings }).map_err(|(error, _)| error).unwrap();
        let inbox = Arc::new(Inbox::default());
        net.connect(inbox.clone(), accepted);
        Self { net, inbox, address: ADDRESS.into() }
    }

    /// One that finds the host's loopback at the gateway's address.
    pub fn with_loopback(accepted: Offloads) -> Self {
        Self::new(
            Settings { reach: Reach { loopback: true, ..Reach::default() }, ..Settings::default() },
            accepted,
        )
    }

    pub fn with_forward(udp: bool, guest_port: u16, accepted: Offloads) -> Self {
        let host = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let forwards = vec![Forward { udp, host, guest_port }];
        Self::new(Settings { forwards, ..Settings::default() }, accepted)
    }

    /// How many frames find room before they are taken.
    pub fn limit(&self, frames: Option<usize>) {
        *self.inbox.limit.lock().unwrap() = frames;
    }

    /// The next frame, if one comes in that time.
    pub fn frame_within(&self, limit: Duration) -> Option<Frame> {
        let deadline = Instant::now() + limit;
        let mut frames = self.inbox.frames.lock().unwrap();
        let bytes = loop {
            if let Some(bytes) = frames.pop_front() {
                break bytes;
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            frames = self.inbox.came.wait_timeout(frames, left).unwrap().0;
        };
        let room = self.inbox.limit.lock().unwrap().is_some();
        drop(frames);
        if room {
            self.net.ready();
        }
        let header = Header::parse(bytes[..HEADER_BYTES].try_into().unwrap()).unwrap();
        let frame = Frame { header, bytes: bytes[HEADER_BYTES..].to_vec() };
        frame.check();
        Some(frame)
    }

    pub fn frame(&self) -> Frame {
        self.frame_within(PATIENCE).expect("a frame")
    }

    /// The next IP packet of this protocol; others are passed over.
    pub fn packet(&self, protocol: u8) -> (Packet, Vec<u8>) {
        loop {
            let frame = self.frame();
            if let Some(packet) = frame.packet().filter(|packet| packet.protocol == protocol) {
                return (packet, frame.payload().to_vec());
            }
        }
    }

    pub fn quiet(&self) {
        assert!(self.frame_within(Duration::from_millis(50)).is_none(), "a frame where none should come");
    }

    /// Sends a frame, cut into slices of odd sizes as a driver might.
    pub fn send(&self, frame: &[u8]) {
        let header = [0; HEADER_BYTES];
        let mut slices = vec![IoSlice::new(&header)];
        slices.extend(frame.chunks(997).map(IoSlice::new));
        self.net.send(&slices);
        self.net.flush();
    }

    pub fn send_packet(&self, ip: Ip, payload: &[u8]) {
        let mut head = Head::default();
        head.ethernet([0x52, 0x55, 10, 0, 2, 2], MAC, ip.kind());
        head.ip(&Ip { payload: payload.len(), ..ip });
        self.send(&[head.as_slice(), payload].concat());
    }

    pub fn send_udp(&self, port: u16, to: SocketAddr, payload: &[u8]) {
        let mut head = Head::default();
        head.udp(port, to.port(), payload.len(), 0);
        self.send_packet(Ip::new(self.source(to.ip()), to.ip(), UDP), &[head.as_slice(), payload].concat());
    }

    pub fn source(&self, to: IpAddr) -> IpAddr {
        if to.is_ipv4() { self.address } else { "fd69:6e6e::15".parse().unwrap() }
    }

    /// The next datagram: who sent it, to which port, and what it says.
    pub fn udp(&self) -> (SocketAddr, u16, Vec<u8>) {
        let (packet, payload) = self.packet(UDP);
        let (from, to) = (word(&payload, 0).unwrap(), word(&payload, 2).unwrap());
        (SocketAddr::new(packet.source, from), to, payload[UDP_BYTES..].to_vec())
    }
}

/// The guest's end of a connection. It says only what it is told to say.
pub struct Peer<'a> {
    pub guest: &'a Guest,
    pub port: u16,
    pub remote: SocketAddr,
    pub next: u32,
    pub expected: u32,
    pub window: u16,
    pub scale: u8,
}

impl<'a> Peer<'a> {
    pub fn new(guest: &'a Guest, port: u16, remote: SocketAddr) -> Self {
        Self { guest, port, remote, next: 0xFFFF_FF00, expected: 0, window: 65535, scale: 0 }
    }

    /// A connection that the guest opened.
    pub fn connect(guest: &'a Guest, port: u16, remote: SocketAddr) -> Self {
        let mut peer = Self::new(guest, port, remote);
        peer.syn(Some(1460), Some(2));
        let answer = peer.segment();
        assert_eq!(answer.0.flags, SYN | ACK, "the answer to SYN");
        assert_eq!(answer.0.acknowledgement, peer.next);
        (peer.expected, peer.scale) = (answer.0.sequence.wrapping_add(1), answer.0.scale.unwrap_or(0));
        peer.say(ACK, &[]);
        peer
    }

    /// A connection that came to a port of the guest's.
    pub fn accept(guest: &'a Guest, port: u16) -> Self {
        let (packet, bytes) = guest.packet(TCP);
        let (syn, _) = Tcp::parse(&bytes).unwrap();
        assert_eq!((syn.flags, syn.destination), (SYN, port));
        let mut peer = Self::new(guest, port, SocketAddr::new(packet.source, syn.source));
        peer.expected = syn.sequence.wrapping_add(1);
        peer.syn_with(SYN | ACK, Some(1460), Some(2));
        let (answer, _) = peer.segment();
        assert_eq!((answer.flags, answer.acknowledgement), (ACK, peer.next));
        peer
    }

    pub fn syn(&mut self, mss: Option<u16>, scale: Option<u8>) {
        self.syn_with(SYN, mss, scale);
    }

    fn syn_with(&mut self, flags: u8, mss: Option<u16>, scale: Option<u8>) {
        let header = Tcp { mss, scale, ..self.header(flags) };
        self.send(&header, &[]);
        self.next = self.next.wrapping_add(1);
    }

    pub fn header(&self, flags: u8) -> Tcp {
        Tcp {
            source: self.port,
            destination: self.remote.port(),
            sequence: self.next,
            acknowledgement: self.expected,
            flags,
            window: self.window,
            mss: None,
            scale: None,
        }
    }

    pub fn send(&self, header: &Tcp, payload: &[u8]) {
        let mut head = Head::default();
        header.write(&mut head, 0);
        let source = self.guest.source(self.remote.ip());
        self.guest.send_packet(Ip::new(source, self.remote.ip(), TCP), &[head.as_slice(), payload].concat());
    }

    /// Sends what comes next.
    pub fn say(&mut self, flags: u8, payload: &[u8]) {
        self.send(&self.header(flags), payload);
        let ends = u32::from(flags & innkeeper_net::wire::FIN != 0);
        self.next = self.next.wrapping_add(payload.len() as u32 + ends);
    }

    /// The next segment of this connection.
    pub fn segment(&self) -> (Tcp, Vec<u8>) {
        loop {
            let (packet, bytes) = self.guest.packet(TCP);
            let (header, length) = Tcp::parse(&bytes).unwrap();
            if (packet.source, header.source, header.destination)
                == (self.remote.ip(), self.remote.port(), self.port)
            {
                return (header, bytes[length..].to_vec());
            }
        }
    }

    /// Waits for a reset.
    pub fn reset(&self) {
        while self.segment().0.flags & RST == 0 {}
    }
}

/// Numbers without a pattern, always the same.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % limit
    }

    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.below(256) as u8).collect()
    }
}
