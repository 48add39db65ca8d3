//! QEMU's copy-on-write format, versions 2 and 3.
//!
//! After QEMU's `docs/interop/qcow2.rst`. [`header`] and [`tables`] are the format alone: bytes in, values out,
//! everything checked that can be checked without looking elsewhere; the tools stand on them as well.

pub mod header;
pub mod refcounts;
pub mod snapshot;
pub mod tables;

pub use header::{Compression, Extension, Header};
pub use refcounts::{Allocation, Refcounts};
pub use snapshot::Snapshot;
