//! What an image's first bytes say it is.
//!
//! A raw disk's first bytes are the guest's to write. So that it cannot make the host take its disk for an image
//! with a backing file, a disk that is raw only because nothing else was recognised is not allowed such a
//! beginning (`filter.rs`), as in QEMU.

use crate::qcow2::header::MAGIC;

/// As many bytes as are looked at.
pub const LENGTH: usize = 512;

/// What formats begin with that can name other files of the host, or are known well enough to be meant.
const FOREIGN: [(&[u8], &str); 8] = [
    (b"QED\0", "QED"),
    (b"KDMV", "VMDK"),
    (b"COWD", "VMDK"),
    (b"# Disk DescriptorFile", "VMDK"),
    (b"vhdxfile", "VHDX"),
    (b"conectix", "VHD"),
    (b"LUKS\xba\xbe", "LUKS"),
    (b"<<< ", "VDI"),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guess {
    Qcow2,
    /// A format that is none of ours.
    Foreign(&'static str),
    /// None that is known.
    Raw,
}

#[must_use]
pub fn probe(start: &[u8]) -> Guess {
    if start.starts_with(&MAGIC) {
        return Guess::Qcow2;
    }
    let known = FOREIGN.iter().find(|(magic, _)| start.starts_with(magic));
    known.map_or(Guess::Raw, |(_, name)| Guess::Foreign(name))
}
