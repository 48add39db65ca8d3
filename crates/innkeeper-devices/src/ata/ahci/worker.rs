//! The thread of a port: it has the drive, and does what it finds in the command list.
//!
//! Spec: AHCI 1.3.1, 4.2.2 and 4.2.3 (command header and table), 5.3 (the port's state machine).

use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;

use super::super::Drive;
use super::super::host::{End, Host, Last, Pio, Stop};
use super::super::taskfile::{Taskfile, error, status};
use super::fis::{self, FromHost};
use super::port::{Port, State};
use super::registers::interrupt;

const HEADER: u64 = 32;
/// Bytes of a header that were moved: an offset in it.
const MOVED: u64 = 4;
const PACKET: u64 = 0x40;
const DESCRIPTORS: u64 = 0x80;
const DESCRIPTOR: u64 = 16;
const DESCRIPTOR_BYTES: u32 = 0x3F_FFFF;
const READ_QUEUED: u8 = 0x60;
const WRITE_QUEUED: u8 = 0x61;

/// A port's drive, and whether the guest holds it in a software reset. The thread has it while it does something.
pub type Held = Arc<Mutex<(Drive, bool)>>;

pub struct Worker {
    thread: JoinHandle<()>,
}

/// What the thread has to do next.
enum Work {
    Reset,
    /// A slot, with the generation that it belongs to and its header.
    Slot(usize, u64, u64),
    End,
}

impl Worker {
    pub fn start(port: Arc<Port>, drive: Held) -> std::io::Result<Self> {
        port.lock().working = true; // until it waits
        let builder = std::thread::Builder::new().name("innkeeper-ahci".into());
        Ok(Self { thread: builder.spawn(move || work(&port, &drive))? })
    }

    pub fn join(self) {
        self.thread.join().expect("an AHCI port's thread does not panic");
    }
}

fn work(port: &Port, held: &Mutex<(Drive, bool)>) {
    loop {
        let work = wait_for_work(port);
        let (drive, resetting) = &mut *held.lock().expect("AHCI drive lock");
        match work {
            Work::End => return,
            Work::Reset => drive.reset(true),
            Work::Slot(slot, generation, header) => {
                let mut guest = Guest::new(port, slot, generation, header);
                match guest.frame() {
                    Some(FromHost::Command(taskfile)) => guest.perform(drive, taskfile),
                    Some(FromHost::Control { reset }) => {
                        if *resetting && !reset {
                            drive.reset(false);
                        }
                        guest.control(*resetting, reset);
                        *resetting = reset;
                    }
                    None => guest.refuse(),
                }
            }
        }
    }
}

fn wait_for_work(port: &Port) -> Work {
    let mut state = port.lock();
    loop {
        state.working = true;
        if state.closing {
            return Work::End;
        }
        if std::mem::take(&mut state.reset) {
            return Work::Reset;
        }
        if let Some(slot) = state.take_slot() {
            return Work::Slot(slot, state.generation, state.list + HEADER * slot as u64);
        }
        state.working = false;
        port.changed.notify_all(); // somebody may wait for that
        state = port.changed.wait(state).expect("AHCI port lock");
    }
}

/// What is left of the current descriptor, and which is next.
#[derive(Default)]
struct Walk {
    index: u64,
    address: u64,
    left: u64,
}

/// The guest, as the command in a slot reaches it.
struct Guest<'a> {
    port: &'a Port,
    slot: usize,
    generation: u64,
    header: u64,
    table: u64,
    descriptors: u64,
    walk: Walk,
    moved: u32,
    /// Why data could not travel.
    trouble: u32,
    /// Cleared from the issue register once the drive has accepted it.
    queued: bool,
}

impl<'a> Guest<'a> {
    fn new(port: &'a Port, slot: usize, generation: u64, header: u64) -> Self {
        Self {
            port,
            slot,
            generation,
            header,
            table: 0,
            descriptors: 0,
            walk: Walk::default(),
            moved: 0,
            trouble: 0,
            queued: false,
        }
    }

