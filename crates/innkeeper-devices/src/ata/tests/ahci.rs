//! The AHCI controller through its memory.

use innkeeper_bus::bus::Device;
use innkeeper_bus::interrupt::InterruptFabric;
use innkeeper_bus::memory::GuestMemory;

use super::super::ahci::{AhciController, MOST_PORTS};
use super::super::taskfile::{error, status};
use super::*;

pub const LIST: u64 = 0x1_0000;
pub const RECEIVED: u64 = 0x1_1000;
pub const TABLES: u64 = 0x2_0000;
const DATA: u64 = 0x4_0000;
const PORT: u64 = 0x100;
const CONTROL: u64 = 0x04;
const STATUS: u64 = 0x08;
const RUN: u64 = 0x11; // ST, FRE

/// Messages that came.
#[derive(Default)]
pub struct Messages(Mutex<Vec<(u64, u32)>>);

impl InterruptFabric for Messages {
    fn set_irq(&self, _gsi: u32, _level: bool) {}
    fn signal_msi(&self, address: u64, data: u32) {
        self.0.lock().unwrap().push((address, data));
    }
}

pub struct Board {
    pub memory: Arc<GuestMemory>,
    pub controller: AhciController,
    pub registers: Arc<dyn Device>,
    pub pin: Arc<Wire>,
    messages: Arc<Messages>,
}

impl Board {
    pub fn new(drive: Drive) -> Self {
        let memory = Arc::new(GuestMemory::new(&[(0, 1 << 20)]).unwrap());
        let (pin, messages) = (Arc::new(Wire::default()), Arc::new(Messages::default()));
        let mut drives = [const { None }; MOST_PORTS];
        drives[0] = Some(drive);
        let controller = AhciController::new(&memory, messages.clone(), pin.clone(), drives).unwrap();
        controller.set_master(true);
        let registers = controller.region();
        Self { memory, controller, registers, pin, messages }
    }

    /// Starts the port, as drivers do.
    pub fn start(self) -> Self {
        self.write(PORT, LIST);
        self.write(PORT + 0x08, RECEIVED);
        self.write(PORT + 0x14, 0x7FFF_FFFF);
        self.write(PORT + 0x30, 0xFFFF_FFFF);
        self.write(PORT + 0x18, RUN);
        self.write(CONTROL, 2);
        self.acknowledge();
        self
    }

    pub fn write(&self, offset: u64, value: u64) {
        self.registers.write(offset, 4, value);
    }

    pub fn read(&self, offset: u64) -> u32 {
        self.registers.read(offset, 4) as u32
    }

    fn acknowledge(&self) -> u32 {
        let pending = self.read(PORT + 0x10);
        self.write(PORT + 0x10, pending.into());
        self.write(STATUS, 1);
        pending
    }

    /// Puts a command with its descriptors into a slot.
    fn prepare(&self, slot: u64, fis: &[u8], packet: &[u8], descriptors: &[(u64, u32)]) {
        let table = TABLES + 0x1000 * slot;
        self.memory.write(table, fis).unwrap();
        self.memory.write(table + 0x40, packet).unwrap();
        for (i, (address, length)) in descriptors.iter().enumerate() {
            let words = [*address as u32, (*address >> 32) as u32, 0, length - 1];
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
            self.memory.write(table + 0x80 + 16 * i as u64, &bytes).unwrap();
        }
        let header = [5 | (descriptors.len() as u32) << 16, 0, table as u32, 0];
        let bytes: Vec<u8> = header.iter().flat_map(|word| word.to_le_bytes()).collect();
        self.memory.write(LIST + 32 * slot, &bytes).unwrap();
    }

    /// Reads a sector and looks at it.
    pub fn read_sector(&self, sector: u64, disk: &MemoryDisk) {
        self.prepare(0, &fis(0x25, 0, sector, 1), &[], &[(DATA, 512)]);
        self.issue(0);
        self.finished();
        assert!(self.data(512) == disk.sector(sector as usize));
    }

    fn issue(&self, slot: u64) {
        self.write(PORT + 0x38, 1 << slot);
    }

    fn finished(&self) {
        until("the end of all commands", || self.read(PORT + 0x38) | self.read(PORT + 0x34) == 0);
    }

    fn data(&self, length: usize) -> Vec<u8> {
        let mut data = vec![0; length];
        self.memory.read(DATA, &mut data).unwrap();
        data
    }
}

