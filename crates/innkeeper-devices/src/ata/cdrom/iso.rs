//! What is on a disc, by the descriptors that every file system of discs begins with.
//!
//! Spec: ECMA-119 (ISO 9660), 8; ECMA-167, 2/9.1 (the volume structure descriptors of UDF). Only as much as it
//! takes to tell a disc from something else.

use std::io::{self, IoSliceMut};

use innkeeper_block::Disk;

use super::BLOCK;

/// The first descriptor, and how many are looked at.
const FIRST: u64 = 16;
const MOST: u64 = 64;
const PRIMARY: u8 = 1;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Disc {
    Iso9660 {
        label: String,
    },
    /// UDF without ISO 9660.
    Udf,
    Unknown,
}

/// Looks at the volume descriptors.
///
/// # Errors
/// What the host answered.
pub fn probe(disc: &dyn Disk) -> io::Result<Disc> {
    let mut found = Disc::Unknown;
    for block in FIRST..FIRST + MOST {
        if disc.size() < (block + 1) * BLOCK {
            break;
        }
        let mut data = [0; BLOCK as usize];
        disc.read(block * BLOCK, &mut [IoSliceMut::new(&mut data)])?;
        match &data[1..6] {
            b"CD001" if data[0] == PRIMARY => return Ok(Disc::Iso9660 { label: label(&data[40..72]) }),
            b"CD001" | b"BEA01" | b"TEA01" | b"BOOT2" | b"CDW02" => {}
            b"NSR02" | b"NSR03" => found = Disc::Udf,
            _ => break,
        }
    }
    Ok(found)
}

/// Trailing blanks do not belong to it; what is no printable ASCII is not shown as it is.
fn label(bytes: &[u8]) -> String {
    let shown = |&byte: &u8| if byte.is_ascii_graphic() || byte == b' ' { byte.into() } else { '?' };
    bytes.iter().map(shown).collect::<String>().trim_end().into()
}
