//! A VGA with the Bochs display interface: what PCI 1234:1111 is made of.
//!
//! Spec: IBM PS/2 Hardware Interface Technical Reference, "Video Subsystem"; the FreeVGA project; QEMU's
//! docs/specs/standard-vga for the extensions, the register BAR and where the EDID is. Left out: what each file says,
//! and the big-endian framebuffer.

mod dispi;
mod memory;
mod registers;
mod render;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use innkeeper_bus::bus::{Device, ones};
use innkeeper_bus::memory::{Ram, WriteWatch};
use innkeeper_bus::state::{BadState, Plain, Value};
use innkeeper_display::bells::{Bell, Bells};
use innkeeper_display::{Frame, Rect, Screen, Text};

use crate::monitor::{changes::Changes, edid};
use dispi::Mode;
pub use memory::WINDOW_BYTES;
use registers::Registers;
pub use registers::{FIRST_PORT, PORTS};
use render::{Phase, Picture, blinks};

/// The Bochs extensions' ports: index at 0, data at 1 and at 2.
pub const DISPI_PORT: u16 = 0x1CE;
pub const DISPI_PORTS: u64 = 4;
/// The register BAR, and what is where in it.
pub const REGISTER_BYTES: u64 = 0x1000;
const EDID_END: u64 = 0x400;
const VGA_PORTS: std::ops::Range<u64> = 0x400..0x420;
const DISPI_REGISTERS: std::ops::Range<u64> = 0x500..0x500 + 2 * dispi::REGISTERS as u64;
/// The size of QEMU's own registers, in the first of them: there are no others.
const EXTENDED_SIZE: u64 = 0x600;
const EXTENDED_BYTES: u8 = 4;

/// A frame's `seen` is the chip's generation and, below it, how often in a row nothing was new.
const QUIET_BITS: u32 = 8;
/// So often a linear framebuffer is compared whole before only every eighth line is, each time others.
const WHOLE: u64 = 8;
const PARTS: u64 = 8;

/// Frames that a cursor or a blinking character stays as it is.
const CURSOR_FRAMES: u64 = 8;
const CHARACTER_FRAMES: u64 = 16;

/// Nanoseconds since anything.
pub type Clock = Box<dyn Fn() -> u64 + Send + Sync>;

/// The chip.
pub struct Vga {
    registers: Mutex<Registers>,
    memory: Arc<Ram>,
    /// Rises after everything that may change the picture, except what guests do to video memory as RAM.
    generation: AtomicU64,
    bells: Arc<Bells>,
    /// Of what is shown of video memory, while somebody rests who has seen it.
    watch: WriteWatch,
    preferred: Mutex<(u32, u32)>,
    clock: Clock,
}

impl Vga {
    pub fn new(memory: Arc<Ram>, clock: Clock) -> Arc<Self> {
        let bytes = u32::try_from(memory.size()).expect("video memory below 4 GiB");
        let bells = Arc::new(Bells::default());
        let rung = Arc::clone(&bells);
        let watch = WriteWatch::new(&memory, Arc::new(move || rung.ring()));
        Arc::new(Self {
            registers: Mutex::new(Registers::new(bytes)),
            memory,
            generation: AtomicU64::new(1),
            bells,
            watch,
            preferred: Mutex::new(edid::PREFERRED),
            clock,
        })
    }

    /// The registers as after power-on.
    pub fn reset(&self) {
        *self.lock() = Registers::new(self.memory.bytes().len() as u32);
        self.touch();
    }

    /// The registers; video memory is the owner's to save.
    pub fn state(&self) -> Value {
        self.lock().save()
    }

