use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use super::connection::ROOM;
use super::packet::{HEADER_BYTES, HOST, Header, Ports, STREAM, op};
use super::*;
use crate::virtio::hostile::Random;
use crate::virtio::testing::{BUFFERS, Driver, readable, writable};

static FOLDERS: AtomicU32 = AtomicU32::new(0);
const CID: u32 = 7;
const PORTS: Ports = Ports { guest: 1000, host: 80 };
const RECEIVED: u64 = BUFFERS + 0x4_0000;
const ALL: u32 = 3;

/// A folder with the device's sockets.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        let number = FOLDERS.fetch_add(1, Ordering::SeqCst);
        let place = std::env::temp_dir().join(format!("innkeeper-vsock-{}-{number}", std::process::id()));
        fs::create_dir(&place).unwrap();
        Self(place)
    }

    fn path(&self) -> PathBuf {
        self.0.join("vm")
    }

    fn device(&self) -> Arc<Vsock> {
        let _ = fs::remove_file(self.path());
        Arc::new(Vsock::new(CID, self.path(), UnixListener::bind(self.path()).unwrap()).unwrap())
    }

    /// A program that the guest may connect to.
    fn listener(&self) -> UnixListener {
        UnixListener::bind(sys::path_of_port(&self.path(), PORTS.host)).unwrap()
    }

    fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(self.path()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

struct Guest(Driver);

impl Guest {
    fn new(place: &Place) -> Self {
        Self(Driver::ready(place.device(), 0))
    }

    fn send_header(&mut self, header: Header, data: &[u8]) {
        self.0.write(BUFFERS, &[&header.to_bytes(), data].concat());
        let length = (HEADER_BYTES + data.len()) as u32;
        assert_eq!(self.0.request(1, &[readable(BUFFERS, 44), readable(BUFFERS + 44, length - 44)]), Some(0));
    }

    fn send(&mut self, ports: Ports, op: u16, flags: u32, data: &[u8]) {
        self.send_header(header(ports, op, flags, 1 << 16, 0, data.len()), data);
    }

    fn receive(&mut self) -> (Header, Vec<u8>) {
        let length = self.0.request(0, &[writable(RECEIVED, 44), writable(RECEIVED + 44, 4096)]).unwrap();
        let bytes = self.0.bytes(RECEIVED, length as usize);
        let header = Header::parse(bytes[..44].try_into().unwrap());
        assert_eq!((header.from, header.to, header.kind), (HOST, CID.into(), STREAM));
        assert_eq!(header.length, length - 44);
        (header, bytes[44..].to_vec())
    }

    fn receive_op(&mut self) -> u16 {
        self.receive().0.op
    }

    /// Connects to a program of the host.
    fn connect(&mut self, listener: &UnixListener) -> UnixStream {
        self.send(PORTS, op::REQUEST, 0, b"");
        let (answer, _) = self.receive();
        assert_eq!(
            (answer.op, answer.from_port, answer.to_port, answer.room),
            (op::RESPONSE, 80, 1000, ROOM)
        );
        let stream = listener.accept().unwrap().0;
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }
}

fn header(ports: Ports, op: u16, flags: u32, room: u32, forwarded: u32, length: usize) -> Header {
    let (from_port, to_port, from) = (ports.guest, ports.host, CID.into());
    let length = length as u32;
    Header { from, to: HOST, from_port, to_port, length, kind: STREAM, op, flags, room, forwarded }
}

fn read(stream: &mut UnixStream, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).unwrap();
    bytes
}

#[test]
fn a_guest_connects_to_a_program_of_the_host() {
    let place = Place::new();
    let listener = place.listener();
    let mut guest = Guest::new(&place);
    assert_eq!(guest.0.modern.read(0x2000, 8), CID.into());
    let mut stream = guest.connect(&listener);
    guest.send(PORTS, op::DATA, 0, b"hello");
    assert_eq!(read(&mut stream, 5), b"hello");
    stream.write_all(b"world").unwrap();
    let (packet, data) = guest.receive();
    assert_eq!((packet.op, packet.forwarded, &data[..]), (op::DATA, 5, &b"world"[..]));
    stream.shutdown(Shutdown::Write).unwrap();
    let (packet, _) = guest.receive();
    assert_eq!((packet.op, packet.flags), (op::SHUTDOWN, 2));
    guest.send(PORTS, op::DATA, 0, b"still here"); // only one way is closed
    guest.send(PORTS, op::SHUTDOWN, ALL, b"");
    assert_eq!(guest.receive_op(), op::RESET);
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"still here");
}

