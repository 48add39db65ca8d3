//! Frames of the guest's, sorted out; conversations, each given its turn.

use std::collections::VecDeque;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, IoSlice};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use socket2::Socket;

use super::dhcp;
use super::flows::{Flow, Flows, Id, Key};
use super::forward::Listener;
use super::fragments::Fragments;
use super::layout::{BROADCAST_V4, GATEWAY_V4, GUEST_V4, Reach, Target, may_be_guest};
use super::local::{self, Asked};
use super::out::{MTU, Out, Unreachable, udp_ports};
use super::payload::Payload;
use super::ring::Pool;
use super::tcp::{self, Fate, Progress, Tcp};
use super::tftp;
use super::udp::{self, Udp, Way};
use crate::header::{HEADER_BYTES, Header};
use crate::sys::{Interest, Poll};
use crate::wire::{self, ARP, Ethernet, Mac, Packet, SYN, Tcp as Segment, UDP_BYTES};
use crate::{Card, Offloads};

/// Bytes of a frame that are looked at; headers end before that.
const HEAD_BYTES: usize = 256;
/// The largest echo request that is answered.
const ECHO_BYTES: usize = 65535;
const EPHEMERAL: std::ops::RangeInclusive<u16> = 49152..=65535;

/// What conversations share.
pub struct Outside {
    pub out: Out,
    pub pool: Pool,
    pub now: Instant,
    pub reach: Reach,
    pub poll: Arc<Poll>,
    /// Room for a datagram.
    pub scratch: Vec<u8>,
    seed: RandomState,
    drawn: u64,
}

impl Outside {
    /// A number that a guest cannot guess from those that it saw.
    pub fn random(&mut self) -> u64 {
        self.drawn += 1;
        let mut hasher = self.seed.build_hasher();
        hasher.write_u64(self.drawn);
        hasher.finish()
    }
}

/// What a guest is told of itself, and of what it starts.
pub struct Told {
    pub lease: dhcp::Lease,
    pub boot_file: Option<String>,
    pub files: Option<tftp::Server>,
}

/// The gateway with all that it knows.
pub struct Stack {
    pub outside: Outside,
    pub flows: Flows,
    pub listeners: Vec<Listener>,
    told: Told,
    /// Who was last given the guest's address.
    pub leased: Option<dhcp::Leased>,
    fragments: Fragments,
    /// Who has something to do.
    turns: VecDeque<Id>,
    /// Who waits for a ring.
    starved: Vec<Id>,
    /// The next deadline, or one before it.
    pub next_deadline: Option<Instant>,
}

impl Stack {
    pub fn new(guest: Mac, reach: Reach, told: Told, listeners: Vec<Listener>, poll: Arc<Poll>) -> Self {
        let outside = Outside {
            out: Out::new(guest),
            pool: Pool::default(),
            now: Instant::now(),
            reach,
            poll,
            scratch: vec![0; 65536],
            seed: RandomState::new(),
            drawn: 0,
        };
        Self {
            outside,
            flows: Flows::default(),
            listeners,
            told,
            leased: None,
            fragments: Fragments::default(),
            turns: VecDeque::new(),
            starved: Vec::new(),
            next_deadline: None,
        }
    }

    /// A driver is there, or has gone: whoever it was, its conversations are over.
    pub fn connect(&mut self, card: Option<Arc<dyn Card>>, accepted: Offloads) {
        self.outside.out.connect(card, accepted);
        for id in self.flows.ids() {
            if let Some(Flow::Tcp(mut flow)) = self.flows.take(id) {
                flow.reset_host();
                flow.close(&mut self.outside);
            }
            self.flows.remove(id);
        }
        if let Some(files) = &mut self.told.files {
            files.clear();
        }
        self.fragments.clear();
        self.turns.clear();
        self.starved.clear();
    }

