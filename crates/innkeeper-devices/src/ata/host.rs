//! What a drive's commands need of the controller that they came through.

use super::taskfile::Taskfile;

/// Why a command's data cannot travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The controller was reset, or ends: the command is forgotten, nobody waits for an answer.
    Gone,
    /// The guest's descriptors end too early, or name what is not RAM.
    Bus,
}

/// How data in programmed I/O is cut, and what goes with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pio {
    /// Bytes between two interrupts.
    pub block: usize,
    /// The data of a packet command: its blocks' lengths are told in the registers.
    pub packet: bool,
}

/// The registers with which a transfer ends the command, if it does.
pub type Last<'a> = Option<&'a Taskfile>;

/// The way to the guest's memory or data port. Every call waits until the data has travelled, but for what
/// ends its command.
pub trait Host {
    /// Device to host, by programmed I/O. With `last`, the command ends when the guest has it all.
    ///
    /// # Errors
    /// [`Stop`].
    fn pio_in(&mut self, data: Vec<u8>, pio: Pio, last: Last<'_>) -> Result<(), Stop>;
    /// Host to device, by programmed I/O. `first`: nothing of this command has travelled yet.
    ///
    /// # Errors
    /// [`Stop`].
    fn pio_out(&mut self, data: &mut [u8], pio: Pio, first: bool) -> Result<(), Stop>;
    /// Device to host, by DMA.
    ///
    /// # Errors
    /// [`Stop`].
    fn dma_in(&mut self, data: &[u8]) -> Result<(), Stop>;
    /// Host to device, by DMA.
    ///
    /// # Errors
    /// [`Stop`].
    fn dma_out(&mut self, data: &mut [u8]) -> Result<(), Stop>;
    /// The command packet.
    ///
    /// # Errors
    /// [`Stop`].
    fn packet(&mut self) -> Result<[u8; 12], Stop>;
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The registers are to be shown, with an interrupt.
    Interrupt,
    /// [`Host::pio_in`] had them already.
    Told,
}
