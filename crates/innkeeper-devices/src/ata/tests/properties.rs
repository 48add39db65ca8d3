//! Whatever a guest does with registers, memory and packets: nothing panics, nothing hangs, and after a reset the
//! drive works as if nothing had been.
//!
//! `INNKEEPER_FUZZ_SECONDS` makes each of these go on for so long, from `INNKEEPER_FUZZ_SEED` on (`make fuzz`).

use std::env;

use super::super::cdrom::iso;
use super::*;
use super::{ahci, ide};

pub struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        // Marsaglia's xorshift64*.
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }

    /// A byte, often one that means something.
    fn byte(&mut self) -> u8 {
        match self.below(3) {
            0 => self.pick(&[0, 1, 2, 4, 8, 0x10, 0x40, 0x80, 0xFF, 0xA0, 0xEC, 0xC8, 0x25, 0x35, 0x08]),
            _ => self.next() as u8,
        }
    }

    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.byte())
    }
}

/// Calls `case` with one seed after the other: `cases` of them, or as long as was asked for.
fn cases(cases: u64, mut case: impl FnMut(&mut Random)) {
    let number = |name| env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let first = number("INNKEEPER_FUZZ_SEED").unwrap_or(1);
    let end = number("INNKEEPER_FUZZ_SECONDS").map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let mut seed = first;
    while end.map_or(seed < first + cases, |end| Instant::now() < end) {
        let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| case(&mut random)));
        if let Err(panic) = result {
            eprintln!("INNKEEPER_FUZZ_SEED={seed} repeats this");
            std::panic::resume_unwind(panic);
        }
        seed += 1;
    }
    eprintln!("{} cases", seed - first);
}

/// Descriptors: some good, some not.
fn scatter(random: &mut Random, memory: &innkeeper_bus::memory::GuestMemory, at: u64) {
    for i in 0..random.below(6) {
        let address = random.pick(&[0, 0x4_0000, 0xF_FFFE, 0x10_0000, 0xFFFF_FFFF]) + random.below(64);
        let length = random.pick(&[0, 2, 512, 0xFFFE, 0xFFFF]) | random.below(2) << 31;
        let bytes = (address & 0xFFFF_FFFF | length << 32).to_le_bytes();
        memory.write(at + 8 * i, &bytes).unwrap();
    }
}

fn ide_step(random: &mut Random, board: &ide::Board, tray: &Tray, disk: &MemoryDisk) {
    let size = random.pick(&[1u8, 1, 2, 4, 8]);
    match random.below(16) {
        0..=4 => board.command.write(random.below(8), size, random.byte().into()),
        5..=6 => drop(board.command.read(random.below(8), size)),
        7 => {
            let mut data = vec![0; random.below(5000) as usize * usize::from(size)];
            board.command.read_string(random.pick(&[0, 0, 7]), size, &mut data);
        }
        8 => board.command.write_string(random.pick(&[0, 0, 2]), size, &random.bytes::<512>()),
        9 => board.control.write(0, 1, random.pick(&[0, 0, 2, 4, 6, 0x80])),
        10..=11 => board.master.write(random.below(16), size, random.next()),
        12 => {
            scatter(random, &board.memory, 0x8000);
            board.master.write(4, 4, random.pick(&[0x8000, 0x8000, 0xF_FFFC, 0xFFFF_FFFC]));
            board.master.write(0, 1, random.pick(&[0, 1, 8, 9, 9]));
        }
        13 => board.controller.set_master(random.below(4) != 0),
        14 => drop(tray.change(Some(MemoryDisk::new(random.below(100))), random.below(2) == 0)),
        _ => disk.broken.store(random.below(4) == 0, Ordering::SeqCst),
    }
}

#[test]
fn ide_survives_its_guests() {
    cases(25, |random| {
        let disk = MemoryDisk::new(4096);
        let (cd, tray, _) = cdrom(64);
        let board = ide::Board::new([Some(ata_disk(&disk, false)), Some(cd)]);
        for _ in 0..400 {
            ide_step(random, &board, &tray, &disk);
        }
        disk.broken.store(false, Ordering::SeqCst);
        board.control.write(0, 1, 4);
        board.control.write(0, 1, 0);
        for (offset, value) in [(6, 0xE0), (2, 1), (3, 77), (4, 1), (5, 0), (7, 0x20)] {
            board.command.write(offset, 1, value);
        }
        board.wait(8);
        let mut data = [0; 512];
        board.command.read_string(0, 2, &mut data);
        assert!(data[..] == disk.sector(0x14D));
    });
}

