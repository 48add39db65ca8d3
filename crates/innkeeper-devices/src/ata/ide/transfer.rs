//! Data between a drive and the data port: handed over in one piece, taken block by block.

use super::super::host::Pio;
use super::super::taskfile::Taskfile;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    ToHost,
    FromHost,
    /// The packet of a PACKET command.
    Packet,
}

/// A transfer that the guest is in the middle of.
pub struct Transfer {
    pub way: Way,
    pub pio: Pio,
    data: Vec<u8>,
    at: usize,
    block_end: usize,
    /// The registers with which the command ends after it.
    pub last: Option<Taskfile>,
}

/// Where the guest is, after an access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    Within,
    Block,
    Done,
}

impl Transfer {
    pub fn new(way: Way, data: Vec<u8>, pio: Pio, last: Option<Taskfile>) -> Self {
        let block_end = pio.block.min(data.len());
        Self { way, pio, data, at: 0, block_end, last }
    }

    /// Bytes of the current block.
    pub fn block(&self) -> usize {
        self.block_end - self.at
    }

    /// Gives the guest the next bytes, as far as the block goes; others read as zeroes.
    pub fn take(&mut self, out: &mut [u8]) -> (usize, Progress) {
        let length = out.len().min(self.block());
        out[..length].copy_from_slice(&self.data[self.at..self.at + length]);
        (length, self.advance(length))
    }

    /// Takes the guest's next bytes, as far as the block goes.
    pub fn put(&mut self, bytes: &[u8]) -> (usize, Progress) {
        let length = bytes.len().min(self.block());
        self.data[self.at..self.at + length].copy_from_slice(&bytes[..length]);
        (length, self.advance(length))
    }

    fn advance(&mut self, length: usize) -> Progress {
        self.at += length;
        if self.at < self.block_end {
            return Progress::Within;
        }
        if self.at == self.data.len() {
            return Progress::Done;
        }
        self.block_end = (self.at + self.pio.block).min(self.data.len());
        Progress::Block
    }

    pub fn into_data(self) -> Vec<u8> {
        self.data
    }
}
