//! ATA disks and ATAPI CD-ROM drives, and the two controllers that they are behind. Rooms, lowest first: `taskfile`
//! and `host` (what a command is, and how its data travels), `disk` and `cdrom` (the command layer), `drive` (either
//! of them), `ide` and `ahci` (the front ends).
//!
//! A drive's commands run on a thread of its controller and read from top to bottom: where data is to
//! travel they call their [`host::Host`], which waits for the guest where it has to.

pub mod ahci;
pub mod cdrom;
pub mod disk;
pub mod drive;
pub mod host;
pub mod ide;
mod identify;
mod smart;
pub mod taskfile;
#[cfg(test)]
mod tests;

pub use cdrom::tray::{Locked, Tray};
pub use drive::Drive;
