//! Device models whose data paths are too hot for Python. Rooms, lowest first: `pci`.

pub mod pci;