    /// Takes on another card's registers.
    ///
    /// # Errors
    /// [`BadState`] for what cannot be, and nothing has changed.
    pub fn restore(&self, state: &Value) -> Result<(), BadState> {
        let saved = Registers::load(state)?;
        let (bytes, here) = (saved.dispi.memory_bytes() as usize, self.memory.bytes().len());
        if bytes != here {
            return Err(BadState::new(format!("it has {bytes} bytes of memory instead of {here}")));
        }
        *self.lock() = saved;
        self.touch();
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Registers> {
        self.registers.lock().expect("VGA lock")
    }

    fn touch(&self) {
        self.generation.fetch_add(1, Ordering::SeqCst);
        self.bells.ring();
    }

    /// Video memory is RAM, from which a guest may run.
    fn note_written(&self, offset: usize, length: usize) {
        self.memory.note_written(offset as u64, length as u64).expect("a range of video memory");
    }

    fn read_ports(&self, port: u16, size: u8) -> u64 {
        let mut registers = self.lock();
        let now = (self.clock)();
        let byte = |at: u8| registers.read_port(port + u16::from(at), now).unwrap_or(0xFF);
        joined(size, byte)
    }

    fn write_ports(&self, port: u16, size: u8, value: u64) {
        let mut registers = self.lock();
        let mut changed = false;
        for (at, byte) in (0..).zip(bytes(size, value)) {
            changed |= registers.write_port(port + at, byte);
        }
        drop(registers);
        if changed {
            self.touch();
        }
    }

    fn write_dispi(&self, index: u16, value: u16) {
        let clear = self.lock().dispi.write(index, value);
        if clear > 0 {
            for byte in &self.memory.bytes()[..clear] {
                byte.store(0, Ordering::Relaxed);
            }
            self.note_written(0, clear);
        }
        self.touch();
    }

    fn read_dispi(&self, index: u16) -> u16 {
        self.lock().dispi.read(index)
    }

    /// How long a picture in memory stays as it is, unless a write to it is told of.
    fn rest_in_memory(&self, mode: Mode) -> Duration {
        if !self.watch.holds(mode.bytes()).expect("a mode that is on lies in video memory") {
            return Duration::ZERO;
        }
        // Whoever rests looks once more, and then at every line.
        self.generation.fetch_add(1, Ordering::SeqCst);
        Duration::MAX
    }

    /// What blinks now, of what blinks at all in this mode.
    fn phase(&self, registers: &Registers) -> Phase {
        let may = blinks(registers);
        let frames = (self.clock)() / registers.frame_ns();
        Phase {
            cursor: may.cursor && (frames / CURSOR_FRAMES).is_multiple_of(2),
            characters: may.characters && (frames / CHARACTER_FRAMES).is_multiple_of(2),
        }
    }
}

fn joined(size: u8, mut byte: impl FnMut(u8) -> u8) -> u64 {
    (0..size.min(8)).fold(0, |value, at| value | u64::from(byte(at)) << (8 * at))
}

fn bytes(size: u8, value: u64) -> impl Iterator<Item = u8> {
    value.to_le_bytes().into_iter().take(size.into())
}

impl Screen for Vga {
    fn refresh(&self, frame: &mut Frame) -> Vec<Rect> {
        let generation = self.generation.load(Ordering::SeqCst);
        let registers = self.lock();
        let phase = self.phase(&registers);
        let quiet = frame.seen & ((1 << QUIET_BITS) - 1);
        let same = frame.seen >> QUIET_BITS == generation;
        // In a text mode the low bits are what blinks; in a mode that only the chip can change they stay as they are.
        let blinking = u64::from(phase.cursor) | u64::from(phase.characters) << 1;
        let guest_changes = guests_mode(&registers).is_some();
        if same && !guest_changes && quiet == blinking {
            return Vec::new();
        }
        let picture = Picture::new(registers.clone(), &self.memory, phase);
        drop(registers);
        let resized = resize(frame, picture.size());
        let idle = same && !resized && guest_changes;
        let mut changes = Changes::new(picture.size());
        let found = match quiet {
            WHOLE.. if idle => {
                let first = (quiet - WHOLE) as u32;
                let found = draw(&picture, frame, &mut changes, first, PARTS as usize);
                if found {
                    draw(&picture, frame, &mut changes, 0, 1);
                }
                found
            }
            _ => draw(&picture, frame, &mut changes, 0, 1),
        };
        let quiet = match (picture.is_linear(), found || !idle) {
            (false, _) => blinking,
            (true, true) => 0,
            (true, false) if quiet + 1 < WHOLE + PARTS => quiet + 1,
            (true, false) => WHOLE,
        };
        frame.seen = generation << QUIET_BITS | quiet;
        match resized {
            true => vec![Rect { x: 0, y: 0, width: frame.width, height: frame.height }],
            false => changes.rectangles(),
        }
    }

    fn text(&self) -> Option<Text> {
        let registers = self.lock().clone();
        let picture = Picture::new(registers, &self.memory, Phase::default());
        picture.text()
    }

    /// Until something blinks, or without end where guests write to the picture in memory, if that is told of.
    fn rest(&self, bell: &Bell) -> Duration {
        self.bells.hang(bell); // first: what changes after the registers are looked at below rings it
        let linear = guests_mode(&self.lock());
        if let Some(mode) = linear {
            return self.rest_in_memory(mode);
        }
        let registers = self.lock();
        let (may, frame) = (blinks(&registers), registers.frame_ns());
        let now = (self.clock)();
        let left = |frames: u64| frames * frame - now % (frames * frame);
        let cursor = if may.cursor { left(CURSOR_FRAMES) } else { u64::MAX };
        let characters = if may.characters { left(CHARACTER_FRAMES) } else { u64::MAX };
        Duration::from_nanos(cursor.min(characters))
    }

