//! Device models whose data paths are too hot for Python. Rooms, lowest first: `pci`, `ata`, `vga`, `virtio`.

pub mod ata;
pub mod pci;
pub mod vga;
pub mod virtio;
