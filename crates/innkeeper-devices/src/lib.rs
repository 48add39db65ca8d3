//! Device models whose data paths are too hot for Python. Rooms, lowest first: `pci`, `e1000`, `ata`, `monitor`, `vga`, `virtio`.

pub mod ata;
pub mod e1000;
mod monitor;
pub mod pci;
pub mod vga;
pub mod virtio;