fn ahci_step(random: &mut Random, board: &ahci::Board, disk: &MemoryDisk) {
    let port = 0x100 + random.pick(&[0, 0, 0, 0x80]);
    match random.below(12) {
        0..=2 => {
            let value = random.pick(&[0, 1, 0x11, 0x19, 0xFFFF_FFFF, ahci::LIST, ahci::RECEIVED, random.0]);
            board.write(port + 4 * random.below(16), value);
        }
        3 => board.registers.write(random.below(0x1100), random.pick(&[1, 2, 4, 8]), random.next()),
        4 => drop(board.registers.read(random.below(0x1100), random.pick(&[1, 2, 4, 8]))),
        5..=8 => {
            let (slot, table) = (random.below(32), ahci::TABLES + 0x400 * random.below(8));
            let flags = random.below(0x1_0000) | random.pick(&[0, 1, 3, 0xFFFF]) << 16;
            let table = if random.below(8) == 0 { random.next() } else { table };
            let header = [flags.to_le_bytes(), table.to_le_bytes()].concat();
            board.memory.write(ahci::LIST + 32 * slot, &header).unwrap();
            let mut frame = random.bytes::<32>();
            (frame[0], frame[1]) = (0x27, random.pick(&[0x80, 0x80, 0x80, 0]));
            frame[2] = random.pick(&[0x60, 0x61, 0x25, 0x35, 0xEC, 0xC8, 0x06, 0x2F, 0xEF, frame[2]]);
            let _ = board.memory.write(table, &frame);
            for i in 0..3 {
                let address = random.pick(&[0x4_0000u64, 0xF_FFF0, 0x10_0000, u64::MAX]);
                let length = random.pick(&[1u64, 511, 0x1_FFFF, 0x3F_FFFF]) << 32;
                let entry = [address.to_le_bytes(), length.to_le_bytes()].concat();
                let _ = board.memory.write(table.wrapping_add(0x80 + 16 * i), &entry);
            }
            board.write(port + 0x34, random.below(2) << slot);
            board.write(port + 0x38, 1 << slot);
        }
        9 => board.controller.set_interrupts(random.below(2) == 0, Some((random.next(), 1))),
        10 => board.controller.set_master(random.below(4) != 0),
        _ => disk.broken.store(random.below(4) == 0, Ordering::SeqCst),
    }
}

#[test]
fn ahci_survives_its_guests() {
    cases(25, |random| {
        let (board, disk) = ahci::with_disk();
        for _ in 0..400 {
            ahci_step(random, &board, &disk);
        }
        disk.broken.store(false, Ordering::SeqCst);
        board.controller.set_master(true);
        board.write(0x04, 1);
        let board = board.start();
        board.read_sector(77, &disk);
    });
}

#[test]
fn packets_of_any_kind_are_answered() {
    cases(500, |random| {
        let (mut drive, tray, disc) = cdrom(random.below(200));
        for _ in 0..20 {
            let mut packet = random.bytes();
            packet[0] = random.pick(&[
                0x00, 0x03, 0x12, 0x1A, 0x1B, 0x1E, 0x25, 0x28, 0x2B, 0x2F, 0x42, 0x43, 0x46, 0x4A, 0x51,
                0x52, 0x5A, 0xA8, 0xAD, 0xB9, 0xBB, 0xBD, 0xBE, packet[0],
            ]);
            let mut bench = Bench { packet, ..Bench::default() };
            let (features, lba) = (random.below(4) as u16, random.next() & 0xFF_FFFF);
            let mut registers = Taskfile { command: 0xA0, features, lba, ..Taskfile::default() };
            let _ = drive.command(&mut registers, &mut bench);
            assert!(bench.sent.len() <= 200 * 2048 + 0x1_0000, "more than there is");
            if random.below(10) == 0 {
                let _ = tray.change((random.below(2) == 0).then(|| disc.clone() as Arc<dyn Disk>), true);
            }
        }
    });
}

#[test]
fn commands_of_any_kind_are_answered() {
    cases(500, |random| {
        let disk = MemoryDisk::new(random.below(300));
        let mut drive = ata_disk(&disk, random.below(2) == 0);
        for _ in 0..10 {
            let given = vec![random.byte(); random.below(2000) as usize];
            let mut bench = Bench { given, room: Some(random.below(4000) as usize), ..Bench::default() };
            let mut registers = Taskfile {
                command: random.byte(),
                features: random.next() as u16,
                count: random.pick(&[0, 1, 2, 0xFF, 0xFFFF]),
                lba: random.pick(&[0, 1, 299, 0xFF_FFFF, 0xFFFF_FFFF_FFFF, random.0 & 0xFFFF_FFFF_FFFF]),
                device: random.byte(),
                ..Taskfile::default()
            };
            let _ = drive.command(&mut registers, &mut bench);
        }
    });
}

#[test]
fn discs_of_any_kind_are_looked_at() {
    cases(200, |random| {
        let disc = MemoryDisk::new(random.below(400));
        for block in 16..random.below(100) {
            let mut bytes = disc.bytes.lock().unwrap();
            let Some(place) = bytes.get_mut(block as usize * 2048..block as usize * 2048 + 72) else { break };
            place.copy_from_slice(&random.bytes::<72>());
            let known: [&[u8; 5]; 6] = [b"CD001", b"BEA01", b"NSR02", b"TEA01", b"BOOT2", b"CDW02"];
            place[1..6].copy_from_slice(known[random.below(6) as usize]);
        }
        disc.broken.store(random.below(20) == 0, Ordering::SeqCst);
        let _ = iso::probe(&*disc);
    });
}
