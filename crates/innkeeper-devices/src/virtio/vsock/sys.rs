//! Sockets that never wait, and what wakes a thread that waits for them.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Wakes a thread out of [`poll`], and tells it to end.
pub struct Wake {
    event: OwnedFd,
    ends: AtomicBool,
}

impl Wake {
    pub fn new() -> io::Result<Self> {
        // SAFETY: the call touches no memory of ours.
        let event = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if event < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: it was just made, and nobody else has it.
        Ok(Self { event: unsafe { OwnedFd::from_raw_fd(event) }, ends: AtomicBool::new(false) })
    }

    pub fn ring(&self) {
        let one = 1u64.to_ne_bytes();
        // SAFETY: the eight bytes are ours. It fails only when the counter is full: then it is awake anyway.
        unsafe { libc::write(self.event.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    }

    pub fn set_end(&self, ends: bool) {
        self.ends.store(ends, Ordering::SeqCst);
        self.ring();
    }

    pub fn ended(&self) -> bool {
        self.ends.load(Ordering::SeqCst)
    }

    /// Whether it was rung since the last call.
    pub fn take(&self) -> bool {
        let mut count = [0; 8];
        // SAFETY: the eight bytes are ours.
        unsafe { libc::read(self.event.as_raw_fd(), count.as_mut_ptr().cast(), count.len()) > 0 }
    }

    pub fn descriptor(&self) -> RawFd {
        self.event.as_raw_fd()
    }
}

/// What to wait for; a negative descriptor is none.
pub fn interest(descriptor: RawFd, events: i16) -> libc::pollfd {
    libc::pollfd { fd: if events == 0 { -1 } else { descriptor }, events, revents: 0 }
}

/// Waits until one of them is ready.
pub fn poll(interests: &mut [libc::pollfd]) {
    // SAFETY: the slice is ours and as long as we say.
    let ready = unsafe { libc::poll(interests.as_mut_ptr(), interests.len() as libc::nfds_t, -1) };
    if ready < 0 && io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
        pause(); // the host is out of memory: nothing is ready, and we come again
    }
}

/// What the host lacks now it may have a little later.
pub fn pause() {
    std::thread::sleep(Duration::from_millis(10));
}

/// The socket on which a program of the host takes the guest's connections to a port.
pub fn path_of_port(path: &Path, port: u32) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(format!("_{port}"));
    name.into()
}

/// Connects without waiting for whoever listens there.
pub fn connect(path: &Path) -> io::Result<UnixStream> {
    let kind = libc::SOCK_STREAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: the call touches no memory of ours.
    let socket = unsafe { libc::socket(libc::AF_UNIX, kind, 0) };
    if socket < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it was just made, and nobody else has it.
    let stream = unsafe { UnixStream::from_raw_fd(socket) };
    // SAFETY: all zeroes is a value of this structure of integers.
    let mut address: libc::sockaddr_un = unsafe { std::mem::zeroed() };
    address.sun_family = libc::AF_UNIX as libc::sa_family_t;
    let name = path.as_os_str().as_bytes();
    if name.len() >= address.sun_path.len() {
        return Err(io::ErrorKind::InvalidFilename.into());
    }
    for (to, &from) in address.sun_path.iter_mut().zip(name) {
        *to = from as libc::c_char;
    }
    let length = size_of_val(&address) as libc::socklen_t;
    // SAFETY: the address is as long as we say and outlives the call.
    let result = unsafe { libc::connect(socket, (&raw const address).cast(), length) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(stream) }
}
