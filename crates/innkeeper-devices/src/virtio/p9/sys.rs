//! The host's system calls that the standard library lacks, by descriptor: none of them follows a link or leaves the
//! folder it is given.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd};

/// How often a lookup is tried again that others' renames disturbed.
const TRIES: usize = 32;

pub fn error(number: i32) -> io::Error {
    io::Error::from_raw_os_error(number)
}

fn c_string(bytes: &[u8]) -> io::Result<CString> {
    CString::new(bytes).map_err(|_| error(libc::EINVAL))
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Opens a path of plain components below `folder`; an empty one is the folder. Neither `..` nor a link leads out.
pub fn open_beneath(folder: &File, path: &[u8], flags: i32, mode: u32) -> io::Result<File> {
    let path = c_string(if path.is_empty() { b"." } else { path })?;
    // SAFETY: all zeroes is a value of this structure of integers.
    let mut how: libc::open_how = unsafe { std::mem::zeroed() };
    how.flags = (flags | libc::O_CLOEXEC) as u64;
    how.mode = mode.into();
    how.resolve = libc::RESOLVE_BENEATH | libc::RESOLVE_NO_MAGICLINKS | libc::RESOLVE_NO_SYMLINKS;
    for _ in 0..TRIES {
        // SAFETY: the path ends with NUL, the structure is as long as we say, and both outlive the call.
        let opened = unsafe {
            libc::syscall(
                libc::SYS_openat2,
                folder.as_raw_fd(),
                path.as_ptr(),
                &raw const how,
                size_of_val(&how),
            )
        };
        if let Ok(descriptor) = i32::try_from(opened)
            && descriptor >= 0
        {
            // SAFETY: it was just opened, and nobody else has it.
            return Ok(unsafe { File::from_raw_fd(descriptor) });
        }
        let failed = io::Error::last_os_error();
        if !matches!(failed.raw_os_error(), Some(libc::EAGAIN | libc::EINTR)) {
            return Err(failed);
        }
    }
    Err(error(libc::EAGAIN))
}

/// Opens anew, by its entry in `/proc/self/fd`, what a descriptor stands for: no name is looked up.
pub fn reopen(entries: &File, object: &File, flags: i32) -> io::Result<File> {
    let entry = entry_of(object)?;
    // SAFETY: the name ends with NUL and outlives the call.
    let opened = unsafe { libc::openat(entries.as_raw_fd(), entry.as_ptr(), flags | libc::O_CLOEXEC) };
    check(opened)?;
    // SAFETY: it was just opened, and nobody else has it.
    Ok(unsafe { File::from_raw_fd(opened) })
}

fn entry_of(object: &File) -> io::Result<CString> {
    c_string(object.as_raw_fd().to_string().as_bytes())
}

pub fn make_directory(parent: &File, name: &[u8], mode: u32) -> io::Result<()> {
    let name = c_string(name)?;
    // SAFETY: the name ends with NUL and outlives the call.
    check(unsafe { libc::mkdirat(parent.as_raw_fd(), name.as_ptr(), mode) })
}

pub fn make_node(parent: &File, name: &[u8], mode: u32) -> io::Result<()> {
    let name = c_string(name)?;
    // SAFETY: the name ends with NUL and outlives the call.
    check(unsafe { libc::mknodat(parent.as_raw_fd(), name.as_ptr(), mode, 0) })
}

pub fn make_symlink(target: &[u8], parent: &File, name: &[u8]) -> io::Result<()> {
    let (target, name) = (c_string(target)?, c_string(name)?);
    // SAFETY: both end with NUL and outlive the call.
    check(unsafe { libc::symlinkat(target.as_ptr(), parent.as_raw_fd(), name.as_ptr()) })
}

pub fn link(entries: &File, object: &File, parent: &File, name: &[u8]) -> io::Result<()> {
    let (entry, name) = (entry_of(object)?, c_string(name)?);
    let (from, to) = (entries.as_raw_fd(), parent.as_raw_fd());
    // SAFETY: both names end with NUL and outlive the call.
    check(unsafe { libc::linkat(from, entry.as_ptr(), to, name.as_ptr(), libc::AT_SYMLINK_FOLLOW) })
}

pub fn unlink(parent: &File, name: &[u8], directory: bool) -> io::Result<()> {
    let name = c_string(name)?;
    let flags = if directory { libc::AT_REMOVEDIR } else { 0 };
    // SAFETY: the name ends with NUL and outlives the call.
    check(unsafe { libc::unlinkat(parent.as_raw_fd(), name.as_ptr(), flags) })
}

pub fn rename(from: &File, old: &[u8], to: &File, new: &[u8]) -> io::Result<()> {
    let (old, new) = (c_string(old)?, c_string(new)?);
    // SAFETY: both names end with NUL and outlive the call.
    check(unsafe { libc::renameat(from.as_raw_fd(), old.as_ptr(), to.as_raw_fd(), new.as_ptr()) })
}

pub fn read_link(object: &File) -> io::Result<Vec<u8>> {
    let mut target = vec![0; libc::PATH_MAX as usize];
    let (to, room) = (target.as_mut_ptr().cast(), target.len());
    // SAFETY: the buffer is ours and as long as we say; the empty name ends with NUL.
    let length = unsafe { libc::readlinkat(object.as_raw_fd(), c"".as_ptr(), to, room) };
    target.truncate(usize::try_from(length).map_err(|_| io::Error::last_os_error())?);
    Ok(target)
}

pub fn set_mode(entries: &File, object: &File, mode: u32) -> io::Result<()> {
    let entry = entry_of(object)?;
    // SAFETY: the name ends with NUL and outlives the call.
    check(unsafe { libc::fchmodat(entries.as_raw_fd(), entry.as_ptr(), mode, 0) })
}

pub fn set_times(entries: &File, object: &File, times: &[libc::timespec; 2]) -> io::Result<()> {
    let entry = entry_of(object)?;
    // SAFETY: the name ends with NUL, and there are two times; all outlive the call.
    check(unsafe { libc::utimensat(entries.as_raw_fd(), entry.as_ptr(), times.as_ptr(), 0) })
}

pub fn file_system(object: &File) -> io::Result<libc::statfs64> {
    let mut found = MaybeUninit::uninit();
    // SAFETY: there is room for the structure.
    check(unsafe { libc::fstatfs64(object.as_raw_fd(), found.as_mut_ptr()) })?;
    // SAFETY: the call filled it.
    Ok(unsafe { found.assume_init() })
}

/// Raw entries of a directory (`struct linux_dirent64`) from a place on that an earlier entry named; 0 is the start.
pub fn directory_entries(directory: &File, from: u64, out: &mut [u8]) -> io::Result<usize> {
    let from = i64::try_from(from).map_err(|_| error(libc::EINVAL))?;
    // SAFETY: a seek touches no memory.
    if unsafe { libc::lseek64(directory.as_raw_fd(), from, libc::SEEK_SET) } < 0 {
        return Err(io::Error::last_os_error());
    }
    let (to, room) = (out.as_mut_ptr(), out.len());
    // SAFETY: the buffer is ours and as long as we say.
    let length = unsafe { libc::syscall(libc::SYS_getdents64, directory.as_raw_fd(), to, room) };
    usize::try_from(length).map_err(|_| io::Error::last_os_error())
}

/// How many descriptors this process may have open.
pub fn descriptors() -> usize {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: there is room for the structure.
    let asked = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    if asked < 0 { 0 } else { usize::try_from(limit.rlim_cur).unwrap_or(usize::MAX) }
}
