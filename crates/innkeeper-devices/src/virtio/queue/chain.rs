//! One request of a driver: buffers for the device to read, then buffers for it to write.

use std::io::{IoSlice, IoSliceMut};
use std::sync::Arc;

use innkeeper_bus::memory::{Buffer, GuestMemory, copy_in, copy_out};

/// The buffers that a driver made available together. Meant to be used for one request after the other.
///
/// Offsets count the bytes of its readable or writable part, whatever the buffers they are in.
pub struct Chain {
    memory: Arc<GuestMemory>,
    head: u16,
    buffers: Vec<Buffer>,
    /// How many of the buffers are readable.
    split: usize,
    readable: u64,
    writable: u64,
}

impl Chain {
    pub fn new(memory: &Arc<GuestMemory>) -> Self {
        Self { memory: Arc::clone(memory), head: 0, buffers: Vec::new(), split: 0, readable: 0, writable: 0 }
    }

    pub(super) fn begin(&mut self, head: u16) {
        self.buffers.clear();
        (self.head, self.split, self.readable, self.writable) = (head, 0, 0, 0);
    }

    pub(super) fn add(&mut self, buffer: Buffer, writable: bool) {
        if writable {
            self.writable += buffer.len() as u64;
        } else {
            self.split += 1;
            self.readable += buffer.len() as u64;
        }
        self.buffers.push(buffer);
    }

    pub(super) fn has_writable(&self) -> bool {
        self.buffers.len() > self.split
    }

    /// What to give back to the queue.
    pub fn head(&self) -> u16 {
        self.head
    }

    /// Bytes for the device to read.
    pub fn readable(&self) -> u64 {
        self.readable
    }

    /// Bytes for the device to write.
    pub fn writable(&self) -> u64 {
        self.writable
    }

    /// Copies readable bytes from `offset` on; gives how many there were.
    pub fn read(&self, offset: u64, out: &mut [u8]) -> usize {
        let mut done = 0;
        for part in parts(&self.buffers[..self.split], offset, out.len() as u64) {
            done += copy_out(&part, &mut out[done..]);
        }
        done
    }

    /// Copies to writable bytes from `offset` on; gives how many there was room for.
    pub fn write(&self, offset: u64, data: &[u8]) -> usize {
        let mut done = 0;
        for part in parts(&self.buffers[self.split..], offset, data.len() as u64) {
            done += copy_in(&part, &data[done..]);
            self.memory.buffer_written(&part);
        }
        done
    }

    /// The readable bytes from `offset` on, `length` at most, for a system call or a copy, in place.
    pub fn readable_slices(&self, offset: u64, length: u64) -> Vec<IoSlice<'_>> {
        parts(&self.buffers[..self.split], offset, length).map(|part| slice(&part)).collect()
    }

    /// The writable bytes from `offset` on, `length` at most, for a system call or a copy, in place. Whoever fills them
    /// calls [`Self::wrote`] afterwards.
    pub fn writable_slices(&self, offset: u64, length: u64) -> Vec<IoSliceMut<'_>> {
        parts(&self.buffers[self.split..], offset, length).map(|part| slice_mut(&part)).collect()
    }

    /// The same as they lie in RAM.
    pub fn writable_parts(&self, offset: u64, length: u64) -> impl Iterator<Item = Buffer> + '_ {
        parts(&self.buffers[self.split..], offset, length)
    }

    /// Tells the code ledger that these writable bytes were filled in place.
    pub fn wrote(&self, offset: u64, length: u64) {
        for part in parts(&self.buffers[self.split..], offset, length) {
            self.memory.buffer_written(&part);
        }
    }
}

/// The pieces of `buffers` that hold `length` bytes from `offset` on, or as many as there are.
fn parts(buffers: &[Buffer], offset: u64, length: u64) -> impl Iterator<Item = Buffer> + '_ {
    let (mut skip, mut left) = (offset, length);
    buffers.iter().filter_map(move |buffer| {
        let bytes = buffer.len() as u64;
        if skip >= bytes {
            skip -= bytes;
            return None;
        }
        let part = buffer.part(skip as usize, usize::try_from(left).unwrap_or(usize::MAX));
        (skip, left) = (0, left - part.len() as u64);
        (!part.is_empty()).then_some(part)
    })
}

fn iovec(part: &Buffer) -> libc::iovec {
    libc::iovec { iov_base: part.pointer().cast(), iov_len: part.len() }
}

fn slice<'chain>(part: &Buffer) -> IoSlice<'chain> {
    // SAFETY: the standard library promises that an `IoSlice` is an `iovec` on Unix. No `&[u8]` is made here; the range
    // is mapped for as long as the chain, which holds its memory, is borrowed. The guest may change the bytes
    // meanwhile: users hand them to the kernel or copy them, and never rely on what they saw of them before.
    unsafe { std::mem::transmute::<libc::iovec, IoSlice<'chain>>(iovec(part)) }
}

fn slice_mut<'chain>(part: &Buffer) -> IoSliceMut<'chain> {
    // SAFETY: as above. Two of them may overlap if the driver says so: users only store into them.
    unsafe { std::mem::transmute::<libc::iovec, IoSliceMut<'chain>>(iovec(part)) }
}
