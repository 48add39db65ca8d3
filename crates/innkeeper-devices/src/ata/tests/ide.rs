//! The IDE controller through its ports.

use innkeeper_bus::bus::Device;
use innkeeper_bus::memory::GuestMemory;

use super::super::ide::IdeController;
use super::super::taskfile::status;
use super::*;

const DISK_DMA: u64 = 0x1_0000;
const TABLE: u64 = 0x8000;
const MASTER_STATUS: u64 = 2;

pub struct Board {
    pub memory: Arc<GuestMemory>,
    pub controller: IdeController,
    pub command: Arc<dyn Device>,
    pub control: Arc<dyn Device>,
    pub master: Arc<dyn Device>,
    pub line: Arc<Wire>,
}

impl Board {
    pub fn new(drives: [Option<Drive>; 2]) -> Self {
        let memory = Arc::new(GuestMemory::new(&[(0, 1 << 20)]).unwrap());
        let line = Arc::new(Wire::default());
        let lines: [Arc<dyn Line>; 2] = [line.clone(), Arc::new(Wire::default())];
        let controller = IdeController::new(&memory, lines, [drives, [None, None]]).unwrap();
        controller.set_master(true);
        let (command, control) = (controller.command_block(0), controller.control_block(0));
        let master = controller.bus_master();
        Self { memory, controller, command, control, master, line }
    }

    fn status(&self) -> u8 {
        self.control.read(0, 1) as u8
    }

    pub fn wait(&self, bits: u8) {
        until("an end of BSY", || self.status() & status::BSY == 0);
        assert_eq!(self.status() & bits, bits, "status {:x}", self.status());
    }

    fn write(&self, registers: &[(u64, u8)]) {
        for &(offset, value) in registers {
            self.command.write(offset, 1, value.into());
        }
    }

    /// A 28-bit command for sectors.
    fn command(&self, command: u8, lba: u32, count: u8) {
        let [low, mid, high, top] = lba.to_le_bytes();
        self.write(&[(6, 0xE0 | top), (2, count), (3, low), (4, mid), (5, high), (7, command)]);
    }

    fn data(&self, bytes: usize) -> Vec<u8> {
        let mut data = vec![0; bytes];
        self.command.read_string(0, 2, &mut data);
        data
    }

    /// Points the bus master at descriptors.
    fn descriptors(&self, entries: &[(u32, u32)]) {
        for (i, (address, length)) in entries.iter().enumerate() {
            let bytes = [address.to_le_bytes(), length.to_le_bytes()].concat();
            self.memory.write(TABLE + 8 * i as u64, &bytes).unwrap();
        }
        self.master.write(4, 4, TABLE);
        self.master.write(MASTER_STATUS, 1, 6);
    }

    fn memory(&self, length: usize) -> Vec<u8> {
        let mut data = vec![0; length];
        self.memory.read(DISK_DMA, &mut data).unwrap();
        data
    }

    /// Waits for the line to rise once more, and acknowledges it.
    fn interrupt(&self) {
        until("an interrupt", || self.line.level.load(Ordering::SeqCst));
        self.command.read(7, 1);
        assert!(!self.line.level.load(Ordering::SeqCst));
    }
}

fn with_disk() -> (Board, Arc<MemoryDisk>) {
    let disk = MemoryDisk::new(4096);
    (Board::new([Some(ata_disk(&disk, false)), None]), disk)
}

#[test]
fn pio_reads_interrupt_before_every_sector() {
    let (board, disk) = with_disk();
    board.command(0x20, 5, 3);
    for sector in 5..8 {
        board.interrupt();
        board.wait(status::DRQ);
        assert!(board.data(512) == disk.sector(sector));
    }
    board.wait(status::READY);
    assert_eq!(board.status() & status::DRQ, 0);
    assert_eq!(board.line.edges.load(Ordering::SeqCst), 3);
}

#[test]
fn single_words_are_read_as_strings_are() {
    let (board, disk) = with_disk();
    board.command(0xC4, 9, 2);
    board.wait(status::DRQ);
    let words: Vec<u8> = (0..512).flat_map(|_| (board.command.read(0, 2) as u16).to_le_bytes()).collect();
    assert!(words == [disk.sector(9), disk.sector(10)].concat());
    assert_eq!(board.line.edges.load(Ordering::SeqCst), 1);
}

#[test]
fn pio_writes_interrupt_after_every_sector() {
    let (board, disk) = with_disk();
    board.command(0x30, 5, 2);
    board.wait(status::DRQ);
    assert!(!board.line.level.load(Ordering::SeqCst));
    board.command.write_string(0, 2, &[7; 512]);
    board.interrupt();
    board.wait(status::DRQ);
    board.command.write_string(0, 2, &[8; 512]);
    board.interrupt();
    board.wait(status::READY);
    assert!(disk.sector(5) == [7; 512] && disk.sector(6) == [8; 512] && disk.sector(7)[0] == 7);
}

#[test]
fn dma_fills_the_guests_descriptors() {
    let (board, disk) = with_disk();
    board.descriptors(&[(DISK_DMA as u32, 700), (DISK_DMA as u32 + 700, 1 << 31 | 324)]);
    board.command(0xC8, 20, 2);
    board.master.write(0, 1, 0x09);
    board.interrupt();
    board.wait(status::READY);
    assert_eq!(board.master.read(MASTER_STATUS, 1) & 7, 4);
    board.master.write(0, 1, 0);
    assert!(board.memory(1024) == [disk.sector(20), disk.sector(21)].concat());
}

