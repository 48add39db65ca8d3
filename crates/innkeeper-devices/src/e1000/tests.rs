//! The card, driven by a script, on a cable whose other end is the test's.

use super::*;
use innkeeper_net::wire::checksum;
use innkeeper_net::{HEADER_BYTES, Header, header::Gso};

const ADDRESS: [u8; 6] = [0x52, 0x54, 0, 0, 0, 1];
const RINGS: u64 = 0x1000;
const BUFFERS: u64 = 0x1_0000;

#[derive(Default)]
struct Wire {
    sent: Mutex<Vec<Vec<u8>>>,
    came: Condvar,
    readied: Mutex<usize>,
    able: bool,
}

impl Cable for Wire {
    fn offloads(&self) -> Offloads {
        Offloads { checksum: self.able, tso4: self.able, tso6: self.able, ufo: false, ecn: false }
    }
    fn connect(&self, _card: Arc<dyn Card>, _accepted: Offloads) {}
    fn disconnect(&self) {}
    fn send(&self, frame: &[IoSlice<'_>]) {
        self.sent.lock().unwrap().push(frame.iter().flat_map(|slice| slice.to_vec()).collect());
        self.came.notify_all();
    }
    fn flush(&self) {}
    fn ready(&self) {
        *self.readied.lock().unwrap() += 1;
    }
}

impl Wire {
    fn wait(&self, count: usize) -> Vec<Vec<u8>> {
        let few = |sent: &mut Vec<Vec<u8>>| sent.len() < count;
        let waited =
            self.came.wait_timeout_while(self.sent.lock().unwrap(), Duration::from_secs(10), few).unwrap();
        assert!(!waited.1.timed_out(), "frames that were not sent");
        waited.0.clone()
    }
}

#[derive(Default)]
struct Pin(AtomicBool);

impl Line for Pin {
    fn set(&self, level: bool) {
        self.0.store(level, Ordering::SeqCst);
    }
}

struct Machine {
    wire: Arc<Wire>,
    memory: Arc<GuestMemory>,
    pin: Arc<Pin>,
    card: E1000,
    region: Arc<dyn Device>,
    sent: u64,
}

impl Machine {
    fn new(able: bool) -> Self {
        let wire = Arc::new(Wire { able, ..Wire::default() });
        let memory = Arc::new(GuestMemory::new(&[(0, 1 << 20)]).unwrap());
        let pin = Arc::new(Pin::default());
        let card = E1000::new(ADDRESS, true, wire.clone(), Arc::clone(&memory), pin.clone());
        card.set_command(7);
        let region = card.region(Window::Memory);
        let machine = Self { wire, memory, pin, card, region, sent: 0 };
        for (at, value) in [(TDBAL, RINGS), (TDLEN, 1024), (RDBAL, RINGS + 0x1000), (RDLEN, 256)] {
            machine.write(at, value as u32);
        }
        for at in 0..16 {
            machine
                .memory
                .write(RINGS + 0x1000 + 16 * at, &(BUFFERS + 0x1_0000 + 0x800 * at).to_le_bytes())
                .unwrap();
        }
        machine.write(TCTL, TCTL_EN);
        machine.write(RCTL, RCTL_EN | RCTL_BAM | RCTL_SECRC);
        machine
    }

    fn write(&self, at: u64, value: u32) {
        self.region.write(at, 4, value.into());
    }

    fn read(&self, at: u64) -> u32 {
        self.region.read(at, 4) as u32
    }

    fn describe(&mut self, low: u64, high: u64) {
        let place = RINGS + 16 * (self.sent % 64);
        self.memory.write(place, &[low.to_le_bytes(), high.to_le_bytes()].concat()).unwrap();
        self.sent += 1;
    }

    fn go(&self) {
        self.write(TDT, (self.sent % 64) as u32);
    }

    fn give(&self, frame: &[u8]) -> bool {
        let whole = [&[0; HEADER_BYTES][..], frame].concat();
        let taken = self.card.shared.receive(&[IoSlice::new(&whole)]);
        Card::flush(&*self.card.shared);
        taken
    }

