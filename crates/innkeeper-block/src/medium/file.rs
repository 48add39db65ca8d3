//! Files and block devices of the host.
//!
//! Vectored `preadv`/`pwritev`; holes by `fallocate` (`PUNCH_HOLE`, `ZERO_RANGE`) and `SEEK_HOLE`/`SEEK_DATA`, and
//! by writing zeroes where a file system lacks them. fallocate(2), lseek(2), block device ioctls of `linux/fs.h`.
//! Past the page cache (`O_DIRECT`) go requests that are aligned for it; others, such as those for tables of an image,
//! go through it, which Linux keeps coherent. Left out: `io_uring`.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use super::{Medium, Stretch};
use crate::error::{Error, Result};

/// As many buffers as one system call takes.
const IOV_MAX: usize = 1024;
/// As many bytes as one system call is asked for; Linux stops at 2 GiB less a page.
const CALL_MAX: u64 = 1 << 30;
/// `BLKGETSIZE64`, `BLKDISCARD`, `BLKZEROOUT`.
const BLK_GET_SIZE: libc::c_ulong = 0x8008_1272;
const BLK_DISCARD: libc::c_ulong = 0x1277;
const BLK_ZERO_OUT: libc::c_ulong = 0x127F;

/// An open file or block device.
#[derive(Debug)]
pub struct HostFile {
    file: File,
    name: String,
    read_only: bool,
    is_device: bool,
    /// The same, opened with `O_DIRECT`.
    direct: Option<File>,
}

/// What offsets, lengths and addresses of direct requests are multiples of: as much as any disk's sector.
const DIRECT_ALIGNMENT: usize = 4096;

impl HostFile {
    /// # Errors
    /// A sentence with the path: it is not there, is a folder, or the host's answer.
    pub fn open(path: &Path, read_only: bool) -> Result<Self> {
        // Non-blocking: a FIFO would hold the opener until somebody writes.
        let file = OpenOptions::new()
            .read(true)
            .write(!read_only)
            .custom_flags(libc::O_CLOEXEC | libc::O_NONBLOCK)
            .open(path)
            .map_err(Error::host(format!("open {}", path.display())))?;
        Self::of(file, path, read_only)
    }

    /// A new file of length 0. What stood there is emptied only if `overwrite`.
    ///
    /// # Errors
    /// A sentence with the path: it exists, or the host's answer.
    pub fn create(path: &Path, overwrite: bool) -> Result<Self> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).mode(0o644).custom_flags(libc::O_CLOEXEC | libc::O_NONBLOCK);
        let options = if overwrite { options.create(true).truncate(true) } else { options.create_new(true) };
        let file = options.open(path).map_err(Error::host(format!("create {}", path.display())))?;
        Self::of(file, path, false)
    }

    pub(crate) fn of(file: File, path: &Path, read_only: bool) -> Result<Self> {
        let name = path.display().to_string();
        let kind = file.metadata().map_err(Error::host(format!("open {name}")))?.file_type();
        if !kind.is_file() && !kind.is_block_device() {
            let what = if kind.is_dir() { "a folder" } else { "neither a file nor a block device" };
            return Err(Error::Refused(format!(
                "{name} is {what}, a disk image is a file or a block device"
            )));
        }
        Ok(Self { file, name, read_only, is_device: kind.is_block_device(), direct: None })
    }

    /// From now on requests that are aligned for it go past the host's page cache.
    ///
    /// # Errors
    /// The file system cannot, or the host's answer.
    pub fn go_direct(&mut self) -> Result<()> {
        let again = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        let opened = OpenOptions::new()
            .read(true)
            .write(!self.read_only)
            .custom_flags(libc::O_CLOEXEC | libc::O_DIRECT)
            .open(again);
        match opened {
            Ok(file) => self.direct = Some(file),
            Err(error) if is_unsupported(&error) => {
                let name = &self.name;
                return Err(Error::Refused(format!(
                    "{name} cannot be used past the page cache, its file system does not offer it; use cache=writeback"
                )));
            }
            Err(error) => return Err(Error::host(format!("open {} for direct access", self.name))(error)),
        }
        Ok(())
    }

    /// The file through which a request goes.
    fn way(&self, offset: u64, mut buffers: impl Iterator<Item = (*const u8, usize)>) -> &File {
        let aligned = |number: usize| number.is_multiple_of(DIRECT_ALIGNMENT);
        match &self.direct {
            Some(direct)
                if aligned(offset as usize)
                    && buffers.all(|(address, length)| aligned(address.addr()) && aligned(length)) =>
            {
                direct
            }
            _ => &self.file,
        }
    }

    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    fn fallocate(&self, mode: libc::c_int, offset: u64, length: u64) -> io::Result<()> {
        loop {
            // SAFETY: a call on our own descriptor with no memory of ours.
            let answer = unsafe {
                libc::fallocate(self.file.as_raw_fd(), mode, offset.cast_signed(), length.cast_signed())
            };
            match if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) } {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                done => return done,
            }
        }
    }

    fn device_range(&self, request: libc::c_ulong, offset: u64, length: u64) -> io::Result<()> {
        let range = [offset, length];
        // SAFETY: both requests read two u64 from the pointer, which `range` holds.
        let answer = unsafe { libc::ioctl(self.file.as_raw_fd(), request, range.as_ptr()) };
        if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// The last resort: zeroes like other data.
    fn write_zeroes_plainly(&self, mut offset: u64, mut length: u64) -> io::Result<()> {
        static ZEROES: [u8; 1 << 16] = [0; 1 << 16];
        while length > 0 {
            let piece = length.min(ZEROES.len() as u64);
            self.file.write_all_at(&ZEROES[..piece as usize], offset)?;
            (offset, length) = (offset + piece, length - piece);
        }
        Ok(())
    }

    fn seek(&self, offset: u64, whence: libc::c_int) -> io::Result<u64> {
        // SAFETY: a call on our own descriptor with no memory of ours; nothing here uses the file's position.
        let answer = unsafe { libc::lseek(self.file.as_raw_fd(), offset.cast_signed(), whence) };
        u64::try_from(answer).map_err(|_| io::Error::last_os_error())
    }
}