    fn prefer(&self, width: u32, height: u32) {
        *self.preferred.lock().expect("preferred size lock") = (width, height);
    }
}

/// The mode, if its picture is one that guests change without the chip: a linear framebuffer is RAM to them.
fn guests_mode(registers: &Registers) -> Option<Mode> {
    registers.dispi.mode().filter(|mode| mode.depth != 4)
}

/// Tells whether the frame had another size.
fn resize(frame: &mut Frame, (width, height): (u32, u32)) -> bool {
    if (frame.width, frame.height) == (width, height) {
        return false;
    }
    (frame.width, frame.height) = (width, height);
    frame.pixels.clear();
    frame.pixels.resize(width as usize * height as usize, 0);
    true
}

/// Draws every `step`th line from `first` on into the frame; tells whether anything was new.
fn draw(picture: &Picture<'_>, frame: &mut Frame, changes: &mut Changes, first: u32, step: usize) -> bool {
    let width = frame.width as usize;
    let mut fresh = vec![0; width];
    let mut found = false;
    for (y, line) in (0..).zip(frame.pixels.chunks_exact_mut(width)).skip(first as usize).step_by(step) {
        picture.draw(y, &mut fresh);
        found |= changes.update(y, line, &fresh);
    }
    found
}

/// A region of the chip: what a board maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Ports 3B0h-3DFh.
    Ports,
    /// Ports 1CEh-1D1h.
    DispiPorts,
    /// A0000h-BFFFFh.
    Window,
    /// The BAR that has the registers of both, and the EDID.
    Registers,
}

/// See [`Part`].
pub struct Region {
    pub chip: Arc<Vga>,
    pub part: Part,
}

impl Region {
    fn read_registers(&self, offset: u64, size: u8) -> u64 {
        if offset < EDID_END {
            let (width, height) = *self.chip.preferred.lock().expect("preferred size lock");
            let blob = edid::blob(width, height);
            return joined(size, |at| blob.get(offset as usize + usize::from(at)).copied().unwrap_or(0));
        }
        if VGA_PORTS.contains(&offset) && offset + u64::from(size) <= VGA_PORTS.end {
            return self.chip.read_ports(0x3C0 + (offset - VGA_PORTS.start) as u16, size);
        }
        if DISPI_REGISTERS.contains(&offset) && size == 2 && offset.is_multiple_of(2) {
            return self.chip.read_dispi(((offset - DISPI_REGISTERS.start) / 2) as u16).into();
        }
        if offset == EXTENDED_SIZE { EXTENDED_BYTES.into() } else { ones(size) }
    }

    fn write_registers(&self, offset: u64, size: u8, value: u64) {
        if VGA_PORTS.contains(&offset) && offset + u64::from(size) <= VGA_PORTS.end {
            self.chip.write_ports(0x3C0 + (offset - VGA_PORTS.start) as u16, size, value);
        } else if DISPI_REGISTERS.contains(&offset) && size == 2 && offset.is_multiple_of(2) {
            self.chip.write_dispi(((offset - DISPI_REGISTERS.start) / 2) as u16, value as u16);
        }
    }

    fn read_window(&self, offset: u64, size: u8) -> u64 {
        let mut registers = self.chip.lock();
        let memory = self.chip.memory.bytes();
        joined(size, |at| registers.read_window(memory, offset as u32 + u32::from(at)).unwrap_or(0xFF))
    }

    fn write_window(&self, offset: u64, size: u8, value: u64) {
        let mut registers = self.chip.lock();
        let memory = self.chip.memory.bytes();
        let (mut first, mut end) = (usize::MAX, 0);
        for (at, byte) in (offset as u32..).zip(bytes(size, value)) {
            if let Some((offset, length)) = registers.write_window(memory, at, byte) {
                (first, end) = (first.min(offset), end.max(offset + length));
            }
        }
        drop(registers);
        if first < end {
            self.chip.note_written(first, end - first);
        }
        self.chip.touch();
    }
}

impl Device for Region {
    fn read(&self, offset: u64, size: u8) -> u64 {
        match self.part {
            Part::Ports => self.chip.read_ports(FIRST_PORT + offset as u16, size),
            Part::DispiPorts => match (offset, size) {
                (0, 2) => self.chip.lock().dispi.index().into(),
                (1 | 2, 2) => {
                    let registers = self.chip.lock();
                    registers.dispi.read(registers.dispi.index()).into()
                }
                _ => ones(size),
            },
            Part::Window => self.read_window(offset, size),
            Part::Registers => self.read_registers(offset, size),
        }
    }

    fn write(&self, offset: u64, size: u8, value: u64) {
        match self.part {
            Part::Ports => self.chip.write_ports(FIRST_PORT + offset as u16, size, value),
            Part::DispiPorts => match (offset, size) {
                (0, 2) => self.chip.lock().dispi.select(value as u16),
                (1 | 2, 2) => {
                    let index = self.chip.lock().dispi.index();
                    self.chip.write_dispi(index, value as u16);
                }
                _ => {}
            },
            Part::Window => self.write_window(offset, size, value),
            Part::Registers => self.write_registers(offset, size, value),
        }
    }
}