/// A frame with a command.
fn fis(command: u8, features: u16, lba: u64, count: u16) -> [u8; 20] {
    let (at, features, count) = (lba.to_le_bytes(), features.to_le_bytes(), count.to_le_bytes());
    let [low, high] = [&at[..3], &at[3..6]];
    let mut fis = [
        0x27,
        0x80,
        command,
        features[0],
        0,
        0,
        0,
        0x40,
        0,
        0,
        0,
        features[1],
        count[0],
        count[1],
        0,
        0,
        0,
        0,
        0,
        0,
    ];
    fis[4..7].copy_from_slice(low);
    fis[8..11].copy_from_slice(high);
    fis
}

pub fn with_disk() -> (Board, Arc<MemoryDisk>) {
    let disk = MemoryDisk::new(4096);
    (Board::new(ata_disk(&disk, true)).start(), disk)
}

#[test]
fn ports_tell_who_is_there() {
    let (board, _) = with_disk();
    assert_eq!((board.read(PORT + 0x24), board.read(PORT + 0x28)), (0x0000_0101, 0x123));
    assert_eq!((board.read(PORT + 0x80 + 0x24), board.read(PORT + 0x80 + 0x28)), (0xFFFF_FFFF, 0));
    assert_eq!(board.read(0) & 0x1F, 5);
    assert_eq!((board.read(0x0C), board.read(PORT + 0x20) & 0xFF), (0x3F, 0x50));
    let board = Board::new(cdrom(4).0).start();
    assert_eq!(board.read(PORT + 0x24), 0xEB14_0101);
    let mut frame = [0; 8];
    board.memory.read(RECEIVED + 0x40, &mut frame).unwrap();
    assert_eq!(frame, [0x34, 0, 0, 1, 1, 0x14, 0xEB, 0]);
}

#[test]
fn dma_goes_through_descriptors_and_ends_with_a_frame() {
    let (board, disk) = with_disk();
    board.prepare(3, &fis(0x25, 0, 9, 2), &[], &[(DATA, 100), (DATA + 100, 1000)]);
    board.issue(3);
    board.finished();
    assert!(board.data(1024) == [disk.sector(9), disk.sector(10)].concat());
    until("the interrupt", || board.pin.level.load(Ordering::SeqCst));
    assert_eq!(board.acknowledge() & 0x4000_0001, 1);
    assert!(!board.pin.level.load(Ordering::SeqCst));
    let mut moved = [0; 4];
    board.memory.read(LIST + 32 * 3 + 4, &mut moved).unwrap();
    assert_eq!(u32::from_le_bytes(moved), 1024);
}

#[test]
fn pio_ends_with_its_setup_frame() {
    let (board, _) = with_disk();
    board.prepare(0, &fis(0xEC, 0, 0, 0), &[], &[(DATA, 512)]);
    board.issue(0);
    board.finished();
    assert_eq!(board.acknowledge() & 0x4000_0003, 2);
    let mut frame = [0; 20];
    board.memory.read(RECEIVED + 0x20, &mut frame).unwrap();
    assert_eq!((frame[0], frame[1], frame[15], frame[17]), (0x5F, 0x60, status::READY, 2));
    assert_eq!(&board.data(24)[20..], b"1S  ");
}

#[test]
fn a_queue_of_commands_is_done_and_told_by_tag() {
    let (board, disk) = with_disk();
    for slot in 0..32u64 {
        board.prepare(slot, &fis(0x60, 1, 100 + slot, (slot as u16) << 3), &[], &[(DATA + 512 * slot, 512)]);
    }
    board.write(PORT + 0x34, 0xFFFF_FFFF);
    board.write(PORT + 0x38, 0xFFFF_FFFF);
    board.finished();
    let expected: Vec<u8> = (100..132).flat_map(|sector| disk.sector(sector)).collect();
    assert!(board.data(32 * 512) == expected);
    assert_eq!(board.acknowledge() & 0x4000_0008, 8);
}

