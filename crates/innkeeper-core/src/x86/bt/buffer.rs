//! Memory for translated code, mapped twice: writable here, executable there, never both (W^X).

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;

/// One file of anonymous memory with a writable and an executable view.
pub struct CodeBuffer {
    writable: NonNull<u8>,
    executable: NonNull<u8>,
    bytes: usize,
}

// SAFETY: both mappings are owned by this value and only reached through it.
unsafe impl Send for CodeBuffer {}

impl CodeBuffer {
    /// Maps `bytes` (a multiple of the page size) twice; pages cost memory once they are written.
    ///
    /// # Errors
    /// What the host answered.
    pub fn new(bytes: usize) -> io::Result<Self> {
        // SAFETY: the name is a C string; a failure is checked.
        let raw = unsafe { libc::memfd_create(c"innkeeper-code".as_ptr(), libc::MFD_CLOEXEC) };
        if raw < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new and ours.
        let file = unsafe { OwnedFd::from_raw_fd(raw) };
        // SAFETY: plain system call on our own descriptor.
        if unsafe { libc::ftruncate(file.as_raw_fd(), bytes as libc::off_t) } != 0 {
            return Err(io::Error::last_os_error());
        }
        let writable = map(&file, bytes, libc::PROT_READ | libc::PROT_WRITE)?;
        let executable = match map(&file, bytes, libc::PROT_READ | libc::PROT_EXEC) {
            Ok(executable) => executable,
            Err(error) => {
                // SAFETY: the mapping was made above and nobody knows it.
                unsafe { libc::munmap(writable.as_ptr().cast(), bytes) };
                return Err(error);
            }
        };
        Ok(Self { writable, executable, bytes })
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Where the byte at `offset` is executed.
    pub fn address(&self, offset: usize) -> u64 {
        assert!(offset < self.bytes);
        self.executable.as_ptr() as u64 + offset as u64
    }

    pub fn write(&mut self, offset: usize, code: &[u8]) {
        assert!(offset + code.len() <= self.bytes);
        // SAFETY: just checked to lie in the mapping, which nobody else writes to.
        unsafe {
            std::ptr::copy_nonoverlapping(code.as_ptr(), self.writable.as_ptr().add(offset), code.len());
        }
    }

    pub fn read(&self, offset: usize, length: usize) -> &[u8] {
        assert!(offset + length <= self.bytes);
        // SAFETY: just checked to lie in the mapping; writes need `&mut self`.
        unsafe { std::slice::from_raw_parts(self.writable.as_ptr().add(offset), length) }
    }

    /// Points the 32-bit displacement that ends at `end` to `target`.
    pub fn patch(&mut self, end: usize, target: usize) {
        let distance = (target as i64 - end as i64) as i32;
        self.write(end - 4, &distance.to_le_bytes());
    }
}

fn map(file: &OwnedFd, bytes: usize, protection: libc::c_int) -> io::Result<NonNull<u8>> {
    // SAFETY: a new shared mapping of our own file at an address of the kernel's choice.
    let raw =
        unsafe { libc::mmap(std::ptr::null_mut(), bytes, protection, libc::MAP_SHARED, file.as_raw_fd(), 0) };
    if raw == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    Ok(NonNull::new(raw.cast()).expect("mmap never returns null"))
}

impl Drop for CodeBuffer {
    fn drop(&mut self) {
        // SAFETY: both mappings are ours, and no code of them runs any more.
        unsafe {
            libc::munmap(self.writable.as_ptr().cast(), self.bytes);
            libc::munmap(self.executable.as_ptr().cast(), self.bytes);
        }
    }
}