    /// What was received in the ring's place `at`: status, and bytes.
    fn received(&self, at: u64) -> (u8, Vec<u8>) {
        let mut descriptor = [0; 16];
        self.memory.read(RINGS + 0x1000 + 16 * at, &mut descriptor).unwrap();
        let mut bytes = vec![0; usize::from(u16::from_le_bytes([descriptor[8], descriptor[9]]))];
        self.memory.read(BUFFERS + 0x1_0000 + 0x800 * at, &mut bytes).unwrap();
        (descriptor[12], bytes)
    }
}

fn frame(destination: [u8; 6], length: usize) -> Vec<u8> {
    let mut frame: Vec<u8> = (0..length).map(|i| (i % 251) as u8).collect();
    frame[..6].copy_from_slice(&destination);
    frame
}

#[test]
fn a_frame_in_pieces_is_sent_whole_and_reported() {
    let mut machine = Machine::new(true);
    let sent = frame([1; 6], 100);
    machine.memory.write(BUFFERS, &sent).unwrap();
    machine.write(IMS, ICR_TXDW);
    machine.describe(BUFFERS, 40);
    machine.describe(BUFFERS + 40, 60 | 0x09 << 24);
    machine.go();
    assert_eq!(machine.wire.wait(1), [[&[0; HEADER_BYTES][..], &sent].concat()]);
    let deadline = Instant::now() + Duration::from_secs(10);
    while !machine.pin.0.load(Ordering::SeqCst) {
        assert!(Instant::now() < deadline, "no interrupt");
    }
    assert_ne!(machine.read(ICR) & ICR_TXDW, 0);
    assert!(!machine.pin.0.load(Ordering::SeqCst));
    assert_eq!(machine.read(TDH), 2);
}

/// An IPv4 TCP frame of 54 bytes of headers and `length` of payload, as a driver leaves it to be segmented.
fn large(length: usize) -> Vec<u8> {
    let mut bytes = frame([1; 6], 54 + length);
    bytes[12..34]
        .copy_from_slice(&[8, 0, 0x45, 0, 0, 0, 0, 1, 0x40, 0, 64, 6, 0, 0, 10, 0, 2, 15, 10, 0, 2, 2]);
    bytes[34..54]
        .copy_from_slice(&[0x9C, 0x40, 0, 80, 0, 0, 0, 9, 0, 0, 0, 1, 0x50, 0x19, 0xFF, 0xFF, 0, 0, 0, 0]);
    bytes
}

fn send_large(machine: &mut Machine, length: usize) -> Vec<u8> {
    let bytes = large(length);
    machine.memory.write(BUFFERS, &bytes).unwrap();
    let context = 14 | 24 << 8 | 33 << 16 | 34 << 32 | 50 << 40;
    machine.describe(context, length as u64 | 0x27 << 24 | 54 << 40 | 1000 << 48);
    machine.describe(BUFFERS, bytes.len() as u64 | 1 << 20 | 0x25 << 24 | 3 << 40);
    machine.go();
    bytes
}

fn check(frame: &[u8]) {
    assert_eq!(checksum(&frame[14..34]), 0, "IP's checksum");
    assert_eq!(usize::from(u16::from_be_bytes([frame[16], frame[17]])), frame.len() - 14);
}

#[test]
fn a_large_segment_passes_through_to_a_link_that_takes_it() {
    let mut machine = Machine::new(true);
    let bytes = send_large(&mut machine, 2500);
    let sent = machine.wire.wait(1).remove(0);
    let header = Header::parse(sent.first_chunk().unwrap()).unwrap();
    assert_eq!((header.gso, header.segment, header.header_length), (Gso::Tcp4, 1000, 54));
    assert_eq!((header.checksum_start, header.checksum_offset), (34, 16));
    check(&sent[HEADER_BYTES..]);
    assert_eq!(sent[HEADER_BYTES + 54..], bytes[54..]);
}

#[test]
fn a_large_segment_is_cut_for_a_link_that_does_not() {
    let mut machine = Machine::new(false);
    let bytes = send_large(&mut machine, 2500);
    let mut joined: Vec<u8> = Vec::new();
    for (at, sent) in machine.wire.wait(3).iter().enumerate() {
        let sent = &sent[HEADER_BYTES..];
        check(sent);
        let sum = innkeeper_net::wire::Sum::default()
            .pseudo([10, 0, 2, 15].into(), [10, 0, 2, 2].into(), 6, sent.len() - 34)
            .bytes(&sent[34..]);
        assert_eq!(sum.finish(), 0, "TCP's checksum");
        assert_eq!(u32::from_be_bytes(*sent[38..].first_chunk().unwrap()), 9 + 1000 * at as u32);
        assert_eq!(sent[47] & 0x09, if at == 2 { 0x09 } else { 0 });
        assert_eq!(sent[19], 1 + at as u8);
        joined.extend(&sent[54..]);
    }
    assert_eq!(joined, bytes[54..]);
}

#[test]
fn what_comes_is_in_the_drivers_buffers() {
    let machine = Machine::new(true);
    machine.write(IMS, ICR_RXT0);
    machine.write(RDT, 15);
    let received = frame(ADDRESS, 1000);
    assert!(machine.give(&received));
    assert!(machine.pin.0.load(Ordering::SeqCst));
    assert_eq!(machine.received(0), (0x07, received));
    machine.write(RCTL, RCTL_EN);
    assert!(machine.give(&frame(ADDRESS, 20)));
    assert_eq!(machine.received(1).1.len(), 64); // padded, and with the check sequence
    machine.write(RCTL, RCTL_EN | RCTL_LPE | RCTL_SECRC);
    assert!(machine.give(&frame(ADDRESS, 5000)));
    assert_eq!((machine.received(2).0, machine.received(3).0, machine.received(4).0), (5, 5, 7));
    assert_eq!(machine.read(RDH), 5);
}

#[test]
fn filters_let_through_what_they_should() {
    let machine = Machine::new(true);
    machine.write(RDT, 15);
    let group = [0x33, 0x33, 0, 0, 0x12, 0x34];
    let passes = |destination| {
        let before = machine.read(RDH);
        assert!(machine.give(&frame(destination, 60)));
        machine.read(RDH) != before
    };
    assert!(passes(ADDRESS) && passes([0xFF; 6]));
    assert!(!passes([2; 6]) && !passes(group));
    let hash = (0x3412u32 >> 4) & 0xFFF;
    machine.write(MTA + 4 * u64::from(hash >> 5), 1 << (hash & 31));
    assert!(passes(group));
    machine.write(RCTL, RCTL_EN | RCTL_UPE);
    assert!(passes([2; 6]) && !passes([0xFF; 6]));
    machine.write(RCTL, 0);
    assert!(!passes(ADDRESS));
}

#[test]
fn a_link_that_found_no_room_hears_of_it() {
    let machine = Machine::new(true);
    assert!(!machine.give(&frame(ADDRESS, 60)));
    machine.write(RDT, 8);
    let deadline = Instant::now() + Duration::from_secs(10);
    while *machine.wire.readied.lock().unwrap() == 0 {
        assert!(Instant::now() < deadline, "nobody told the link");
        std::thread::yield_now();
    }
    assert!(machine.give(&frame(ADDRESS, 60)));
}

#[test]
fn interrupts_keep_their_distance() {
    let machine = Machine::new(true);
    machine.write(ITR, 0xFFFF); // 16.8 ms
    machine.write(IMS, ICR_LSC);
    machine.write(ICS, ICR_LSC);
    assert!(machine.pin.0.load(Ordering::SeqCst));
    machine.read(ICR);
    let begun = Instant::now();
    machine.write(ICS, ICR_LSC);
    while !machine.pin.0.load(Ordering::SeqCst) {
        assert!(begun.elapsed() < Duration::from_secs(10), "it never comes");
        std::thread::yield_now();
    }
    assert!(begun.elapsed() > Duration::from_millis(10));
}

#[test]
fn a_pulled_cable_is_told() {
    let machine = Machine::new(true);
    machine.write(IMS, ICR_LSC);
    assert_ne!(machine.read(STATUS) & STATUS_LU, 0);
    machine.card.set_up(false);
    assert!(machine.pin.0.load(Ordering::SeqCst));
    assert_eq!(machine.read(STATUS) & STATUS_LU, 0);
    machine.write(RDT, 8);
    assert!(machine.give(&frame(ADDRESS, 60)));
    assert_eq!(machine.read(RDH), 0);
}

#[test]
fn a_reset_keeps_the_address_and_nothing_else() {
    let machine = Machine::new(true);
    machine.write(IMS, 0xFF);
    machine.write(RAL, 0);
    machine.write(CTRL, CTRL_RST);
    assert_eq!((machine.read(IMS), machine.read(RCTL), machine.read(TDLEN)), (0, 0, 0));
    assert_eq!((machine.read(RAL), machine.read(RAH)), (0x0000_5452, RAH_VALID | 0x0100));
}

#[test]
fn random_registers_and_descriptors_harm_nobody() {
    let mut seed = 0x1234_5678_9ABC_DEF1u64;
    let mut next = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    let machine = Machine::new(false);
    let registers = [
        CTRL,
        EECD,
        EERD,
        MDIC,
        ITR,
        ICS,
        IMS,
        IMC,
        RCTL,
        TCTL,
        RDBAL,
        RDBAL + 4,
        RDLEN,
        RDH,
        RDT,
        TDBAL,
        TDBAL + 4,
        TDLEN,
        TDH,
        TDT,
    ];
    for round in 0..20_000 {
        let at = if round % 4 == 0 { next() % MEMORY_BYTES } else { registers[(next() % 20) as usize] };
        let value = match next() % 3 {
            0 => next() as u32,
            1 => (next() % 64) as u32,
            _ => (next() % (1 << 20)) as u32,
        };
        machine.region.write(at, if round % 50 == 0 { 2 } else { 4 }, value.into());
        machine.region.read(next() % MEMORY_BYTES, 4);
        let words: Vec<u8> = (0..8).flat_map(|_| next().to_le_bytes()).collect();
        machine.memory.write(next() % ((1 << 20) - 64), &words).unwrap();
        machine.give(&frame(ADDRESS, (next() % 4000 + 14) as usize));
        machine.wire.sent.lock().unwrap().clear();
    }
}
