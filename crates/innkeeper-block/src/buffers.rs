//! Parts of requests' buffers.

use std::io::{IoSlice, IoSliceMut};

/// `length` bytes of them from `skip` on.
pub fn part<'a>(buffers: &'a [IoSlice<'_>], mut skip: u64, mut length: u64) -> Vec<IoSlice<'a>> {
    let mut out = Vec::with_capacity(buffers.len());
    for buffer in buffers {
        let from = skip.min(buffer.len() as u64);
        let to = buffer.len().min((from + length) as usize);
        (skip, length) = (skip - from, length - (to as u64 - from));
        if from < to as u64 {
            out.push(IoSlice::new(&buffer[from as usize..to]));
        }
    }
    out
}

/// [`part`], to be written to.
pub fn part_mut<'a>(
    buffers: &'a mut [IoSliceMut<'_>],
    mut skip: u64,
    mut length: u64,
) -> Vec<IoSliceMut<'a>> {
    let mut out = Vec::with_capacity(buffers.len());
    for buffer in buffers {
        let from = skip.min(buffer.len() as u64);
        let to = buffer.len().min((from + length) as usize);
        (skip, length) = (skip - from, length - (to as u64 - from));
        if from < to as u64 {
            out.push(IoSliceMut::new(&mut buffer[from as usize..to]));
        }
    }
    out
}

pub fn fill(buffers: &mut [IoSliceMut<'_>], value: u8) {
    buffers.iter_mut().for_each(|buffer| buffer.fill(value));
}

/// Copies `bytes` into them, which have as many.
pub fn scatter(buffers: &mut [IoSliceMut<'_>], mut bytes: &[u8]) {
    for buffer in buffers {
        let (here, rest) = bytes.split_at(buffer.len());
        buffer.copy_from_slice(here);
        bytes = rest;
    }
}