#[test]
fn a_program_of_the_host_connects_to_the_guest() {
    let place = Place::new();
    let mut guest = Guest::new(&place);
    let mut stream = place.connect();
    stream.write_all(b"CONNECT 1234\nearly").unwrap();
    let (packet, _) = guest.receive();
    assert_eq!((packet.op, packet.to_port), (op::REQUEST, 1234));
    let ports = Ports { guest: 1234, host: packet.from_port };
    guest.send(ports, op::RESPONSE, 0, b"");
    let greeting = format!("OK {}\n", ports.host);
    assert_eq!(read(&mut stream, greeting.len()), greeting.as_bytes());
    assert_eq!(guest.receive().1, b"early");
    guest.send(ports, op::SHUTDOWN, 2, b"");
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    guest.send(ports, op::RESET, 0, b"");
    let mut refused = place.connect();
    refused.write_all(b"CONNECT 5\n").unwrap();
    let ports = Ports { guest: 5, host: guest.receive().0.from_port };
    guest.send(ports, op::RESET, 0, b"");
    assert_eq!(refused.read(&mut [0]).unwrap(), 0);
}

#[test]
fn nobody_sends_more_than_the_other_has_room_for() {
    let place = Place::new();
    let listener = place.listener();
    let mut guest = Guest::new(&place);
    let mut stream = guest.connect(&listener);
    guest.send_header(header(PORTS, op::CREDIT_UPDATE, 0, 10, 0, 0), b"");
    stream.write_all(b"0123456789abcdefghijklm").unwrap();
    assert_eq!(guest.receive().1, b"0123456789");
    assert_eq!(guest.receive_op(), op::CREDIT_REQUEST);
    guest.send_header(header(PORTS, op::CREDIT_UPDATE, 0, 10, 6, 0), b"");
    assert_eq!(guest.receive().1, b"abcdef");
    guest.send_header(header(PORTS, op::CREDIT_REQUEST, 0, 10, 6, 0), b"");
    // An answer to that, and the request that the full room brought: in either order.
    assert_eq!(guest.receive_op() + guest.receive_op(), op::CREDIT_UPDATE + op::CREDIT_REQUEST);

    // A program that does not read: what its socket and our room take, and then it is over.
    let (data, mut sent, mut over) = (vec![7; 1 << 17], 0, false);
    guest.0.offer(0, &[writable(RECEIVED, 45)]);
    while !over {
        guest.send_header(header(PORTS, op::DATA, 0, 0, 16, data.len()), &data);
        sent += data.len();
        assert!(sent < 4 << 20, "a guest may send without end");
        while guest.0.used(0).is_some() {
            over |= Header::parse(guest.0.bytes(RECEIVED, 44)[..].try_into().unwrap()).op == op::RESET;
            guest.0.offer(0, &[writable(RECEIVED, 45)]);
            guest.0.kick(0);
        }
    }
    assert!(sent > ROOM as usize);
    drop(stream);
}

#[test]
fn what_cannot_be_is_reset() {
    let place = Place::new();
    let mut guest = Guest::new(&place);
    guest.send(PORTS, op::REQUEST, 0, b"");
    assert_eq!(guest.receive_op(), op::RESET); // nobody listens
    for op in [op::DATA, op::RESPONSE, op::SHUTDOWN, op::CREDIT_UPDATE, op::CREDIT_REQUEST, 0, 99] {
        guest.send(PORTS, op, 0, b"");
        assert_eq!(guest.receive_op(), op::RESET, "{op}");
    }
    guest.send_header(Header { kind: 2, ..header(PORTS, op::REQUEST, 0, 0, 0, 0) }, b"");
    assert_eq!(guest.receive_op(), op::RESET);
    guest.send_header(Header { from: 99, ..header(PORTS, op::REQUEST, 0, 0, 0, 0) }, b"");
    let listener = place.listener();
    let mut stream = guest.connect(&listener);
    guest.send_header(header(PORTS, op::DATA, 0, 1 << 16, 0, 100), b"short");
    assert_eq!(guest.receive_op(), op::RESET);
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    for line in ["CONNECT x\n", "HELLO\n", "CONNECT 4294967296\n", "CONNECT 1111111111111111111111111111\n"] {
        let mut stream = place.connect();
        stream.write_all(line.as_bytes()).unwrap();
        assert!(matches!(stream.read(&mut [0]), Ok(0) | Err(_)), "{line}");
    }
}