    /// The port, if the command is still wanted.
    fn lock(&self) -> Result<MutexGuard<'a, State>, Stop> {
        let state = self.port.lock();
        if state.generation == self.generation { Ok(state) } else { Err(Stop::Gone) }
    }

    fn word(&self, address: u64) -> Option<u32> {
        let mut bytes = [0; 4];
        self.port.shared.memory.read(address, &mut bytes).ok()?;
        Some(u32::from_le_bytes(bytes))
    }

    fn address(&self, at: u64) -> Option<u64> {
        Some(u64::from(self.word(at)?) | u64::from(self.word(at + 4)?) << 32)
    }

    /// Reads header and command; `None` if there is none.
    fn frame(&mut self) -> Option<FromHost> {
        self.descriptors = u64::from(self.word(self.header)? >> 16);
        self.table = self.address(self.header + 8)? & !0x7F;
        let mut bytes = [0; fis::REGISTERS];
        self.port.shared.memory.read(self.table, &mut bytes).ok()?;
        fis::parse(&bytes)
    }

    fn perform(&mut self, drive: &mut Drive, mut taskfile: Taskfile) {
        self.queued = matches!(taskfile.command, READ_QUEUED | WRITE_QUEUED) && !drive.is_packet();
        {
            let Ok(mut state) = self.lock() else { return };
            if self.queued {
                state.issue &= !(1 << self.slot);
            } else {
                state.set_task_file(&Taskfile { status: status::BSY, ..Taskfile::default() });
            }
        }
        let tag = u32::from(taskfile.count >> 3) & 0x1F;
        let Ok(end) = drive.command(&mut taskfile, self) else { return };
        let Ok(mut state) = self.lock() else { return };
        let moved = self.header + MOVED;
        let _ = self.port.shared.memory.write(moved, &self.moved.to_le_bytes()); // read from there just now
        if self.queued {
            self.end_queued(&mut state, &taskfile, tag);
        } else if end == End::Interrupt {
            self.end(&mut state, &taskfile);
        }
    }

    /// The end of a queued command.
    fn end_queued(&self, state: &mut State, taskfile: &Taskfile, tag: u32) {
        let failed = taskfile.status & status::ERR != 0;
        let done = if failed { 0 } else { 1 << tag };
        state.active &= !done;
        state.set_task_file(taskfile);
        let frame = fis::device_bits(taskfile.status, taskfile.error, done);
        self.port.store(state, fis::DEVICE_BITS_AT, &frame);
        if failed {
            self.port.fail(state, self.trouble | interrupt::DEVICE_BITS);
        } else {
            self.port.raise(state, interrupt::DEVICE_BITS);
        }
    }

    /// The end of any other command. One that failed stays issued, so that the guest sees which it was.
    fn end(&self, state: &mut State, taskfile: &Taskfile) {
        state.set_task_file(taskfile);
        self.port.store(state, fis::REGISTERS_AT, &fis::registers(taskfile, true));
        if taskfile.status & status::ERR != 0 {
            self.port.fail(state, self.trouble | interrupt::REGISTERS);
        } else {
            state.issue &= !(1 << self.slot);
            self.port.raise(state, interrupt::REGISTERS);
        }
    }

    /// There is no command in the slot.
    fn refuse(&mut self) {
        let Ok(mut state) = self.lock() else { return };
        let mut taskfile = Taskfile::default();
        taskfile.fail(error::ABRT);
        state.set_task_file(&taskfile);
        self.port.fail(&mut state, interrupt::HOST_BUS);
    }

    /// The two frames of a software reset: the first begins it, the second ends it.
    fn control(&self, resetting: bool, reset: bool) {
        let Ok(mut state) = self.lock() else { return };
        state.issue &= !(1 << self.slot);
        if let Some(taskfile) = self.port.signature().filter(|_| resetting && !reset) {
            self.port.tell_signature(&mut state, &taskfile);
        }
    }

    /// Moves `length` bytes through the guest's descriptors; `copy` is given each piece's place in the data.
    fn dma(
        &mut self,
        length: usize,
        mut copy: impl FnMut(u64, std::ops::Range<usize>) -> bool,
    ) -> Result<(), Stop> {
        let _state = self.lock()?; // nothing travels after a reset
        let mut at = 0;
        while at < length {
            if self.walk.left == 0 {
                self.next_descriptor()?;
            }
            let piece = self.walk.left.min((length - at) as u64) as usize;
            if !copy(self.walk.address, at..at + piece) {
                self.trouble = interrupt::HOST_BUS;
                return Err(Stop::Bus);
            }
            self.walk.address = self.walk.address.wrapping_add(piece as u64);
            self.walk.left -= piece as u64;
            at += piece;
        }
        self.moved = self.moved.wrapping_add(length as u32);
        Ok(())
    }

    fn next_descriptor(&mut self) -> Result<(), Stop> {
        if self.walk.index == self.descriptors {
            self.trouble = interrupt::OVERFLOW;
            return Err(Stop::Bus);
        }
        let at = self.table.wrapping_add(DESCRIPTORS + DESCRIPTOR * self.walk.index);
        let found = self.address(at).zip(self.word(at.wrapping_add(12)));
        let Some((address, length)) = found else {
            self.trouble = interrupt::HOST_BUS;
            return Err(Stop::Bus);
        };
        self.walk.index += 1;
        self.walk.address = address;
        self.walk.left = u64::from(length & DESCRIPTOR_BYTES) + 1;
        Ok(())
    }
}

impl Host for Guest<'_> {
    fn pio_in(&mut self, data: Vec<u8>, pio: Pio, last: Last<'_>) -> Result<(), Stop> {
        self.dma_in(&data)?;
        let mut state = self.lock()?;
        let busy = Taskfile { status: status::BSY, ..Taskfile::default() };
        let frame = fis::pio_setup(last.unwrap_or(&busy), status::DRDY | status::DRQ, data.len(), true);
        self.port.store(&state, fis::PIO_SETUP_AT, &frame);
        match last {
            Some(taskfile) if pio.packet => self.end(&mut state, taskfile),
            Some(taskfile) => {
                state.set_task_file(taskfile);
                state.issue &= !(1 << self.slot);
                self.port.raise(&mut state, interrupt::PIO_SETUP);
            }
            None => {}
        }
        Ok(())
    }

    fn pio_out(&mut self, data: &mut [u8], _pio: Pio, _first: bool) -> Result<(), Stop> {
        self.dma_out(data)
    }

    fn dma_in(&mut self, data: &[u8]) -> Result<(), Stop> {
        let memory = &self.port.shared.memory;
        self.dma(data.len(), |address, range| memory.write(address, &data[range]).is_ok())
    }

    fn dma_out(&mut self, data: &mut [u8]) -> Result<(), Stop> {
        let memory = &self.port.shared.memory;
        self.dma(data.len(), |address, range| memory.read(address, &mut data[range]).is_ok())
    }

    fn packet(&mut self) -> Result<[u8; 12], Stop> {
        let mut packet = [0; 12];
        let read = self.port.shared.memory.read(self.table + PACKET, &mut packet);
        read.map(|()| packet).map_err(|_| Stop::Bus)
    }
}
