//! `fuzz-net [--seconds N] [--seed S]`: hostile guests on the network. Frames, half of them sound, into the built-in
//! network, over real sockets of this host's loopback; registers, rings and descriptors of any kind into the 82540EM
//! and the virtio card, whose cable leads to that network. Anything may be refused or lost; nothing may panic, stand still
//! for ten seconds, or take more than 256 MiB. What does is printed with the seed that repeats it; the exit status is then 1.

use std::io::{IoSlice, Read, Write};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use innkeeper_bus::bus::Device;
use innkeeper_bus::interrupt::Line;
use innkeeper_bus::memory::GuestMemory;
use innkeeper_devices::e1000::{E1000, MEMORY_BYTES, Window};
use innkeeper_devices::virtio::net::{Net, Settings as CardSettings};
use innkeeper_devices::virtio::testing::{BUFFERS, Driver, readable, writable};
use innkeeper_fuzz::rng::Rng;
use innkeeper_net::user::{Boot, Forward, Reach, Settings, UserNet};
use innkeeper_net::wire::{Head, Ip, Tcp};
use innkeeper_net::{Card, HEADER_BYTES, Link, Offloads};

const MAC: [u8; 6] = [0x52, 0x54, 0, 0, 0, 1];
const MOST_MEMORY_KIB: u64 = 256 << 10;
const STANDSTILL: Duration = Duration::from_secs(10);
const STEPS: u64 = 2000;

static STEP: AtomicU64 = AtomicU64::new(0);

struct Lossy(AtomicU64);

impl Card for Lossy {
    fn receive(&self, _frame: &[IoSlice<'_>]) -> bool {
        !self.0.fetch_add(1, Ordering::Relaxed).is_multiple_of(7)
    }
    fn flush(&self) {}
}

struct Loose;

impl Line for Loose {
    fn set(&self, _level: bool) {}
}

/// Ports of this host where somebody listens: TCP that answers and closes, UDP that echoes.
struct World {
    tcp: u16,
    udp: u16,
}

fn world() -> std::io::Result<World> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let ports = World { tcp: listener.local_addr()?.port(), udp: socket.local_addr()?.port() };
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (mut stream, mut buffer) = (stream, [0; 4096]);
            // Whatever becomes of it: guests that vanish are what this is about.
            let _ = stream.set_read_timeout(Some(Duration::from_millis(5)));
            let _ = stream.write_all(&[7; 20_000]);
            let _ = stream.read(&mut buffer);
        }
    });
    std::thread::spawn(move || {
        let mut buffer = [0; 65536];
        while let Ok((count, from)) = socket.recv_from(&mut buffer) {
            let _ = socket.send_to(&buffer[..count], from);
        }
    });
    Ok(ports)
}

fn network() -> Arc<UserNet> {
    let forwards = [false, true]
        .map(|udp| Forward { udp, host: (Ipv4Addr::LOCALHOST, 0).into(), guest_port: 80 })
        .to_vec();
    let reach = Reach { loopback: true, ..Reach::default() };
    let known = [(0, "common-licenses/GPL-2"), (7, "common-licenses/GPL-3")];
    let known = known.map(|(architecture, name)| (architecture, name.into())).to_vec();
    let boot = Boot { folder: Some("/usr/share".into()), file: None, known };
    let settings = Settings { guest: MAC, reach, host_name: Some("fuzz".into()), forwards, boot };
    Arc::new(UserNet::new(settings).map_err(|(error, _)| error).expect("a network"))
}

fn bytes(rng: &mut Rng, length: u64) -> Vec<u8> {
    (0..length).map(|_| rng.word() as u8).collect()
}

fn flags(rng: &mut Rng) -> u8 {
    let any = rng.word() as u8;
    rng.pick(&[2, 2, 0x10, 0x18, 0x11, 4, 0x14, 0x12, any])
}

/// What a client of the server of files says, or the beginning of it.
fn ask_for_a_file(rng: &mut Rng, datagram: &mut [u8]) {
    let words = [
        &b"\0\x01common-licenses/GPL-3\0octet\0blksize\x001400\0tsize\x000\0"[..],
        b"\0\x01../../etc/passwd\0octet\0timeout\x001\0",
        b"\0\x04\0\x01",
        b"\0\x04\0\0",
        b"\0\x05\0\x01no\0",
    ][rng.below(5) as usize];
    let count = words.len().min(datagram.len());
    datagram[..count].copy_from_slice(&words[..count]);
}

