//! Everything but TCP through the built-in network: ARP, DHCP, DNS, UDP, echo requests, IPv6's neighbours.

mod guest;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use guest::{ADDRESS, ALL, GATEWAY, Guest, MAC, Random};
use innkeeper_net::Offloads;
use innkeeper_net::user::{GATEWAY_MAC, Reach, Settings};
use innkeeper_net::wire::{ARP, Ethernet, Fragment, Head, ICMP, ICMPV6, Ip, Sum, UDP, checksum};

fn server() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let port = socket.local_addr().unwrap().port();
    (socket, (GATEWAY, port).into())
}

fn arp_request(target: [u8; 4]) -> Vec<u8> {
    let mut frame = [[0xFF; 6], MAC].concat();
    frame.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
    frame.extend(MAC);
    frame.extend(ADDRESS.octets());
    frame.extend([0; 6]);
    frame.extend(target);
    frame
}

#[test]
fn the_gateway_says_where_it_is_and_nobody_else_does() {
    let guest = Guest::new(Settings::default(), ALL);
    for last in [2, 3] {
        guest.send(&arp_request([10, 0, 2, last]));
        let frame = guest.frame();
        assert_eq!(frame.ethernet(), Ethernet { destination: MAC, source: GATEWAY_MAC, kind: ARP });
        assert_eq!(frame.bytes[20..22], [0, 2]);
        assert_eq!(frame.bytes[28..32], [10, 0, 2, last]);
    }
    guest.send(&arp_request([10, 0, 2, 15]));
    guest.send(&arp_request([10, 0, 2, 9]));
    guest.quiet();
}

#[test]
fn a_booting_guest_gets_its_lease_by_broadcast() {
    let guest = Guest::new(Settings { host_name: Some("inn".into()), ..Settings::default() }, ALL);
    let mut message = vec![0u8; 236];
    (message[0], message[1], message[2]) = (1, 1, 6);
    message[28..34].copy_from_slice(&MAC);
    message.extend([99, 130, 83, 99, 53, 1, 1, 255]);
    let mut head = Head::default();
    head.udp(68, 67, message.len(), 0);
    let broadcast = Ip::new(Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::BROADCAST.into(), UDP);
    guest.send_packet(broadcast, &[head.as_slice(), &message].concat());
    let (from, port, answer) = guest.udp();
    assert_eq!((from, port), ((GATEWAY, 67).into(), 68));
    assert_eq!(answer[16..20], ADDRESS.octets());
    assert!(answer.windows(5).any(|window| window == [12, 3, b'i', b'n', b'n']));
}

#[test]
fn questions_reach_the_name_server_and_a_repeated_one_the_next() {
    let (one, two) = (server().0, server().0);
    let name_servers = vec![one.local_addr().unwrap(), two.local_addr().unwrap()];
    let guest = Guest::new(
        Settings { reach: Reach { name_servers, ..Reach::default() }, ..Settings::default() },
        ALL,
    );
    let dns = "10.0.2.3:53".parse().unwrap();
    let mut buffer = [0; 100];
    guest.send_udp(5000, dns, b"\x12\x34 who is it");
    let (count, _) = one.recv_from(&mut buffer).unwrap();
    assert_eq!(&buffer[..count], b"\x12\x34 who is it");
    guest.send_udp(5000, dns, b"\x12\x34 who is it");
    let (count, from) = two.recv_from(&mut buffer).unwrap();
    assert_eq!(&buffer[..count], b"\x12\x34 who is it");
    two.send_to(b"\x12\x34 me", from).unwrap();
    assert_eq!(guest.udp(), (dns, 5000, b"\x12\x34 me".to_vec()));
}

#[test]
fn datagrams_of_all_sizes_go_both_ways() {
    for accepted in [ALL, Offloads::default()] {
        let guest = Guest::with_loopback(accepted);
        let (server, remote) = server();
        let mut buffer = vec![0; 65536];
        for length in [0, 1, 100, 1472] {
            let data = Random(length as u64 + 1).bytes(length);
            guest.send_udp(6000, remote, &data);
            let (count, from) = server.recv_from(&mut buffer).unwrap();
            assert!(buffer[..count] == data);
            server.send_to(&data, from).unwrap();
            assert_eq!(guest.udp(), (remote, 6000, data));
        }
        assert_eq!(guest.net.conversations(), 1);
    }
}

#[test]
fn large_datagrams_are_cut_and_put_together() {
    let guest = Guest::with_loopback(ALL);
    let (server, remote) = server();
    let data = Random(9).bytes(20_000);
    let mut head = Head::default();
    head.udp(6000, remote.port(), data.len(), 0);
    let whole = [head.as_slice(), &data].concat();
    for offset in (0..whole.len()).step_by(1480).rev() {
        let end = (offset + 1480).min(whole.len());
        let piece = Fragment { id: 0, offset, more: end < whole.len() };
        guest.send_packet(
            Ip { fragment: Some(piece), ..Ip::new(ADDRESS.into(), GATEWAY.into(), UDP) },
            &whole[offset..end],
        );
    }
    let mut buffer = vec![0; 65536];
    let (count, from) = server.recv_from(&mut buffer).unwrap();
    assert!(buffer[..count] == data);
    server.send_to(&data, from).unwrap();
    let mut joined = vec![0; whole.len()];
    let mut got = 0;
    while got < whole.len() {
        let frame = guest.frame();
        let piece = frame.packet().unwrap().fragment.unwrap();
        assert!(frame.bytes.len() <= 1514);
        joined[piece.offset..piece.offset + frame.payload().len()].copy_from_slice(frame.payload());
        got += frame.payload().len();
    }
    assert!(joined[8..] == data);
    let sum =
        Sum::default().pseudo(GATEWAY.into(), ADDRESS.into(), UDP, joined.len()).bytes(&joined).finish();
    assert_eq!(sum, 0);
}

