//! The thread of a channel: it has the drives, does their commands, and waits where these wait for the guest.

use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;

use super::super::Drive;
use super::super::host::{End, Host, Last, Pio, Stop};
use super::super::taskfile::REASON_COMMAND;
use super::channel::{Channel, Job, State};
use super::transfer::{Transfer, Way};

const PACKET: usize = 12;

/// A channel's drives: its thread has them while it does something.
pub type Drives = Arc<Mutex<[Option<Drive>; 2]>>;

pub struct Worker {
    thread: JoinHandle<()>,
}

/// What the thread has to do next.
enum Work {
    Reset([bool; 2]),
    Command(Job),
    End,
}

impl Worker {
    pub fn start(channel: Arc<Channel>, drives: Drives) -> std::io::Result<Self> {
        channel.lock().working = true; // until it waits
        let builder = std::thread::Builder::new().name("innkeeper-ide".into());
        Ok(Self { thread: builder.spawn(move || work(&channel, &drives))? })
    }

    pub fn join(self) {
        self.thread.join().expect("an IDE channel's thread does not panic");
    }
}

fn work(channel: &Channel, drives: &Mutex<[Option<Drive>; 2]>) {
    loop {
        let work = wait_for_work(channel);
        let mut drives = drives.lock().expect("IDE drive lock");
        match work {
            Work::End => return,
            Work::Reset(which) => {
                for (drive, _) in drives.iter_mut().zip(which).filter(|&(_, wanted)| wanted) {
                    drive.iter_mut().for_each(|drive| drive.reset(false));
                }
            }
            Work::Command(mut job) => {
                let Some(drive) = &mut drives[job.unit] else { continue };
                let mut host = Guest { channel, unit: job.unit, generation: job.generation };
                if let Ok(end) = drive.command(&mut job.taskfile, &mut host) {
                    finish(channel, &job, end);
                }
            }
        }
    }
}

fn wait_for_work(channel: &Channel) -> Work {
    let mut state = channel.lock();
    loop {
        state.working = true;
        if state.closing {
            return Work::End;
        }
        if state.resets != [false; 2] {
            return Work::Reset(std::mem::take(&mut state.resets));
        }
        if let Some(job) = state.job.take() {
            return Work::Command(job);
        }
        state.working = false;
        channel.changed.notify_all(); // somebody may wait for that
        state = channel.changed.wait(state).expect("IDE channel lock");
    }
}

fn finish(channel: &Channel, job: &Job, end: End) {
    let mut state = channel.lock();
    if state.generation != job.generation || end == End::Told {
        return;
    }
    if let Some(unit) = &mut state.units[job.unit] {
        unit.registers.show(&job.taskfile);
    }
    channel.interrupt(&mut state);
}

/// The guest, as a command of one drive reaches it.
struct Guest<'a> {
    channel: &'a Channel,
    unit: usize,
    generation: u64,
}

impl Guest<'_> {
    /// The channel, if the command is still wanted.
    fn lock(&self) -> Result<MutexGuard<'_, State>, Stop> {
        let state = self.channel.lock();
        if state.generation == self.generation { Ok(state) } else { Err(Stop::Gone) }
    }

    /// Waits until `done`, as long as the command is wanted.
    fn wait(&self, done: impl Fn(&State) -> bool) -> Result<MutexGuard<'_, State>, Stop> {
        let mut state = self.lock()?;
        while !done(&state) {
            state.waits = true;
            state = self.channel.changed.wait(state).expect("IDE channel lock");
            state.waits = false;
            if state.generation != self.generation {
                return Err(Stop::Gone);
            }
        }
        Ok(state)
    }

    /// Has the guest fill `data`.
    fn receive(&self, way: Way, data: &mut [u8], pio: Pio, interrupt: bool) -> Result<(), Stop> {
        let mut state = self.lock()?;
        state.transfer = Some(Transfer::new(way, data.to_vec(), pio, None));
        self.channel.announce(&mut state, interrupt);
        if way == Way::Packet
            && let Some(unit) = &mut state.units[self.unit]
        {
            unit.registers.show_block(REASON_COMMAND, 0);
        }
        drop(state);
        let mut state = self.wait(|state| state.returned.is_some())?;
        data.copy_from_slice(&state.returned.take().expect("waited for"));
        Ok(())
    }

    /// Moves `length` bytes through the guest's descriptors; `copy` is given each piece's place in the data.
    fn dma(
        &self,
        length: usize,
        to_memory: bool,
        mut copy: impl FnMut(u64, std::ops::Range<usize>) -> bool,
    ) -> Result<(), Stop> {
        let mut state = self.wait(|state| state.bus_master.started() && state.master_enabled)?;
        let mut at = 0;
        while at < length {
            let state = &mut *state;
            let piece = state.bus_master.next(&self.channel.memory, length - at);
            let piece = piece.filter(|_| state.bus_master.goes(to_memory));
            let Some(piece) = piece.filter(|piece| copy(piece.address, at..at + piece.length)) else {
                state.bus_master.fail();
                return Err(Stop::Bus);
            };
            at += piece.length;
        }
        Ok(())
    }
}

impl Host for Guest<'_> {
    fn pio_in(&mut self, data: Vec<u8>, pio: Pio, last: Last<'_>) -> Result<(), Stop> {
        let mut state = self.lock()?;
        state.transfer = Some(Transfer::new(Way::ToHost, data, pio, last.copied()));
        self.channel.announce(&mut state, true);
        drop(state);
        if last.is_some() {
            return Ok(()); // the guest ends it
        }
        self.wait(|state| state.transfer.is_none()).map(drop)
    }

    fn pio_out(&mut self, data: &mut [u8], pio: Pio, first: bool) -> Result<(), Stop> {
        self.receive(Way::FromHost, data, pio, !first)
    }

    fn dma_in(&mut self, data: &[u8]) -> Result<(), Stop> {
        let memory = &self.channel.memory;
        self.dma(data.len(), true, |address, range| memory.write(address, &data[range]).is_ok())
    }

    fn dma_out(&mut self, data: &mut [u8]) -> Result<(), Stop> {
        let memory = &self.channel.memory;
        self.dma(data.len(), false, |address, range| memory.read(address, &mut data[range]).is_ok())
    }

    fn packet(&mut self) -> Result<[u8; 12], Stop> {
        let mut packet = [0; PACKET];
        self.receive(Way::Packet, &mut packet, Pio { block: PACKET, packet: true }, false)?;
        Ok(packet)
    }
}