/// A frame to somewhere, with some of it spoilt.
fn frame(rng: &mut Rng, world: &World) -> Vec<u8> {
    let destination = [
        "10.0.2.2",
        "10.0.2.2",
        "10.0.2.3",
        "255.255.255.255",
        "10.0.2.77",
        "127.0.0.1",
        "fe80::2",
        "fd69:6e6e::2",
        "ff02::2",
    ][rng.below(9) as usize]
        .parse::<std::net::IpAddr>()
        .expect("an address");
    let source = if destination.is_ipv4() { "10.0.2.15" } else { "fd69:6e6e::15" };
    let protocol = rng.pick(&[6, 6, 6, 17, 17, 1, 58, 99]);
    let (mut inner, length) = (Head::default(), rng.below(1400));
    match protocol {
        6 => Tcp {
            source: 1000 + rng.below(40) as u16,
            destination: world.tcp,
            sequence: rng.below(4000) as u32,
            acknowledgement: rng.word() as u32,
            flags: flags(rng),
            window: rng.word() as u16,
            mss: rng.one_in(2).then_some(rng.word() as u16),
            scale: rng.one_in(2).then_some(rng.below(16) as u8),
        }
        .write(&mut inner, 0),
        17 => inner.udp(
            rng.pick(&[68, 5000, 5001]),
            rng.pick(&[67, 53, 69, 69, world.udp, 0]),
            length as usize,
            0,
        ),
        _ => inner.put(&[rng.pick(&[8, 128, 133, 135, 0]), 0, 0, 0, 0, 1, 0, 1]),
    }
    let mut payload = [inner.as_slice(), &bytes(rng, length)].concat();
    if protocol == 17 && rng.one_in(2) {
        ask_for_a_file(rng, &mut payload[inner.as_slice().len()..]);
    }
    let ip = Ip::new(source.parse().expect("an address"), destination, protocol);
    let mut head = Head::default();
    head.ethernet([0x52, 0x55, 10, 0, 2, 2], MAC, ip.kind());
    head.ip(&Ip { payload: payload.len(), ..ip });
    let mut all = [&[0; HEADER_BYTES][..], head.as_slice(), &payload].concat();
    if rng.one_in(2) {
        for _ in 0..rng.below(4) {
            let at = rng.below(all.len().min(110) as u64) as usize;
            all[at] = rng.word() as u8;
        }
    }
    if rng.one_in(8) {
        all.truncate(rng.below(all.len() as u64) as usize);
    }
    all
}

fn frames(rng: &mut Rng, world: &World) {
    let (net, card) = (network(), Arc::new(Lossy(AtomicU64::new(1))));
    let able = rng.one_in(2);
    net.connect(card, Offloads { checksum: able, tso4: able, tso6: able, ufo: false, ecn: false });
    for _ in 0..STEPS {
        let whole = frame(rng, world);
        let cut = rng.below(whole.len() as u64 + 1) as usize;
        net.send(&[IoSlice::new(&whole[..cut]), IoSlice::new(&whole[cut..])]);
        if rng.one_in(4) {
            net.flush();
        }
        if rng.one_in(8) {
            net.ready();
        }
        STEP.fetch_add(1, Ordering::Relaxed);
    }
    net.disconnect();
}

fn e1000(rng: &mut Rng, world: &World) {
    let memory = Arc::new(GuestMemory::new(&[(0, 1 << 20)]).expect("memory"));
    let card = E1000::new(MAC, true, network(), Arc::clone(&memory), Arc::new(Loose));
    card.set_command(7);
    let region: Arc<dyn Device> = card.region(Window::Memory);
    for _ in 0..STEPS {
        let at = if rng.one_in(4) {
            rng.below(MEMORY_BYTES)
        } else {
            rng.pick(&[
                0, 0x10, 0x14, 0x20, 0xC4, 0xC8, 0xD0, 0xD8, 0x100, 0x400, 0x2800, 0x2808, 0x2810, 0x2818,
                0x3800, 0x3808, 0x3810, 0x3818,
            ])
        };
        let value = match rng.below(4) {
            0 => rng.word(),
            1 => rng.below(64),
            2 => rng.below(1 << 20) & !0x7F,
            _ => 0x0200_8002,
        };
        region.write(at, 4, value & 0xFFFF_FFFF);
        region.read(rng.below(MEMORY_BYTES) & !3, 4);
        let what = if rng.one_in(2) { bytes(rng, 128) } else { frame(rng, world) };
        let _ = memory.write(rng.below((1 << 20) - 2000), &what);
        STEP.fetch_add(1, Ordering::Relaxed);
    }
}

