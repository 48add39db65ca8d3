//! Locks on image files, so that no two machines write one disk: QEMU's own, so that they hold between it and us.
//!
//! Open file description locks (fcntl(2)) on single bytes, all of them shared: byte 100 + n says "I do n", byte 200 + n
//! "I cannot bear others to do n". Who sees that somebody else's contradict their own gives up. What n is: QEMU's
//! `BLK_PERM_*` numbers. Left out: sharing a disk between writers on purpose.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::error::{Error, Result};

const DOING: u64 = 100;
const NOT_SHARED: u64 = 200;

const CONSISTENT_READ: u64 = 0;
const WRITE: u64 = 1;
const RESIZE: u64 = 3;
/// What nobody else may do, whatever this one does.
const NOT_BORNE: [u64; 2] = [WRITE, RESIZE];

/// The lock stays until the file, with all its duplicates, is closed.
///
/// # Errors
/// `Busy`, naming who has the image as far as this user may know; or the host's answer.
pub fn take(file: &File, name: &str, writes: bool) -> Result<()> {
    claim(file, name, writes)?;
    // After ours are set, so that of two who begin at once at least one sees the other.
    check(file, name, writes)
}

fn doing(writes: bool) -> &'static [u64] {
    if writes { &[CONSISTENT_READ, WRITE, RESIZE] } else { &[CONSISTENT_READ] }
}

/// The first half of [`take`]: others that come see it.
///
/// # Errors
/// The host's answer.
pub fn claim(file: &File, name: &str, writes: bool) -> Result<()> {
    for byte in doing(writes).iter().map(|n| DOING + n).chain(NOT_BORNE.iter().map(|n| NOT_SHARED + n)) {
        fcntl(file, libc::F_OFD_SETLK, libc::F_RDLCK, byte).map_err(Error::host(format!("lock {name}")))?;
    }
    Ok(())
}

/// The second half of [`take`]: whether it contradicts others'.
///
/// # Errors
/// As for [`take`]; then what was claimed is given up.
pub fn check(file: &File, name: &str, writes: bool) -> Result<()> {
    for byte in doing(writes).iter().map(|n| NOT_SHARED + n).chain(NOT_BORNE.iter().map(|n| DOING + n)) {
        let asked = fcntl(file, libc::F_OFD_GETLK, libc::F_WRLCK, byte);
        if asked.map_err(Error::host(format!("lock {name}")))? {
            let by_writer = byte == DOING + WRITE || byte == DOING + RESIZE;
            release(file);
            return Err(busy(file, name, writes, by_writer));
        }
    }
    Ok(())
}

fn release(file: &File) {
    for n in 0..5 {
        for base in [DOING, NOT_SHARED] {
            // Closing the file, which comes next, does the same.
            let _ = fcntl(file, libc::F_OFD_SETLK, libc::F_UNLCK, base + n);
        }
    }
}

/// Whether a lock that was asked about (`F_OFD_GETLK`) would be refused.
fn fcntl(file: &File, command: libc::c_int, kind: libc::c_int, byte: u64) -> io::Result<bool> {
    // SAFETY: all zeroes is a valid flock.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = kind as libc::c_short;
    lock.l_whence = libc::SEEK_SET as libc::c_short;
    lock.l_start = byte.cast_signed();
    lock.l_len = 1;
    loop {
        // SAFETY: these commands read and write one flock.
        if unsafe { libc::fcntl(file.as_raw_fd(), command, &raw mut lock) } == 0 {
            return Ok(command == libc::F_OFD_GETLK && lock.l_type != libc::F_UNLCK as libc::c_short);
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

fn busy(file: &File, name: &str, writes: bool, by_writer: bool) -> Error {
    let who = holders(file);
    let who = if who.is_empty() { "another program".to_owned() } else { who.join(" and ") };
    let what = if by_writer { "writes" } else { "uses" };
    let hint = if writes && !by_writer {
        "stop it, or open the image read-only"
    } else {
        "stop it, or put an overlay on an image that nobody writes"
    };
    Error::Busy(format!("{name} is locked: {who} {what} it; {hint}"))
}

/// Processes that hold a lock on the file, as far as their descriptors may be looked at.
fn holders(file: &File) -> Vec<String> {
    let Ok(target) = file.metadata() else { return Vec::new() };
    let mut found = Vec::new();
    for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        if holds(&process.path(), &target, (pid == std::process::id()).then(|| file.as_raw_fd())) {
            let command = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            found.push(format!("{} (process {pid})", command.trim()));
        }
    }
    found
}

fn holds(process: &Path, target: &fs::Metadata, except: Option<i32>) -> bool {
    let descriptors = fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
    descriptors.into_iter().any(|descriptor| {
        let number = descriptor.file_name();
        if except.is_some_and(|own| number.to_str() == Some(&own.to_string())) {
            return false;
        }
        let same = fs::metadata(descriptor.path())
            .is_ok_and(|found| (found.dev(), found.ino()) == (target.dev(), target.ino()));
        same && fs::read_to_string(process.join("fdinfo").join(number))
            .is_ok_and(|text| text.lines().any(|line| line.starts_with("lock:") && line.contains("OFDLCK")))
    })
}