#[test]
fn nobody_at_a_port_is_said_so() {
    let guest = Guest::with_loopback(ALL);
    let (gone, remote) = server();
    drop(gone);
    guest.send_udp(6000, remote, b"anybody?");
    let (_, message) = guest.packet(ICMP);
    assert_eq!((message[0], message[1]), (3, 3));
    assert_eq!(message[8 + 20..8 + 24], [6000u16.to_be_bytes(), remote.port().to_be_bytes()].concat());
    guest.send_udp(6000, "10.0.2.99:7".parse().unwrap(), b"anybody?");
    assert_eq!(guest.packet(ICMP).1[..2], [3, 1]);
    guest.send_udp(6000, "169.254.169.254:80".parse().unwrap(), b"secrets?");
    assert_eq!(guest.packet(ICMP).1[..2], [3, 3]);
}

#[test]
fn a_forwarded_port_brings_each_visitors_datagrams() {
    let guest = Guest::with_forward(true, 514, ALL);
    let to = guest.net.forwarded()[0];
    let (one, two) = (server().0, server().0);
    one.send_to(b"one", to).unwrap();
    let (from_one, port, data) = guest.udp();
    assert_eq!((port, data), (514, b"one".to_vec()));
    two.send_to(b"two", to).unwrap();
    let (from_two, _, _) = guest.udp();
    assert_ne!(from_one, from_two);
    guest.send_udp(514, from_one, b"for one");
    guest.send_udp(514, from_two, b"for two");
    let mut buffer = [0; 20];
    for (visitor, words) in [(one, b"for one"), (two, b"for two")] {
        let (count, from) = visitor.recv_from(&mut buffer).unwrap();
        assert_eq!((&buffer[..count], from), (&words[..], to));
    }
}

#[test]
fn the_gateway_answers_echo_requests() {
    let guest = Guest::new(Settings::default(), ALL);
    for length in [8, 64, 1480, 4000] {
        let mut request = vec![7; length];
        request[..4].copy_from_slice(&[8, 0, 0, 0]);
        guest.send_packet(Ip::new(ADDRESS.into(), GATEWAY.into(), ICMP), &request);
        if length <= 1480 {
            let (packet, reply) = guest.packet(ICMP);
            assert_eq!((packet.source, reply[0], &reply[4..]), (GATEWAY.into(), 0, &request[4..]));
            assert_eq!(checksum(&reply), 0);
        }
    }
}

#[test]
fn an_ipv6_guest_finds_router_prefix_and_neighbours() {
    let guest = Guest::new(Settings::default(), ALL);
    let source: IpAddr = "fe80::15".parse().unwrap();
    let routers: IpAddr = "ff02::2".parse().unwrap();
    let solicit = |to: IpAddr, message: &[u8]| {
        guest.send_packet(Ip { hops: 255, ..Ip::new(source, to, ICMPV6) }, message);
    };
    solicit(routers, &[133, 0, 0, 0, 0, 0, 0, 0]);
    let (packet, message) = guest.packet(ICMPV6);
    assert_eq!((packet.hops, message[0]), (255, 134));
    let prefix: Ipv6Addr = "fd69:6e6e::".parse().unwrap();
    assert!(message.windows(16).any(|window| window == prefix.octets()));
    let router: Ipv6Addr = "fe80::2".parse().unwrap();
    solicit("ff02::1:ff00:2".parse().unwrap(), &[&[135, 0, 0, 0, 0, 0, 0, 0][..], &router.octets()].concat());
    let (packet, message) = guest.packet(ICMPV6);
    assert_eq!((packet.source, packet.destination, message[0]), (router.into(), source, 136));
    assert_eq!(message[26..32], GATEWAY_MAC);
    let server = UdpSocket::bind("[::1]:0");
    if let Ok(server) = server {
        let guest = Guest::with_loopback(ALL);
        let remote = SocketAddr::new("fd69:6e6e::2".parse().unwrap(), server.local_addr().unwrap().port());
        guest.send_udp(9, remote, b"six");
        let mut buffer = [0; 9];
        let (count, from) = server.recv_from(&mut buffer).unwrap();
        server.send_to(&buffer[..count], from).unwrap();
        assert_eq!(guest.udp(), (remote, 9, b"six".to_vec()));
    }
}

#[test]
fn random_frames_harm_nobody() {
    let guest = Guest::with_loopback(ALL);
    let mut random = Random(77);
    for round in 0..20_000 {
        let length = random.below(200);
        let mut frame = random.bytes(length);
        if length > 40 {
            frame[6] &= 0xFE;
            let kind: [u8; 2] = [[8, 0], [8, 6], [0x86, 0xDD]][round % 3];
            frame[12..14].copy_from_slice(&kind);
            frame[14] = if round % 3 == 2 { 0x60 } else { 0x45 };
            frame[16..18].copy_from_slice(&[0, (length - 14) as u8]);
            frame[23] = [1, 6, 17][random.below(3)];
            frame[26..34].copy_from_slice(&[10, 0, 2, 15, 10, 0, 2, 2]);
        }
        guest.send(&frame);
        while guest.frame_within(Duration::ZERO).is_some() {}
    }
    guest.send(&arp_request([10, 0, 2, 2]));
    while guest.frame().ethernet().kind != ARP {}
}