fn virtio(rng: &mut Rng, world: &World) {
    let net =
        Arc::new(Net::new(CardSettings { mac: MAC, pairs: 1 + rng.below(2) as u16, mtu: None }, network()));
    let mut driver = Driver::ready(net, rng.word() & 0x00FF_FFFF | rng.word() & 1 << 29);
    for _ in 0..STEPS {
        let queue = rng.below(3) as u16;
        let mut header = frame(rng, world);
        if rng.one_in(4) {
            header.splice(..HEADER_BYTES.min(header.len()), bytes(rng, HEADER_BYTES as u64));
        }
        driver.write(BUFFERS, &header);
        let length = if rng.one_in(16) { rng.below(1 << 17) } else { header.len() as u64 } as u32;
        let pieces = match (queue, rng.below(8)) {
            (0, _) => vec![writable(BUFFERS + 0x10_0000 + rng.below(0x1000), rng.below(4096) as u32)],
            (2, 0..6) => {
                let command =
                    [rng.below(5) as u8, rng.below(3) as u8, rng.below(4) as u8, rng.word() as u8, 0, 0];
                driver.write(BUFFERS + 0x8000, &command);
                vec![readable(BUFFERS + 0x8000, 2 + rng.below(400) as u32), writable(BUFFERS, 1)]
            }
            (_, 0) => vec![readable(rng.word(), length)],
            _ => vec![
                readable(BUFFERS, length / 2),
                readable(BUFFERS + u64::from(length / 2), length - length / 2),
            ],
        };
        driver.offer(queue, &pieces);
        driver.kick(queue);
        while driver.used(queue).is_some() {}
        if driver.status() & 0x40 != 0 {
            break; // it was broken; the next one is another
        }
        STEP.fetch_add(1, Ordering::Relaxed);
    }
    driver.reset();
}

fn resident_kib() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// Ends the program if a round stands still.
fn watch(seed: Arc<AtomicU64>) {
    let (mut last, mut since) = (0, Instant::now());
    loop {
        std::thread::sleep(Duration::from_millis(500));
        let step = STEP.load(Ordering::Relaxed);
        if step != last {
            (last, since) = (step, Instant::now());
        } else if since.elapsed() > STANDSTILL {
            eprintln!("stands still: --seed {}", seed.load(Ordering::Relaxed));
            std::process::exit(1);
        }
    }
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().collect();
    let option = |name: &str| {
        words.iter().position(|word| word == name).and_then(|at| words.get(at + 1)?.parse().ok())
    };
    let (seconds, first): (u64, u64) = (option("--seconds").unwrap_or(60), option("--seed").unwrap_or(1));
    let world = world().expect("sockets on loopback");
    let current = Arc::new(AtomicU64::new(first));
    let watched = Arc::clone(&current);
    std::thread::spawn(move || watch(watched));
    std::panic::set_hook({
        let current = Arc::clone(&current);
        // A panic in any thread counts: most of this works in threads of its own.
        Box::new(move |info| {
            eprintln!("{info}\n{}", std::backtrace::Backtrace::force_capture());
            eprintln!("panicked: --seed {}", current.load(Ordering::Relaxed));
            std::process::exit(1);
        })
    });
    let (begun, mut rounds) = (Instant::now(), 0u64);
    while begun.elapsed() < Duration::from_secs(seconds) {
        let seed = first + rounds;
        current.store(seed, Ordering::Relaxed);
        let mut rng = Rng::new(seed);
        match seed % 3 {
            0 => frames(&mut rng, &world),
            1 => e1000(&mut rng, &world),
            _ => virtio(&mut rng, &world),
        }
        rounds += 1;
        if resident_kib() > MOST_MEMORY_KIB {
            eprintln!("{} KiB resident: --seed {seed}", resident_kib());
            return ExitCode::FAILURE;
        }
    }
    println!("{rounds} rounds, {} steps: nothing", STEP.load(Ordering::Relaxed));
    ExitCode::SUCCESS
}