#[test]
fn dma_writes_come_from_memory_and_longer_descriptors_stay_active() {
    let (board, disk) = with_disk();
    board.memory.write(DISK_DMA, &[0x5A; 1024]).unwrap();
    board.descriptors(&[(DISK_DMA as u32, 1 << 31)]); // 64 KiB
    board.command(0xCA, 20, 2);
    board.master.write(0, 1, 0x01);
    board.interrupt();
    assert_eq!(board.master.read(MASTER_STATUS, 1) & 7, 5);
    assert!(disk.sector(20) == [0x5A; 512] && disk.sector(21) == [0x5A; 512]);
}

#[test]
fn bad_descriptors_end_in_an_error() {
    for (address, length, command) in [
        (DISK_DMA as u32, 1 << 31 | 512, 0x09),
        (0xFFFF_FF00, 1 << 31, 0x09),
        (DISK_DMA as u32, 1 << 31, 0x01),
    ] {
        let (board, _) = with_disk();
        board.descriptors(&[(address, length)]);
        board.command(0xC8, 20, 2);
        board.master.write(0, 1, command);
        board.interrupt();
        board.wait(status::ERR);
        assert_eq!(board.master.read(MASTER_STATUS, 1) & 3, 2, "{address:x}");
    }
}

#[test]
fn dma_waits_for_the_right_to_master_the_bus() {
    let (board, disk) = with_disk();
    board.controller.set_master(false);
    board.descriptors(&[(DISK_DMA as u32, 1 << 31 | 512)]);
    board.command(0xC8, 20, 1);
    board.master.write(0, 1, 0x09);
    assert_eq!(board.status() & status::BSY, status::BSY);
    board.controller.set_master(true);
    board.interrupt();
    assert!(board.memory(512) == disk.sector(20));
}

#[test]
fn wide_addresses_come_from_registers_written_twice() {
    let (board, disk) = with_disk();
    let registers =
        [(6, 0xE0), (2, 0), (3, 0), (4, 0), (5, 0), (2, 1), (3, 0x34), (4, 0x02), (5, 0), (7, 0x24)];
    board.write(&registers);
    board.wait(status::DRQ);
    assert!(board.data(512) == disk.sector(0x234));
}

#[test]
fn a_reset_forgets_the_command_and_shows_signatures() {
    let (disk, (cd, _, _)) = (MemoryDisk::new(64), cdrom(64));
    let board = Board::new([Some(ata_disk(&disk, false)), Some(cd)]);
    board.command(0x20, 0, 1);
    board.wait(status::DRQ);
    board.control.write(0, 1, 0x04);
    assert_eq!(board.status(), status::BSY);
    board.control.write(0, 1, 0x00);
    let signature = |board: &Board| [2, 3, 4, 5, 7].map(|offset| board.command.read(offset, 1) as u8);
    assert_eq!(signature(&board), [1, 1, 0, 0, status::READY]);
    board.write(&[(6, 0x10)]);
    assert_eq!(signature(&board), [1, 1, 0x14, 0xEB, 0]);
    board.write(&[(6, 0x00)]);
    board.command(0x20, 3, 1);
    board.wait(status::DRQ);
    assert!(board.data(512) == disk.sector(3));
}

#[test]
fn nobody_answers_where_no_drive_is() {
    let (board, _) = with_disk();
    board.write(&[(6, 0xB0), (2, 0x55), (3, 0xAA)]);
    assert_eq!((board.command.read(2, 1), board.command.read(7, 1)), (0, 0));
    board.write(&[(7, 0xEC)]);
    assert_eq!(board.status(), 0);
    let empty = board.controller.command_block(1);
    assert_eq!(empty.read(7, 1), 0);
}

#[test]
fn interrupts_can_be_turned_off() {
    let (board, _) = with_disk();
    board.control.write(0, 1, 0x02);
    board.command(0xE7, 0, 0);
    board.wait(status::READY);
    assert!(!board.line.level.load(Ordering::SeqCst));
    board.control.write(0, 1, 0x00);
    assert!(board.line.level.load(Ordering::SeqCst));
}

#[test]
fn a_packet_goes_in_its_data_comes_out_and_an_interrupt_ends_it() {
    let (cd, _, disc) = cdrom(64);
    let board = Board::new([Some(cd), None]);
    let send = |packet: &[u8; 12]| {
        board.write(&[(6, 0xA0), (1, 0), (4, 0x00), (5, 0x08), (7, 0xA0)]);
        board.wait(status::DRQ);
        assert_eq!(board.command.read(2, 1) & 3, 1); // a command, to the drive
        board.command.write_string(0, 2, packet);
        board.interrupt();
    };
    for _ in 0..2 {
        send(&[0; 12]);
        board.wait(status::ERR);
    }
    send(&[0x28, 0, 0, 0, 0, 3, 0, 0, 2, 0, 0, 0]);
    for block in 3..5 {
        board.wait(status::DRQ);
        let length = board.command.read(4, 1) | board.command.read(5, 1) << 8;
        assert_eq!((board.command.read(2, 1) & 3, length), (2, 2048));
        let data = board.data(2048);
        assert!(data == disc.bytes.lock().unwrap()[block * 2048..(block + 1) * 2048]);
        board.interrupt();
    }
    board.wait(status::DRDY);
    assert_eq!((board.status() & status::DRQ, board.command.read(2, 1) & 3), (0, 3));
}
