//! Memory as a stream of bytes: what is in it, compressed, and nothing of what is all zeroes.
//!
//! Records of offset (64 bits), length and stored length (32 bits each, little-endian), then a Zstandard frame with a
//! checksum (RFC 8878). Each is a run of whole pages, behind the one before. One of length zero ends the stream: its
//! offset is the size of the memory, and in place of the stored length is a checksum of all bytes before it (FNV-1a, 32 bits):
//! a frame has bits that its decoder does not look at.

use std::io::{self, Read, Write};

use super::{GuestMemory, PAGE_SIZE, Ram};

/// The longest run, and how much is looked at at once.
const RUN_BYTES: usize = 1 << 20;
const PAGE: usize = PAGE_SIZE as usize;
const LEVEL: i32 = 1;

/// Told of how many bytes are done now and then; its error ends the work.
pub type Watch<'a> = &'a mut dyn FnMut(u64) -> io::Result<()>;

/// A part of a machine's one mapping.
pub struct Image<'a> {
    memory: &'a GuestMemory,
    offset: u64,
    size: u64,
}

impl<'a> Image<'a> {
    /// All RAM of the machine, in the order of its ranges, wherever the guest sees it now. Without that of devices.
    pub fn of_memory(memory: &'a GuestMemory) -> Self {
        Self { memory, offset: 0, size: memory.size() }
    }

    pub fn of_ram(ram: &'a Ram) -> Self {
        Self { memory: ram.memory(), offset: ram.offset, size: ram.size() }
    }

    /// Writes it. Nobody may write to the memory meanwhile.
    ///
    /// # Errors
    /// What `out` or `watch` gives.
    pub fn write_to(&self, out: &mut impl Write, watch: Watch<'_>) -> io::Result<()> {
        let mut compressor = zstd::bulk::Compressor::new(LEVEL)?;
        compressor.include_checksum(true)?;
        let mut bytes = vec![0; RUN_BYTES];
        let mut packed = Vec::with_capacity(zstd::zstd_safe::compress_bound(RUN_BYTES));
        let (mut at, mut sum) = (0, Sum::new());
        while at < self.size {
            let length = RUN_BYTES.min((self.size - at) as usize);
            let bytes = &mut bytes[..length];
            self.memory.copy_mapping_out(self.offset + at, bytes);
            for (start, run) in runs(bytes) {
                compressor.compress_to_buffer(run, &mut packed)?;
                let head = head(at + start as u64, run.len() as u32, packed.len() as u32);
                for part in [&head[..], &packed] {
                    sum.add(part);
                    out.write_all(part)?;
                }
            }
            at += length as u64;
            watch(at)?;
        }
        out.write_all(&head(self.size, 0, sum.0))
    }

    /// Reads it, over whatever was there.
    ///
    /// # Errors
    /// What `from` or `watch` gives; [`io::ErrorKind::InvalidData`] and [`io::ErrorKind::UnexpectedEof`] for what no
    /// [`Self::write_to`] wrote. Part of it may be there then.
    pub fn read_from(&self, from: &mut impl Read, watch: Watch<'_>) -> io::Result<()> {
        let mut decompressor = zstd::bulk::Decompressor::new()?;
        let mut bytes = vec![0; RUN_BYTES];
        let mut packed = vec![0; zstd::zstd_safe::compress_bound(RUN_BYTES)];
        let (mut end, mut sum) = (0, Sum::new());
        self.memory.zero(self.offset, self.size);
        loop {
            let (offset, length, stored) = read_head(from)?;
            if length == 0 && stored == sum.0 && offset == self.size {
                return Ok(());
            }
            sum.add(&head(offset, length, stored));
            let (length, stored) = (length as usize, stored as usize);
            let fits = offset >= end
                && offset < self.size
                && length as u64 <= self.size - offset
                && (1..=RUN_BYTES).contains(&length)
                && (1..=packed.len()).contains(&stored);
            if !fits || !offset.is_multiple_of(PAGE_SIZE) || !length.is_multiple_of(PAGE) {
                return Err(invalid("a piece of memory is where none can be"));
            }
            let packed = &mut packed[..stored];
            from.read_exact(packed)?;
            sum.add(packed);
            let done = decompressor.decompress_to_buffer(packed, &mut bytes[..length]);
            if done.ok() != Some(length) {
                return Err(invalid("a piece of memory is damaged"));
            }
            self.memory.copy_mapping_in(self.offset + offset, &bytes[..length]);
            end = offset + length as u64;
            watch(end)?;
        }
    }
}

/// The runs of pages that are not all zeroes, each with its offset.
fn runs(bytes: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let is_zero = |page: &[u8]| page.iter().all(|&byte| byte == 0);
    let mut at = 0;
    std::iter::from_fn(move || {
        while at < bytes.len() && is_zero(&bytes[at..at + PAGE]) {
            at += PAGE;
        }
        let start = at;
        while at < bytes.len() && !is_zero(&bytes[at..at + PAGE]) {
            at += PAGE;
        }
        (start < at).then(|| (start, &bytes[start..at]))
    })
}