    /// Takes a frame of the guest's.
    pub fn frame(&mut self, frame: &[IoSlice<'_>]) {
        let whole = Payload::new(frame, 0, usize::MAX);
        let mut header = [0; HEADER_BYTES];
        if whole.copy_to(&mut header) < HEADER_BYTES || Header::parse(&header).is_none() {
            return;
        }
        let whole = whole.after(HEADER_BYTES);
        // Looked at once: the guest may change it any time.
        let mut head = [0; HEAD_BYTES];
        let count = whole.copy_to(&mut head);
        let Some(ethernet) = Ethernet::parse(&head[..count]) else { return };
        if ethernet.source[0] & 1 != 0 {
            return;
        }
        if ethernet.kind == ARP {
            if let Some(mac) = local::arp(&head[..count], &mut self.outside.out) {
                self.outside.out.guest = mac;
            }
        } else if let Some(packet) = Packet::parse(ethernet.kind, &head[..count], whole.len()) {
            self.packet(&ethernet, packet, &head[..count], whole);
        }
    }

    fn packet(&mut self, ethernet: &Ethernet, packet: Packet, head: &[u8], whole: Payload<'_>) {
        let booting = packet.source.is_unspecified();
        if !booting && !may_be_guest(packet.source) {
            return;
        }
        self.outside.out.guest = ethernet.source;
        let payload = whole.truncated(packet.end).after(packet.start);
        if packet.fragment.is_none() {
            return self.carried(&packet, &head[packet.start..packet.end.min(head.len())], payload);
        }
        if let Some(joined) = self.fragments.take(&packet, payload, self.outside.now) {
            let slices = [IoSlice::new(&joined)];
            let payload = Payload::new(&slices, 0, joined.len());
            self.carried(&packet, &joined[..joined.len().min(HEAD_BYTES)], payload);
        }
    }

    /// What an IP packet carries; `start` are its first bytes.
    fn carried(&mut self, packet: &Packet, start: &[u8], payload: Payload<'_>) {
        match packet.protocol {
            wire::TCP => self.tcp(packet, start, payload),
            wire::UDP => self.udp(packet, start, payload),
            wire::ICMP if packet.source.is_ipv4() => self.icmp(packet, start, payload),
            wire::ICMPV6 if packet.source.is_ipv6() => self.icmp(packet, start, payload),
            _ => {}
        }
    }

    // ---- TCP ------------------------------------------------------------------------------------

    fn tcp(&mut self, packet: &Packet, start: &[u8], payload: Payload<'_>) {
        let Some((header, length)) = Segment::parse(start) else { return };
        if !may_be_guest(packet.source) {
            return;
        }
        let guest = SocketAddr::new(packet.source, header.source);
        let remote = SocketAddr::new(packet.destination, header.destination);
        let key = Key { protocol: wire::TCP, guest, remote };
        match self.flows.find(&key) {
            Some(id) => {
                // A connection that is over makes way for a new one at once.
                let Some(Flow::Tcp(mut flow)) = self.flows.take(id) else { return };
                if flow.is_over() && header.flags & SYN != 0 {
                    self.flows.remove(id);
                    return self.open(key, &header);
                }
                let fate = flow.segment(&header, payload.after(length), &mut self.outside);
                self.settle(id, flow, fate);
            }
            None if header.flags & (SYN | wire::ACK | wire::RST) == SYN => self.open(key, &header),
            None if header.flags & wire::RST == 0 => self.reset(&key, &header, payload.len() - length),
            None => {}
        }
    }

    /// The guest wants a new connection.
    fn open(&mut self, key: Key, syn: &Segment) {
        let ends = (key.guest, key.remote);
        let to = match self.outside.reach.target(key.remote, 0) {
            Target::Host(to) => Ok(to),
            Target::Refused => Err(libc::ECONNREFUSED),
            Target::Nobody => Err(libc::EHOSTUNREACH),
        };
        let opened =
            to.and_then(|to| self.room(wire::TCP).map(|()| to)).map_err(io::Error::from_raw_os_error);
        let opened = opened.and_then(|to| {
            let id = self.flows.reserve(key);
            let watch =
                |outside: &Outside, socket: &Socket| outside.poll.add(socket, id.token(), Interest::Edges);
            match Tcp::from_guest(ends, syn, to, &mut self.outside, watch) {
                Ok(flow) => self.flows.put(id, Flow::Tcp(Box::new(flow))),
                Err(error) => {
                    self.flows.remove(id);
                    return Err(error);
                }
            }
            Ok(())
        });
        if let Err(error) = opened {
            tcp::refuse(&mut self.outside, ends, syn.sequence, &error);
        }
    }

    fn room(&mut self, protocol: u8) -> Result<(), i32> {
        match self.flows.make_room(protocol) {
            Ok(Some((_, Flow::Tcp(mut flow)))) => flow.close(&mut self.outside),
            Ok(_) => {}
            Err(()) => return Err(libc::ECONNREFUSED),
        }
        Ok(())
    }

    /// Answers a segment that belongs to no connection (RFC 9293, 3.10.7.1).
    fn reset(&mut self, key: &Key, header: &Segment, length: usize) {
        let mut segment = Segment {
            source: key.remote.port(),
            destination: key.guest.port(),
            flags: wire::RST,
            ..Segment::default()
        };
        if header.flags & wire::ACK != 0 {
            segment.sequence = header.acknowledgement;
        } else {
            let ends = u32::from(header.flags & SYN != 0) + u32::from(header.flags & wire::FIN != 0);
            segment.flags |= wire::ACK;
            segment.acknowledgement = header.sequence.wrapping_add(length as u32 + ends);
        }
        self.outside.out.tcp(key.remote.ip(), key.guest.ip(), &segment, [IoSlice::new(&[]); 2], MTU);
    }

    /// Puts a connection back, or frees its place.
    fn settle(&mut self, id: Id, mut flow: Box<Tcp>, fate: Fate) {
        if fate == Fate::Remove {
            flow.close(&mut self.outside);
            self.flows.remove(id);
            return;
        }
        self.note_deadline(flow.deadline());
        self.flows.put(id, Flow::Tcp(flow));
        self.turn(id);
    }

    /// Has the conversation's turn come.
    fn turn(&mut self, id: Id) {
        if self.flows.queue(id) {
            self.turns.push_back(id);
        }
    }

    fn note_deadline(&mut self, deadline: Option<Instant>) {
        self.next_deadline = [self.next_deadline, deadline].into_iter().flatten().min();
    }

    // ---- datagrams ------------------------------------------------------------------------------

    fn udp(&mut self, packet: &Packet, start: &[u8], payload: Payload<'_>) {
        let Some((from, to, length)) = udp_ports(start) else { return };
        let payload = payload.after(UDP_BYTES);
        if length > payload.len() {
            return;
        }
        let payload = payload.truncated(length);
        if to == dhcp::SERVER_PORT && packet.source.is_ipv4() {
            let for_us = [Ipv4Addr::BROADCAST, BROADCAST_V4, GATEWAY_V4].map(IpAddr::V4);
            if for_us.contains(&packet.destination) {
                self.dhcp(payload);
            }
            return;
        }
        if !may_be_guest(packet.source)
            || packet.destination.is_multicast()
            || packet.destination == BROADCAST_V4
        {
            return;
        }
        let ends = (SocketAddr::new(packet.source, from), SocketAddr::new(packet.destination, to));
        if self.told.files.is_some() && tftp::is_for_us(packet.destination, to) {
            return self.file(ends.0, payload);
        }
        self.datagram(wire::UDP, ends, payload, |stack| match stack.outside.reach.target(ends.1, 0) {
            Target::Host(to) => Udp::socket(to).map(Way::Own),
            Target::Refused => Err(io::Error::from_raw_os_error(libc::ECONNREFUSED)),
            Target::Nobody => Err(io::Error::from_raw_os_error(libc::EHOSTUNREACH)),
        });
    }

    fn dhcp(&mut self, payload: Payload<'_>) {
        let mut message = [0; MTU];
        let count = payload.copy_to(&mut message);
        let message = &message[..count];
        let Told { lease, boot_file, files } = &self.told;
        let found = || files.as_ref().and_then(|files| files.boot_file(dhcp::architectures(message)));
        let boot_file = boot_file.as_deref().or_else(found);
        if let Some(answer) = dhcp::answer(message, lease, boot_file) {
            if answer.leased.is_some() {
                self.leased = answer.leased;
            }
            let from = SocketAddr::from((GATEWAY_V4, dhcp::SERVER_PORT));
            self.outside.out.udp(from, (answer.to, dhcp::CLIENT_PORT).into(), &answer.message);
        }
    }

    /// Words for the server of files.
    fn file(&mut self, guest: SocketAddr, payload: Payload<'_>) {
        let Some(files) = &mut self.told.files else { return };
        let mut datagram = [0; MTU];
        let count = payload.copy_to(&mut datagram);
        files.take(guest, &datagram[..count], self.outside.now, &mut self.outside.out);
        let deadline = files.next_deadline();
        self.note_deadline(deadline);
    }

    /// Sends a datagram on its conversation, which `way` opens if it is a new one.
    fn datagram(
        &mut self,
        protocol: u8,
        ends: (SocketAddr, SocketAddr),
        payload: Payload<'_>,
        way: impl FnOnce(&mut Self) -> io::Result<Way>,
    ) {
        let key = Key { protocol, guest: ends.0, remote: ends.1 };
        let id = match self.flows.find(&key) {
            Some(id) => id,
            None => match way(self).and_then(|way| self.converse(key, way)) {
                Ok(id) => id,
                Err(error) => {
                    let why = match error.raw_os_error() {
                        Some(libc::ECONNREFUSED) => Unreachable::Port,
                        Some(libc::EACCES | libc::EPERM) => Unreachable::Prohibited,
                        _ => Unreachable::Host,
                    };
                    return udp::unreachable(&mut self.outside, ends, protocol != wire::UDP, why);
                }
            },
        };
        if let Some(Flow::Udp(mut flow)) = self.flows.take(id) {
            flow.send(payload, &mut self.outside, &self.listeners);
            self.flows.put(id, Flow::Udp(flow));
        }
    }

    /// Opens a conversation of datagrams.
    fn converse(&mut self, key: Key, way: Way) -> io::Result<Id> {
        self.room(key.protocol).map_err(io::Error::from_raw_os_error)?;
        let id = self.flows.reserve(key);
        if let Way::Own(socket) | Way::Echo(socket) = &way
            && let Err(error) = self.outside.poll.add(socket, id.token(), Interest::Edges)
        {
            self.flows.remove(id);
            return Err(error);
        }
        let flow = Udp::new((key.guest, key.remote), way, self.outside.now);
        self.note_deadline(Some(flow.deadline()));
        self.flows.put(id, Flow::Udp(Box::new(flow)));
        Ok(id)
    }

    fn icmp(&mut self, packet: &Packet, start: &[u8], payload: Payload<'_>) {
        match local::asked(packet, start) {
            Asked::Router => return local::advertise_router(&mut self.outside.out),
            Asked::Neighbour(target) => {
                return local::advertise_neighbour(packet.source, target, &mut self.outside.out);
            }
            Asked::Echo if (udp::ECHO_BYTES..=ECHO_BYTES).contains(&payload.len()) => {
                let mut message = std::mem::take(&mut self.outside.scratch);
                let count = payload.copy_to(&mut message);
                local::echo(packet, &mut message[..count], &mut self.outside.out);
                self.outside.scratch = message;
                return;
            }
            Asked::Echo | Asked::Nothing => {}
        }
        let (source, destination) = (packet.source, packet.destination);
        if !local::is_echo(source.is_ipv4(), start) || !may_be_guest(source) || destination.is_multicast() {
            return;
        }
        let identifier = u16::from_be_bytes([start[4], start[5]]);
        let ends = (SocketAddr::new(source, identifier), SocketAddr::new(destination, 0));
        self.datagram(packet.protocol, ends, payload, |stack| {
            if stack.outside.reach.may_ping(destination) {
                Udp::echo_socket(destination).map(Way::Echo)
            } else {
                Err(io::Error::from_raw_os_error(libc::EHOSTUNREACH))
            }
        });
    }

    // ---- the host's side ------------------------------------------------------------------------

    /// The socket of a conversation has something.
    pub fn event(&mut self, id: Id, readable: bool, writable: bool) {
        match self.flows.take(id) {
            Some(Flow::Tcp(mut flow)) => {
                let fate = flow.event(readable, writable, &mut self.outside);
                self.settle(id, flow, fate);
            }
            Some(Flow::Udp(mut flow)) => {
                flow.readable();
                self.flows.put(id, Flow::Udp(flow));
                self.turn(id);
            }
            None => {}
        }
    }

    /// Someone is at a port that leads to the guest.
    pub fn visitors(&mut self, index: usize) {
        let Some(listener) = self.listeners.get(index) else { return };
        let guest = SocketAddr::from((GUEST_V4, listener.guest_port));
        for _ in 0..16 {
            let Some(listener) = self.listeners.get(index) else { return };
            if listener.udp {
                let mut scratch = std::mem::take(&mut self.outside.scratch);
                let received = receive_from(&listener.socket, &mut scratch);
                if let Some((count, peer)) = received {
                    self.forwarded(index, guest, peer, &mut scratch[..count]);
                }
                self.outside.scratch = scratch;
                if received.is_none() {
                    return;
                }
            } else {
                let Ok((socket, peer)) = listener.socket.accept() else { return };
                self.accepted(guest, socket, peer.as_socket());
            }
        }
    }

    /// A port of the gateway's from which the guest has nobody yet; the peer's own if that is free.
    fn gateway_port(&mut self, protocol: u8, guest: SocketAddr, wanted: u16) -> Option<SocketAddr> {
        let free = |stack: &Self, port: u16| {
            let remote = SocketAddr::from((GATEWAY_V4, port));
            (port != 0 && stack.flows.find(&Key { protocol, guest, remote }).is_none()).then_some(remote)
        };
        free(self, wanted).or_else(|| EPHEMERAL.clone().find_map(|port| free(self, port)))
    }

    /// A connection to a port that leads to the guest. Without room for it, it is closed again.
    fn accepted(&mut self, guest: SocketAddr, socket: Socket, peer: Option<SocketAddr>) {
        let wanted = peer.map_or(0, |peer| peer.port());
        if self.room(wire::TCP).is_err() {
            return;
        }
        let Some(remote) = self.gateway_port(wire::TCP, guest, wanted) else { return };
        let id = self.flows.reserve(Key { protocol: wire::TCP, guest, remote });
        let watch =
            |outside: &Outside, socket: &Socket| outside.poll.add(socket, id.token(), Interest::Edges);
        match Tcp::from_host((guest, remote), socket, &mut self.outside, watch) {
            Ok(flow) => {
                self.note_deadline(flow.deadline());
                self.flows.put(id, Flow::Tcp(Box::new(flow)));
            }
            Err(_) => drop(self.flows.remove(id)),
        }
    }

    fn forwarded(&mut self, listener: usize, guest: SocketAddr, peer: SocketAddr, datagram: &mut [u8]) {
        let same =
            |way: &Way| matches!(way, Way::Forward { listener: l, peer: p } if (*l, *p) == (listener, peer));
        let id = self.flows.find_udp(same).or_else(|| {
            let remote = self.gateway_port(wire::UDP, guest, peer.port())?;
            self.converse(Key { protocol: wire::UDP, guest, remote }, Way::Forward { listener, peer }).ok()
        });
        let Some(id) = id else { return };
        if let Some(Flow::Udp(mut flow)) = self.flows.take(id) {
            flow.answer(datagram, &mut self.outside);
            self.flows.put(id, Flow::Udp(flow));
        }
    }

    // ---- turns ----------------------------------------------------------------------------------

    /// Gives everyone a turn who has something to do, until nobody has or the card has no room.
    pub fn run(&mut self) {
        while !self.outside.out.blocked
            && let Some(id) = self.turns.pop_front()
        {
            self.flows.dequeue(id);
            let progress = match self.flows.take(id) {
                None => continue,
                Some(Flow::Tcp(mut flow)) => {
                    let progress = flow.pump(&mut self.outside);
                    self.note_deadline(flow.deadline());
                    if progress == Progress::Over {
                        flow.close(&mut self.outside);
                        self.flows.remove(id);
                    }
                    self.flows.put(id, Flow::Tcp(flow));
                    progress
                }
                Some(Flow::Udp(mut flow)) => {
                    let progress = flow.pump(&mut self.outside);
                    self.flows.put(id, Flow::Udp(flow));
                    progress
                }
            };
            match progress {
                Progress::More => self.turn(id),
                Progress::Starved => self.starved.push(id),
                Progress::Idle | Progress::Over => {}
            }
            if !self.outside.pool.is_empty() {
                for id in std::mem::take(&mut self.starved) {
                    self.turn(id);
                }
            }
        }
        self.outside.out.flush();
    }

    /// The card has room again.
    pub fn ready(&mut self) {
        self.outside.out.blocked = false;
        self.run();
    }

    /// Looks at deadlines.
    pub fn tick(&mut self) {
        let now = self.outside.now;
        if self.next_deadline.is_none_or(|deadline| deadline > now) {
            return;
        }
        for id in self.flows.due(now) {
            match self.flows.take(id) {
                Some(Flow::Tcp(mut flow)) => {
                    let fate = flow.timeout(&mut self.outside);
                    self.settle(id, flow, fate);
                }
                Some(Flow::Udp(_)) => drop(self.flows.remove(id)),
                None => {}
            }
        }
        let files = self.told.files.as_mut().and_then(|files| {
            files.tick(now, &mut self.outside.out);
            files.next_deadline()
        });
        self.next_deadline = self.flows.next_deadline();
        self.note_deadline(files);
    }

    /// How long nothing is to be done by itself.
    pub fn patience(&self) -> Option<Duration> {
        self.next_deadline.map(|deadline| deadline.saturating_duration_since(self.outside.now))
    }
}

/// A datagram and who sent it; None if there is none.
fn receive_from(socket: &Socket, buffer: &mut [u8]) -> Option<(usize, SocketAddr)> {
    // SAFETY: bytes are also maybe-uninitialised bytes, and receiving writes nothing but bytes there.
    let room = unsafe { &mut *(std::ptr::from_mut(buffer) as *mut [std::mem::MaybeUninit<u8>]) };
    let (count, peer) = socket.recv_from(room).ok()?;
    Some((count, peer.as_socket()?))
}