#[test]
fn connections_are_limited() {
    let place = Place::new();
    let listener = place.listener();
    let mut guest = Guest::new(&place);
    let mut streams = Vec::new();
    for guest_port in 0..300 {
        guest.send(Ports { guest: guest_port, ..PORTS }, op::REQUEST, 0, b"");
        match guest.receive_op() {
            op::RESPONSE => streams.push(listener.accept().unwrap()),
            other => assert_eq!(other, op::RESET),
        }
    }
    assert_eq!(streams.len(), 256);
}

#[test]
fn a_reset_ends_connections_and_the_next_driver_hears_of_it() {
    let place = Place::new();
    let listener = place.listener();
    let device = place.device();
    let mut guest = Guest(Driver::ready(device.clone(), 0));
    let mut stream = guest.connect(&listener);
    guest.0.reset();
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    guest.0.function.shut_down();
    let mut guest = Guest(Driver::ready(device, 0));
    assert_eq!(guest.0.request(2, &[writable(RECEIVED, 4)]), Some(4));
    assert_eq!(guest.0.bytes(RECEIVED, 4), [0; 4]);
    drop(guest.connect(&listener));
}

#[test]
fn a_pause_keeps_connections_and_in_another_place_the_guest_hears_that_they_are_gone() {
    let (place, other) = (Place::new(), Place::new());
    let listener = place.listener();
    let mut guest = Guest::new(&place);
    let mut stream = guest.connect(&listener);
    guest.0.function.pause();
    stream.write_all(b"meanwhile").unwrap();
    guest.0.function.go_on();
    assert_eq!(guest.receive().1, b"meanwhile");
    guest.send(PORTS, op::DATA, 0, b"on");
    assert_eq!(read(&mut stream, 2), b"on");

    let listener = other.listener();
    let mut guest = Guest(guest.0.moved_to(other.device()));
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    assert_eq!(guest.0.request(2, &[writable(RECEIVED, 4)]), Some(4));
    assert_eq!(guest.0.bytes(RECEIVED, 4), [0; 4]);
    drop(guest.connect(&listener));
}

#[test]
fn no_port_of_the_host_below_the_first_is_restored() {
    let place = Place::new();
    let device = place.device();
    for port in [0, 1 << 29, (1 << 30) - 1] {
        assert!(device.restore(&map([("next_port", Some(port).save())])).is_err());
    }
    assert!(device.restore(&map([("next_port", None::<u32>.save())])).is_ok());
    assert!(device.restore(&Value::Nothing).is_err());
}

#[test]
fn any_packets_leave_it_at_work() {
    let place = Place::new();
    let listener = place.listener();
    listener.set_nonblocking(true).unwrap();
    let mut guest = Guest::new(&place);
    let (mut random, mut offered) = (Random::new(19), false);
    for _ in 0..5000 {
        let ports =
            Ports { guest: random.below(4) as u32, host: [80, 80, 1 << 30, 5][random.below(4) as usize] };
        let (op, flags) = (random.below(9) as u16, random.below(8) as u32);
        let room = [0, 10, 1 << 16, u32::MAX, random.word() as u32][random.below(5) as usize];
        let length = random.below(64) as usize;
        let mut packet = header(ports, op, flags, room, random.below(1 << 33) as u32, length);
        packet.length = if random.below(16) == 0 { random.word() as u32 } else { packet.length };
        guest.0.write(BUFFERS, &packet.to_bytes());
        guest.0.offer(1, &[readable(BUFFERS, (44 + length) as u32)]);
        guest.0.kick(1);
        if let Ok((mut stream, _)) = listener.accept() {
            let _ = stream.write(b"data for the guest");
        }
        while guest.0.used(1).is_none() {
            // It takes no more until we make room for its answers.
            assert!(guest.0.status() & 0x40 == 0);
            if guest.0.used(0).is_some() || !offered {
                guest.0.offer(0, &[writable(RECEIVED, 44 + 4096)]);
                guest.0.kick(0);
                offered = true;
            }
        }
    }
    assert!(guest.0.status() & 0x40 == 0);
    guest.0.reset();
    drop(guest);
}

#[test]
fn drivers_that_mean_harm_end_the_sockets_and_nothing_else() {
    let place = Place::new();
    (0..200).for_each(|seed| crate::virtio::hostile::run(place.device(), seed));
}