/// The checksum of what came so far.
struct Sum(u32);

impl Sum {
    fn new() -> Self {
        Self(0x811C_9DC5)
    }

    fn add(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |sum, &byte| (sum ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    }
}

fn head(offset: u64, length: u32, stored: u32) -> [u8; 16] {
    let mut head = [0; 16];
    head[..8].copy_from_slice(&offset.to_le_bytes());
    head[8..12].copy_from_slice(&length.to_le_bytes());
    head[12..].copy_from_slice(&stored.to_le_bytes());
    head
}

fn read_head(from: &mut impl Read) -> io::Result<(u64, u32, u32)> {
    let (mut offset, mut length, mut stored) = ([0; 8], [0; 4], [0; 4]);
    from.read_exact(&mut offset)?;
    from.read_exact(&mut length)?;
    from.read_exact(&mut stored)?;
    Ok((u64::from_le_bytes(offset), u32::from_le_bytes(length), u32::from_le_bytes(stored)))
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    const RANGES: [(u64, u64); 3] = [(0, 0xA_0000), (0xC_0000, 0x4_0000), (1 << 20, 4 << 20)];

    fn memory() -> Arc<GuestMemory> {
        Arc::new(GuestMemory::new(&RANGES).unwrap())
    }

    fn written(image: &Image<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        image.write_to(&mut out, &mut |_| Ok(())).unwrap();
        out
    }

    fn filled() -> Arc<GuestMemory> {
        let from = memory();
        from.write(0x9_FFFF, &[1]).unwrap();
        from.write(0xC_0000, &[2; 0x3000]).unwrap();
        from.write((5 << 20) - 1, &[3]).unwrap();
        from
    }

    #[test]
    fn memory_comes_back_and_zeroes_take_no_room() {
        let from = filled();
        let shadow = Ram::movable(&from, 0xC_0000).unwrap();
        from.unmap_ram(0xC_0000).unwrap(); // it is RAM wherever it is seen
        let stream = written(&Image::of_memory(&from));
        assert!(stream.len() < 1000);
        let to = memory();
        let mut seen = 0;
        let mut watch = |done| {
            seen = done;
            Ok(())
        };
        Image::of_memory(&to).read_from(&mut stream.as_slice(), &mut watch).unwrap();
        assert_eq!(seen, to.size());
        let mut bytes = vec![0; 0xA_0000];
        to.read(0, &mut bytes).unwrap();
        assert_eq!(bytes.iter().map(|&byte| u32::from(byte)).sum::<u32>(), 1);
        to.read(0xC_2000, &mut bytes[..0x1001]).unwrap();
        assert_eq!((bytes[0xFFF], bytes[0x1000]), (2, 0));
        to.read((5 << 20) - 1, &mut bytes[..1]).unwrap();
        assert_eq!(bytes[0], 3);
        drop(shadow);
    }

    #[test]
    fn a_devices_memory_is_an_image_too() {
        let from = memory();
        let ram = Ram::take(&from, 3 * PAGE_SIZE).unwrap();
        ram.write(PAGE_SIZE, &[7; 10]).unwrap();
        let stream = written(&Image::of_ram(&ram));
        let (empty, taken) = (memory(), memory());
        let to = Ram::take(&taken, 3 * PAGE_SIZE).unwrap();
        Image::of_ram(&to).read_from(&mut stream.as_slice(), &mut |_| Ok(())).unwrap();
        assert_eq!(to.bytes()[PAGE].load(std::sync::atomic::Ordering::Relaxed), 7);
        let other = Image::of_memory(&empty);
        assert!(other.read_from(&mut stream.as_slice(), &mut |_| Ok(())).is_err(), "of another size");
    }

    #[test]
    fn whatever_is_cut_or_changed_is_noticed() {
        let stream = written(&Image::of_memory(&filled()));
        for cut in 0..stream.len() {
            let to = memory();
            assert!(Image::of_memory(&to).read_from(&mut &stream[..cut], &mut |_| Ok(())).is_err());
        }
        for at in 0..stream.len() {
            for bit in [4, at % 8] {
                let mut spoiled = stream.clone();
                spoiled[at] ^= 1 << bit;
                let to = memory();
                let read = Image::of_memory(&to).read_from(&mut spoiled.as_slice(), &mut |_| Ok(()));
                assert!(read.is_err(), "byte {at}, bit {bit}");
            }
        }
    }

    #[test]
    fn a_watcher_can_end_it() {
        let from = filled();
        let mut out = Vec::new();
        let mut watch = |_| Err(io::ErrorKind::Interrupted.into());
        let error = Image::of_memory(&from).write_to(&mut out, &mut watch).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Interrupted);
    }
}
