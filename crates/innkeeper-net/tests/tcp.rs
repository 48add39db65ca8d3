//! TCP through the built-in network: a scripted guest on one side, real sockets of the host on the other.

mod guest;

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use guest::{ALL, GATEWAY, Guest, Peer, Random};
use innkeeper_net::header::Gso;
use innkeeper_net::wire::{ACK, FIN, PSH, RST, SYN, TCP, Tcp};
use innkeeper_net::{Link, Offloads};

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, (GATEWAY, port).into())
}

fn connected(guest: &Guest) -> (Peer<'_>, TcpStream) {
    let (listener, remote) = listener();
    let peer = Peer::connect(guest, 40000, remote);
    let stream = listener.accept().unwrap().0;
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    (peer, stream)
}

#[test]
fn words_go_both_ways_and_each_side_ends() {
    let guest = Guest::with_loopback(Offloads::default());
    let (mut peer, mut stream) = connected(&guest);
    peer.say(ACK | PSH, b"hello");
    while peer.segment().0.acknowledgement != peer.next {}
    let mut word = [0; 5];
    stream.read_exact(&mut word).unwrap();
    assert_eq!(&word, b"hello");
    stream.write_all(b"world").unwrap();
    let (header, payload) = peer.segment();
    assert_eq!((header.sequence, payload), (peer.expected, b"world".to_vec()));
    peer.expected = peer.expected.wrapping_add(5);
    peer.say(FIN | ACK, &[]);
    assert_eq!(stream.read(&mut word).unwrap(), 0);
    while peer.segment().0.acknowledgement != peer.next {}
    stream.write_all(b"late").unwrap(); // a half-closed connection still carries
    let (header, payload) = peer.segment();
    assert_eq!(payload, b"late");
    peer.expected = header.sequence.wrapping_add(4);
    stream.shutdown(Shutdown::Write).unwrap();
    peer.say(ACK, &[]);
    while peer.segment().0.flags & FIN == 0 {}
    peer.expected = peer.expected.wrapping_add(1);
    peer.say(ACK, &[]);
    guest.quiet();
}

#[test]
fn a_port_where_nobody_listens_is_refused() {
    let guest = Guest::with_loopback(ALL);
    let (listener, remote) = listener();
    drop(listener);
    let mut peer = Peer::new(&guest, 40000, remote);
    peer.syn(Some(1460), None);
    let (header, _) = peer.segment();
    assert_eq!((header.flags, header.acknowledgement), (RST | ACK, peer.next));
    assert_eq!(guest.net.conversations(), 0);
}