/// Whether the host said that it cannot do this, so that another way is worth trying.
fn is_unsupported(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EOPNOTSUPP | libc::ENOSYS | libc::ENOTTY | libc::EINVAL | libc::ENODEV)
    )
}

/// A range that a signed offset of the host can hold.
fn checked_end(offset: u64, length: u64) -> io::Result<u64> {
    match offset.checked_add(length) {
        Some(end) if end <= i64::MAX as u64 => Ok(end),
        _ => Err(io::Error::from_raw_os_error(libc::EFBIG)),
    }
}

fn total(lengths: impl Iterator<Item = usize>) -> u64 {
    lengths.map(|length| length as u64).sum()
}

impl Medium for HostFile {
    fn name(&self) -> &str {
        &self.name
    }

    fn identity(&self) -> Option<(u64, u64)> {
        self.file.metadata().ok().map(|found| (found.dev(), found.ino()))
    }

    fn is_read_only(&self) -> bool {
        self.read_only
    }

    fn grows(&self) -> bool {
        !self.is_device
    }

    fn size(&self) -> io::Result<u64> {
        if !self.is_device {
            return Ok(self.file.metadata()?.len());
        }
        let mut size = 0u64;
        // SAFETY: BLKGETSIZE64 writes one u64 to the pointer.
        let answer = unsafe { libc::ioctl(self.file.as_raw_fd(), BLK_GET_SIZE, &raw mut size) };
        if answer == 0 { Ok(size) } else { Err(io::Error::last_os_error()) }
    }

