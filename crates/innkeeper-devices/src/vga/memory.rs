//! Video memory, and how a CPU sees VGA's four planes of it in the window at A0000h.
//!
//! Byte `n` of plane `p` is byte `4n + p` of video memory. Spec: IBM PS/2 Hardware Interface Technical Reference,
//! "Video Subsystem", VGA Programming Considerations; the FreeVGA project's "Accessing the VGA Display Memory".

use std::sync::atomic::{AtomicU8, Ordering};

use innkeeper_bus::memory::Ram;

use super::registers::Registers;

/// Bytes of each of VGA's planes.
pub const PLANE_BYTES: u32 = 0x1_0000;
/// The window: A0000h-BFFFFh.
pub const WINDOW_BYTES: u64 = 0x2_0000;

/// Copies from `offset` on; what lies beyond the end reads as zeroes.
pub fn copy_out(memory: &Ram, offset: usize, out: &mut [u8]) {
    let bytes = memory.bytes();
    let there = bytes.len().saturating_sub(offset).min(out.len());
    let (inside, beyond) = out.split_at_mut(there);
    beyond.fill(0);
    if there > 0 {
        // SAFETY: the range was just checked. A guest may write meanwhile, as to any of its RAM: bytes are copied
        // raw, as everywhere where a device looks at guest memory, and a torn pixel is drawn again.
        unsafe {
            std::ptr::copy_nonoverlapping(bytes[offset..].as_ptr().cast(), inside.as_mut_ptr(), there);
        }
    }
}

/// Where an access at an offset into the window goes.
enum Place {
    Nowhere,
    /// A byte of video memory.
    Linear(u32),
    /// A byte in the planes of this mask; reads of plane 0-3.
    Planes {
        offset: u32,
        mask: u8,
        plane: usize,
    },
}

impl Registers {
    fn place(&self, offset: u32, for_write: bool) -> Place {
        if self.misc & 2 == 0 {
            return Place::Nowhere; // the CPU may not see video memory
        }
        let bank = self.dispi.mode().and_then(|mode| Some((mode.depth, self.dispi.bank_start()?)));
        if let Some((depth, bank)) = bank {
            if offset >= PLANE_BYTES {
                return Place::Nowhere;
            }
            let address = bank + offset;
            if depth != 4 {
                return Place::Linear(address);
            }
            return Place::Planes { offset: address, mask: 0xF, plane: self.read_plane() };
        }
        let Some(address) = self.in_window(offset) else { return Place::Nowhere };
        let within = address & (PLANE_BYTES - 1);
        let odd_even = if for_write { self.sequencer[4] & 4 == 0 } else { self.graphics[5] & 0x10 != 0 };
        if self.sequencer[4] & 8 != 0 {
            let plane = (within & 3) as usize;
            Place::Planes { offset: within & !3, mask: 1 << plane, plane }
        } else if odd_even {
            let odd = (within & 1) as u8;
            let page = address >> 16 & 1;
            let plane = self.read_plane() & 2 | usize::from(odd);
            Place::Planes { offset: within & !1 | page, mask: 0b0101 << odd, plane }
        } else {
            Place::Planes { offset: within, mask: 0xF, plane: self.read_plane() }
        }
    }

    fn read_plane(&self) -> usize {
        usize::from(self.graphics[4] & 3)
    }

    /// The address within the part of the window that answers, if this does.
    fn in_window(&self, offset: u32) -> Option<u32> {
        let (start, size) = match self.graphics[6] >> 2 & 3 {
            0 => (0, 0x2_0000),
            1 => (0, 0x1_0000),
            2 => (0x1_0000, 0x8000),
            _ => (0x1_8000, 0x8000),
        };
        let address = offset.wrapping_sub(start);
        (address < size).then_some(address)
    }

    /// Reads a byte of the window, and loads the latches. `None` where nobody answers.
    pub fn read_window(&mut self, memory: &[AtomicU8], offset: u32) -> Option<u8> {
        match self.place(offset, false) {
            Place::Nowhere => None,
            Place::Linear(at) => memory.get(at as usize).map(|byte| byte.load(Ordering::Relaxed)),
            Place::Planes { offset, plane, .. } => {
                let at = 4 * offset as usize;
                let cell = memory.get(at..at + 4)?;
                self.latches = std::array::from_fn(|plane| cell[plane].load(Ordering::Relaxed));
                let compares = self.graphics[5] & 8 != 0;
                Some(if compares { self.compare() } else { self.latches[plane] })
            }
        }
    }

    /// Read mode 1: a bit for each pixel whose colour is the one looked for, in the planes that matter.
    fn compare(&self) -> u8 {
        (0..4).fold(0xFF, |equal, plane| {
            let wanted = expand(self.graphics[2], plane);
            let ignored = !expand(self.graphics[7], plane);
            equal & (!(self.latches[plane] ^ wanted) | ignored)
        })
    }

    /// Writes a byte of the window; gives which bytes of video memory may have changed.
    pub fn write_window(&mut self, memory: &[AtomicU8], offset: u32, value: u8) -> Option<(usize, usize)> {
        match self.place(offset, true) {
            Place::Nowhere => None,
            Place::Linear(at) => {
                memory.get(at as usize)?.store(value, Ordering::Relaxed);
                Some((at as usize, 1))
            }
            Place::Planes { offset, mask, .. } => {
                let at = 4 * offset as usize;
                let cell = memory.get(at..at + 4)?;
                let mask = mask & self.sequencer[2];
                for plane in (0..4).filter(|plane| mask >> plane & 1 != 0) {
                    cell[plane].store(self.written(plane, value), Ordering::Relaxed);
                }
                Some((at, 4))
            }
        }
    }

    /// What a write of `value` makes of a plane's byte.
    fn written(&self, plane: usize, value: u8) -> u8 {
        let latch = self.latches[plane];
        let rotated = value.rotate_right(u32::from(self.graphics[3] & 7));
        let set = expand(self.graphics[0], plane);
        let bits = self.graphics[8];
        match self.graphics[5] & 3 {
            0 if self.graphics[1] >> plane & 1 != 0 => self.mixed(set, latch, bits),
            0 => self.mixed(rotated, latch, bits),
            1 => latch,
            2 => self.mixed(expand(value, plane), latch, bits),
            _ => self.mixed(set, latch, bits & rotated),
        }
    }

    /// The function unit, and then the bit mask.
    fn mixed(&self, value: u8, latch: u8, bits: u8) -> u8 {
        let result = match self.graphics[3] >> 3 & 3 {
            0 => value,
            1 => value & latch,
            2 => value | latch,
            _ => value ^ latch,
        };
        result & bits | latch & !bits
    }
}

/// All ones if the plane's bit is set.
fn expand(bits: u8, plane: usize) -> u8 {
    if bits >> plane & 1 != 0 { 0xFF } else { 0 }
}