#[test]
fn the_hosts_loopback_is_refused_unless_asked_for() {
    let guest = Guest::new(innkeeper_net::user::Settings::default(), ALL);
    let (listener, remote) = listener();
    listener.set_nonblocking(true).unwrap();
    let mut peer = Peer::new(&guest, 40000, remote);
    peer.syn(None, None);
    assert_eq!(peer.segment().0.flags, RST | ACK);
    assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[test]
fn a_segment_of_no_connection_is_reset() {
    let guest = Guest::with_loopback(ALL);
    let mut peer = Peer::new(&guest, 1, "192.0.2.1:80".parse().unwrap());
    peer.expected = 77;
    peer.say(ACK, b"x");
    let (header, _) = peer.segment();
    assert_eq!((header.flags, header.sequence), (RST, 77));
    peer.send(&peer.header(FIN), &[]);
    let (header, _) = peer.segment();
    assert_eq!((header.flags, header.acknowledgement), (RST | ACK, peer.next.wrapping_add(1)));
    peer.send(&peer.header(RST), &[]);
    guest.quiet();
}

#[test]
fn large_segments_go_to_a_guest_that_takes_them() {
    let guest = Guest::with_loopback(ALL);
    let (mut peer, mut stream) = connected(&guest);
    let data = Random(3).bytes(200_000);
    stream.write_all(&data).unwrap();
    let (mut got, mut large) = (Vec::<u8>::new(), 0);
    while got.len() < data.len() {
        let frame = guest.frame();
        let (header, length) = Tcp::parse(frame.payload()).unwrap();
        assert!(
            frame.header.needs_checksum
                && frame.header.checksum_start == 34
                && frame.header.checksum_offset == 16
        );
        let payload = &frame.payload()[length..];
        assert_eq!(frame.header.gso == Gso::Tcp4, payload.len() > 1460);
        large += usize::from(payload.len() > 30_000 && frame.header.segment == 1460);
        assert_eq!(header.sequence, peer.expected);
        got.extend(payload);
        peer.expected = header.sequence.wrapping_add(payload.len() as u32);
        peer.say(ACK, &[]);
    }
    assert!(got == data && large > 0);
}

#[test]
fn no_segment_is_larger_than_the_guest_said() {
    let guest = Guest::with_loopback(Offloads::default());
    let (listener, remote) = listener();
    let mut peer = Peer::new(&guest, 40000, remote);
    peer.syn(Some(700), None);
    peer.expected = peer.segment().0.sequence.wrapping_add(1);
    peer.say(ACK, &[]);
    let mut stream = listener.accept().unwrap().0;
    stream.write_all(&[7; 5000]).unwrap();
    let mut got = 0;
    while got < 5000 {
        let (_, payload) = peer.segment();
        assert!(payload.len() <= 700);
        got += payload.len();
    }
}

#[test]
fn the_guests_window_is_kept_and_its_opening_noticed() {
    let guest = Guest::with_loopback(ALL);
    let (listener, remote) = listener();
    let mut peer = Peer::new(&guest, 40000, remote);
    peer.window = 1000;
    peer.syn(Some(1460), None);
    peer.expected = peer.segment().0.sequence.wrapping_add(1);
    peer.say(ACK, &[]);
    let mut stream = listener.accept().unwrap().0;
    stream.write_all(&[1; 3000]).unwrap();
    assert_eq!(peer.segment().1.len(), 1000);
    guest.quiet();
    (peer.expected, peer.window) = (peer.expected.wrapping_add(1000), 0);
    peer.say(ACK, &[]);
    let (probe, payload) = peer.segment(); // a second later
    assert_eq!((probe.sequence, payload.len()), (peer.expected, 1));
    peer.window = 60000;
    peer.say(ACK, &[]);
    let mut got = 0;
    while got < 2000 {
        let (header, payload) = peer.segment();
        got = (header.sequence.wrapping_sub(peer.expected) as usize + payload.len()).max(got);
    }
}

#[test]
fn a_host_that_does_not_read_shuts_the_window_and_loses_nothing() {
    let guest = Guest::with_loopback(ALL);
    let (mut peer, mut stream) = connected(&guest);
    let (mut edge, mut sent) = (peer.next.wrapping_add(60000), Vec::new());
    let mut random = Random(11);
    let acked = loop {
        while guest_has_room(edge, &peer) {
            let chunk = random.bytes((edge.wrapping_sub(peer.next) as usize).min(30_000));
            sent.extend(&chunk);
            peer.say(ACK, &chunk);
        }
        let (header, _) = peer.segment();
        let acked = header.acknowledgement;
        let now = acked.wrapping_add(u32::from(header.window) << peer.scale);
        assert!(now.wrapping_sub(edge) as i32 >= -8, "the window's edge went back");
        edge = now;
        if acked == peer.next && header.window == 0 {
            break acked;
        }
        assert!(sent.len() < 64 << 20, "it takes and takes");
    };
    assert_eq!(acked, peer.next);
    let reader = thread::spawn(move || {
        let mut got = Vec::new();
        stream.read_to_end(&mut got).unwrap();
        got
    });
    assert!(peer.segment().0.window > 0, "the window opens again");
    peer.say(FIN | ACK, &[]);
    assert!(reader.join().unwrap() == sent);
}

fn guest_has_room(edge: u32, peer: &Peer<'_>) -> bool {
    edge.wrapping_sub(peer.next) as i32 > 0
}

/// A guest that loses and reorders what comes, and what it says, gets every byte all the same.
#[test]
fn lossy_and_disordered_guests_get_every_byte() {
    for seed in 1..=6 {
        let guest = Guest::with_loopback(if seed % 2 == 0 { ALL } else { Offloads::default() });
        if seed % 3 == 0 {
            guest.limit(Some(3));
        }
        let (mut peer, mut stream) = connected(&guest);
        let mut random = Random(seed * 7919);
        let data = random.bytes(300_000);
        let expected = data.clone();
        let writer = thread::spawn(move || {
            stream.write_all(&data).unwrap();
            stream
        });
        let start = peer.expected;
        let mut parts: BTreeMap<usize, Vec<u8>> = BTreeMap::new();
        let mut got: Vec<u8> = Vec::new();
        while got.len() < expected.len() {
            let (header, payload) = peer.segment();
            if random.below(20) == 0 {
                continue; // lost
            }
            parts.insert(header.sequence.wrapping_sub(start) as usize, payload);
            while let Some((&at, _)) = parts.range(..=got.len()).next_back() {
                let part = parts.remove(&at).unwrap();
                got.extend(part.get(got.len() - at..).unwrap_or(&[]));
            }
            peer.expected = start.wrapping_add(got.len() as u32);
            if random.below(20) != 0 {
                peer.say(ACK, &[]);
            }
        }
        assert!(got == expected, "seed {seed}");
        writer.join().unwrap();
    }
}

/// What the guest sends again, in other pieces, out of order or twice, reaches the host once and in order.
#[test]
fn the_hosts_socket_sees_every_byte_once() {
    for seed in 1..=6 {
        let guest = Guest::with_loopback(ALL);
        let (mut peer, mut stream) = connected(&guest);
        let mut random = Random(seed * 104_729);
        let data = random.bytes(100_000);
        let start = peer.next;
        let mut acked = 0;
        while acked < data.len() {
            for _ in 0..4 {
                let from = (acked + random.below(4000)).saturating_sub(random.below(3000)).min(data.len());
                let to = (from + random.below(2000)).min(data.len());
                peer.next = start.wrapping_add(from as u32);
                peer.send(&peer.header(ACK), &data[from..to]);
            }
            peer.next = start.wrapping_add(acked as u32);
            peer.send(&peer.header(ACK), &data[acked..(acked + 900).min(data.len())]);
            while let Some(frame) = guest.frame_within(Duration::ZERO) {
                let (header, _) = Tcp::parse(frame.payload()).unwrap();
                acked = acked.max(header.acknowledgement.wrapping_sub(start) as usize);
            }
        }
        peer.next = start.wrapping_add(acked as u32);
        peer.say(FIN | ACK, &[]);
        let mut got = Vec::new();
        stream.read_to_end(&mut got).unwrap();
        assert!(got == data, "seed {seed}");
    }
}

#[test]
fn a_reset_passes_through_in_both_directions() {
    let guest = Guest::with_loopback(ALL);
    let (mut peer, mut stream) = connected(&guest);
    peer.say(RST, &[]);
    assert_eq!(stream.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(guest.net.conversations(), 0);

    let (peer, stream) = connected(&guest);
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(stream);
    peer.reset();
}

#[test]
fn a_reset_in_any_phase_leaves_nothing() {
    for phase in 0..4 {
        let guest = Guest::with_loopback(ALL);
        let (listener, remote) = listener();
        let mut peer = Peer::new(&guest, 40000, remote);
        peer.syn(Some(1460), Some(2));
        let (answer, _) = peer.segment();
        peer.expected = answer.sequence.wrapping_add(1);
        let mut stream = listener.accept().unwrap().0;
        if phase > 0 {
            peer.say(ACK, b"words");
            stream.read_exact(&mut [0; 5]).unwrap();
        }
        if phase > 1 {
            peer.say(FIN | ACK, &[]);
        }
        if phase > 2 {
            drop(stream);
            while peer.segment().0.flags & FIN == 0 {}
            peer.expected = peer.expected.wrapping_add(1);
            peer.say(ACK, &[]);
        }
        peer.say(RST | ACK, &[]);
        while guest.frame_within(Duration::from_millis(20)).is_some() {}
        assert_eq!(guest.net.conversations(), 0, "phase {phase}");
    }
}

#[test]
fn a_forgers_reset_is_asked_about() {
    let guest = Guest::with_loopback(ALL);
    let (mut peer, mut stream) = connected(&guest);
    let mut forged = peer.header(RST);
    forged.sequence = forged.sequence.wrapping_add(1000);
    peer.send(&forged, &[]);
    assert_eq!(peer.segment().0.acknowledgement, peer.next);
    forged.flags = SYN;
    peer.send(&forged, &[]);
    assert_eq!(peer.segment().0.acknowledgement, peer.next);
    peer.say(ACK, b"still here");
    let mut word = [0; 10];
    stream.read_exact(&mut word).unwrap();
}

#[test]
fn a_forwarded_port_leads_to_the_guest() {
    let guest = Guest::with_forward(false, 22, ALL);
    let mut stream = TcpStream::connect(guest.net.forwarded()[0]).unwrap();
    let mut peer = Peer::accept(&guest, 22);
    assert_eq!(peer.remote.ip(), GATEWAY);
    assert_eq!(peer.remote.port(), stream.local_addr().unwrap().port());
    stream.write_all(b"who").unwrap();
    let (_, payload) = peer.segment();
    assert_eq!(payload, b"who");
    peer.expected = peer.expected.wrapping_add(3);
    peer.say(ACK | PSH, b"me");
    let mut word = [0; 2];
    stream.read_exact(&mut word).unwrap();
    assert_eq!(&word, b"me");
}

#[test]
fn a_guest_that_refuses_resets_the_visitor() {
    let guest = Guest::with_forward(false, 23, ALL);
    let mut stream = TcpStream::connect(guest.net.forwarded()[0]).unwrap();
    let (packet, bytes) = guest.packet(TCP);
    let (syn, _) = Tcp::parse(&bytes).unwrap();
    let mut peer = Peer::new(&guest, 23, SocketAddr::new(packet.source, syn.source));
    peer.expected = syn.sequence.wrapping_add(1);
    peer.say(RST | ACK, &[]);
    assert_eq!(stream.read(&mut [0; 4]).unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[test]
fn connections_are_bounded() {
    let guest = Guest::with_loopback(ALL);
    let (listener, remote) = listener();
    let mut streams = Vec::new();
    for port in 1..=600 {
        Peer::new(&guest, port, remote).syn(Some(1460), None);
        if port <= 512 {
            streams.push(listener.accept().unwrap().0); // one by one: a flood would be answered with cookies
        }
    }
    assert_eq!(guest.net.conversations(), 512);
    let mut refused = 0;
    while let Some(frame) = guest.frame_within(Duration::from_millis(100)) {
        refused += usize::from(Tcp::parse(frame.payload()).unwrap().0.flags & RST != 0);
    }
    assert_eq!(refused, 600 - 512);
    guest.net.disconnect();
    assert_eq!(guest.net.conversations(), 0);
}