    fn read(&self, offset: u64, buffers: &mut [IoSliceMut<'_>]) -> io::Result<()> {
        let file = self.way(offset, buffers.iter().map(|buffer| (buffer.as_ptr(), buffer.len())));
        if let [buffer] = buffers {
            return read_to_end(file, &self.file, offset, buffer);
        }
        let mut at = offset;
        for group in buffers.chunks_mut(IOV_MAX) {
            let wanted = total(group.iter().map(|buffer| buffer.len()));
            checked_end(at, wanted)?;
            // SAFETY: IoSliceMut is laid out as iovec, and the kernel writes only within each.
            let read = unsafe {
                libc::preadv(
                    file.as_raw_fd(),
                    group.as_ptr().cast(),
                    group.len() as libc::c_int,
                    at.cast_signed(),
                )
            };
            if read.cast_unsigned() as u64 != wanted {
                // Short, interrupted, at the end or an error: buffer by buffer finds out which.
                let mut from = at;
                for buffer in group.iter_mut() {
                    read_to_end(&self.file, &self.file, from, buffer)?;
                    from += buffer.len() as u64;
                }
            }
            at += wanted;
        }
        Ok(())
    }

    fn write(&self, offset: u64, buffers: &[IoSlice<'_>]) -> io::Result<()> {
        let file = self.way(offset, buffers.iter().map(|buffer| (buffer.as_ptr(), buffer.len())));
        if let [buffer] = buffers {
            checked_end(offset, buffer.len() as u64)?;
            return write_whole(file, &self.file, buffer, offset);
        }
        let mut at = offset;
        for group in buffers.chunks(IOV_MAX) {
            let wanted = total(group.iter().map(|buffer| buffer.len()));
            checked_end(at, wanted)?;
            // SAFETY: IoSlice is laid out as iovec, and the kernel only reads.
            let written = unsafe {
                libc::pwritev(
                    file.as_raw_fd(),
                    group.as_ptr().cast(),
                    group.len() as libc::c_int,
                    at.cast_signed(),
                )
            };
            if written.cast_unsigned() as u64 != wanted {
                let mut from = at;
                for buffer in group {
                    self.file.write_all_at(buffer, from)?;
                    from += buffer.len() as u64;
                }
            }
            at += wanted;
        }
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        if self.read_only { Ok(()) } else { self.file.sync_data() }
    }

    fn write_zeroes(&self, offset: u64, length: u64, unmap: bool) -> io::Result<()> {
        let end = checked_end(offset, length)?;
        if length == 0 {
            return Ok(());
        }
        if self.is_device {
            return match self.device_range(BLK_ZERO_OUT, offset, length) {
                Err(error) if is_unsupported(&error) => self.write_zeroes_plainly(offset, length),
                done => done,
            };
        }
        let mut done = Err(io::Error::from_raw_os_error(libc::EOPNOTSUPP));
        if unmap {
            done = self.fallocate(libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE, offset, length);
            if done.is_ok() && end > self.size()? {
                return self.set_size(end);
            }
        }
        if matches!(&done, Err(error) if is_unsupported(error)) {
            done = self.fallocate(libc::FALLOC_FL_ZERO_RANGE, offset, length);
        }
        match done {
            Err(error) if is_unsupported(&error) => self.write_zeroes_plainly(offset, length),
            done => done,
        }
    }

    fn discard(&self, offset: u64, length: u64) -> io::Result<()> {
        checked_end(offset, length)?;
        if length == 0 {
            return Ok(());
        }
        let done = if self.is_device {
            self.device_range(BLK_DISCARD, offset, length)
        } else {
            self.fallocate(libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE, offset, length)
        };
        match done {
            Err(error) if is_unsupported(&error) => Ok(()), // a hint
            done => done,
        }
    }

    fn set_size(&self, size: u64) -> io::Result<()> {
        if self.is_device {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                format!("{} is a block device, its size is fixed", self.name),
            ));
        }
        self.file.set_len(size)
    }

    fn allocate(&self, offset: u64, length: u64) -> io::Result<()> {
        checked_end(offset, length)?;
        if self.is_device || length == 0 { Ok(()) } else { self.fallocate(0, offset, length) }
    }

    fn stretch(&self, offset: u64) -> io::Result<Stretch> {
        let endless = Stretch { length: u64::MAX - offset, hole: true };
        let size = self.size()?;
        if offset >= size {
            return Ok(endless);
        }
        let data = Stretch { length: size - offset, hole: false };
        match self.seek(offset, libc::SEEK_DATA) {
            Ok(at) if at > offset => Ok(Stretch { length: at - offset, hole: true }),
            Ok(_) => match self.seek(offset, libc::SEEK_HOLE) {
                Ok(at) if at > offset => Ok(Stretch { length: at.min(size) - offset, hole: false }),
                // A file system without holes, or one that made the hole a moment ago.
                Ok(_) => Ok(data),
                Err(error) if is_unsupported(&error) => Ok(data),
                Err(error) => Err(error),
            },
            Err(error) if error.raw_os_error() == Some(libc::ENXIO) => Ok(endless), // a hole up to the end
            Err(error) if is_unsupported(&error) => Ok(data),
            Err(error) => Err(error),
        }
    }
}

/// Writes all, through `file` as far as it takes it, the rest (which may no longer be aligned) plainly.
fn write_whole(file: &File, plain: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    let written = loop {
        match file.write_at(bytes, offset) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => break done?,
        }
    };
    if written == bytes.len() {
        Ok(())
    } else {
        plain.write_all_at(&bytes[written..], offset + written as u64)
    }
}

/// Fills `buffer`, with zeroes from the file's end on. What `file` does not give at once (the end may lie within what
/// is aligned) is read plainly.
fn read_to_end(file: &File, plain: &File, mut offset: u64, mut buffer: &mut [u8]) -> io::Result<()> {
    checked_end(offset, buffer.len() as u64)?;
    let mut way = file;
    while !buffer.is_empty() {
        let wanted = buffer.len().min(CALL_MAX as usize);
        match way.read_at(&mut buffer[..wanted], offset) {
            Ok(0) => {
                buffer.fill(0);
                return Ok(());
            }
            Ok(read) => {
                buffer = &mut buffer[read..];
                offset += read as u64;
                way = plain;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