#[test]
fn a_queued_command_that_fails_stops_the_queue_and_is_logged() {
    let (board, _) = with_disk();
    board.prepare(4, &fis(0x61, 1, 1 << 40, 4 << 3), &[], &[(DATA, 512)]);
    board.write(PORT + 0x34, 1 << 4);
    board.issue(4);
    until("the error", || board.read(PORT + 0x10) & 1 << 30 != 0);
    assert_eq!((board.read(PORT + 0x34), board.read(PORT + 0x38)), (1 << 4, 0));
    board.write(PORT + 0x18, 0x10);
    assert_eq!(board.read(PORT + 0x34), 0);
    board.acknowledge();
    board.write(PORT + 0x18, RUN);
    board.prepare(0, &fis(0x2F, 0, 0x10, 1), &[], &[(DATA, 512)]);
    board.issue(0);
    board.finished();
    let log = board.data(4);
    assert_eq!((log[0], log[3]), (4, error::IDNF));
}

#[test]
fn trouble_with_descriptors_is_told_apart() {
    for (descriptors, bit) in [(&[(DATA, 512)][..], 1u32 << 24), (&[(0xFFFF_FFFF_FFFF_FE00, 1024)], 1 << 29)]
    {
        let (board, _) = with_disk();
        board.prepare(0, &fis(0x25, 0, 0, 2), &[], descriptors);
        board.issue(0);
        until("the error", || board.read(PORT + 0x10) & 1 << 30 != 0);
        assert_eq!(board.read(PORT + 0x10) & (1 << 24 | 1 << 29), bit);
        assert_eq!((board.read(PORT + 0x38), board.read(PORT + 0x20) & 1), (1, 1));
    }
}

#[test]
fn packets_lie_in_the_command_table() {
    let (drive, _, disc) = cdrom(64);
    let board = Board::new(drive).start();
    let send = |packet: &[u8; 12]| {
        board.prepare(0, &fis(0xA0, 1, 0, 0), packet, &[(DATA, 4096)]);
        board.issue(0);
        until("an end", || board.read(PORT + 0x10) & 1 != 0);
        let failed = board.acknowledge() & 1 << 30 != 0;
        board.write(PORT + 0x18, 0x10);
        board.write(PORT + 0x18, RUN);
        failed
    };
    assert_eq!([0; 3].map(|_| send(&[0; 12])), [true, true, false]);
    assert!(!send(&[0x28, 0, 0, 0, 0, 7, 0, 0, 2, 0, 0, 0]));
    assert!(board.data(4096) == disc.bytes.lock().unwrap()[7 * 2048..9 * 2048]);
}

#[test]
fn resets_of_link_and_software_bring_the_signature() {
    let (board, _) = with_disk();
    board.write(PORT + 0x2C, 0x301);
    assert_eq!((board.read(PORT + 0x28), board.read(PORT + 0x20) & 0x80), (0, 0x80));
    board.write(PORT + 0x2C, 0x300);
    assert_eq!((board.read(PORT + 0x28), board.read(PORT + 0x24)), (0x123, 0x101));
    assert_eq!(board.read(PORT + 0x10) & 1 << 6, 1 << 6);
    board.memory.write(RECEIVED + 0x40, &[0; 20]).unwrap();
    for reset in [4, 0] {
        let mut frame = fis(0, 0, 0, 0);
        (frame[1], frame[15]) = (0, reset);
        board.prepare(0, &frame, &[], &[]);
        board.issue(0);
        board.finished();
    }
    let mut frame = [0; 6];
    board.memory.read(RECEIVED + 0x40, &mut frame).unwrap();
    assert_eq!(frame, [0x34, 0, status::READY, 1, 1, 0]);
}

#[test]
fn a_message_takes_the_place_of_the_pin() {
    let (board, _) = with_disk();
    board.controller.set_interrupts(true, Some((0xFEE0_0000, 0x41)));
    board.prepare(0, &fis(0xE7, 0, 0, 0), &[], &[]);
    board.issue(0);
    board.finished();
    until("the message", || !board.messages.0.lock().unwrap().is_empty());
    assert_eq!(board.messages.0.lock().unwrap()[0], (0xFEE0_0000, 0x41));
    assert!(!board.pin.level.load(Ordering::SeqCst));
}

#[test]
fn a_reset_of_the_controller_stops_everything() {
    let (board, _) = with_disk();
    board.write(CONTROL, 1);
    assert_eq!((board.read(CONTROL), board.read(PORT + 0x18)), (1 << 31, 6));
    assert_eq!((board.read(PORT), board.read(PORT + 0x28)), (0, 0x123));
}
