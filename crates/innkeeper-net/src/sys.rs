//! The few system calls that links need beside sockets: epoll, eventfd and openat2 (man 7 epoll, man 2 eventfd, man 2 openat2).

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

/// Wakes a thread that waits for events.
pub struct Wake(OwnedFd);

fn owned(fd: RawFd) -> io::Result<OwnedFd> {
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the system call that gave it succeeded, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

impl Wake {
    /// # Errors
    /// The host has no descriptor left.
    pub fn new() -> io::Result<Self> {
        // SAFETY: takes no pointers.
        owned(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) }).map(Self)
    }

    pub fn wake(&self) {
        let one = 1u64;
        // SAFETY: eight bytes of our own. It can fail only where the counter is full, and then it wakes anyway.
        unsafe { libc::write(self.0.as_raw_fd(), (&raw const one).cast(), 8) };
    }

    /// Takes back what [`Self::wake`] did.
    pub fn clear(&self) {
        let mut count = 0u64;
        // SAFETY: eight bytes of our own. It fails where there was nothing to take back.
        unsafe { libc::read(self.0.as_raw_fd(), (&raw mut count).cast(), 8) };
    }
}

impl AsRawFd for Wake {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// What a descriptor is watched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// Told again and again while there is something to read.
    Readable,
    /// Told once each time that something can be read or written that could not be before.
    Edges,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    pub token: u64,
    pub readable: bool,
    pub writable: bool,
}

pub const EVENTS: usize = 64;

/// Many descriptors, waited for at once.
pub struct Poll(OwnedFd);

impl Poll {
    /// # Errors
    /// The host has no descriptor left.
    pub fn new() -> io::Result<Self> {
        // SAFETY: takes no pointers.
        owned(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) }).map(Self)
    }

    /// Watches `fd` until it is closed.
    ///
    /// # Errors
    /// The host's: too many are watched.
    pub fn add(&self, fd: &impl AsRawFd, token: u64, interest: Interest) -> io::Result<()> {
        let events = match interest {
            Interest::Readable => libc::EPOLLIN,
            Interest::Edges => libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP | libc::EPOLLET,
        };
        let mut event = libc::epoll_event { events: events as u32, u64: token };
        // SAFETY: `event` lives through the call.
        let rc = unsafe {
            libc::epoll_ctl(self.0.as_raw_fd(), libc::EPOLL_CTL_ADD, fd.as_raw_fd(), &raw mut event)
        };
        if rc < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Waits for events, at most `limit`; none come when it was interrupted.
    pub fn wait(&self, limit: Option<Duration>) -> impl Iterator<Item = Event> + use<> {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; EVENTS];
        // Rounded up: a timer that is due in half a millisecond must not be polled for.
        let millis = limit.map_or(-1, |limit| i32::try_from(limit.as_millis() + 1).unwrap_or(i32::MAX));
        // SAFETY: the array has the length that is passed.
        let count =
            unsafe { libc::epoll_wait(self.0.as_raw_fd(), events.as_mut_ptr(), EVENTS as i32, millis) };
        let ends = (libc::EPOLLERR | libc::EPOLLHUP | libc::EPOLLRDHUP) as u32;
        events.into_iter().take(usize::try_from(count).unwrap_or(0)).map(move |event| Event {
            token: event.u64,
            readable: event.events & (libc::EPOLLIN as u32 | ends) != 0,
            writable: event.events & (libc::EPOLLOUT as u32 | ends) != 0,
        })
    }
}

/// How often a lookup is tried again that others' renames disturbed.
const TRIES: usize = 32;

/// Opens a path below `folder`. Neither `..` nor a link leads out, whatever others rename meanwhile; links that stay are followed.
///
/// # Errors
/// The host's; of a name with a NUL, that there is none.
pub fn open_beneath(folder: &File, path: &[u8], flags: i32) -> io::Result<File> {
    let path = CString::new(path).map_err(|_| io::Error::from_raw_os_error(libc::ENOENT))?;
    // SAFETY: all zeroes is a value of this structure of integers.
    let mut how: libc::open_how = unsafe { std::mem::zeroed() };
    how.flags = (flags | libc::O_CLOEXEC) as u64;
    how.resolve = libc::RESOLVE_BENEATH | libc::RESOLVE_NO_MAGICLINKS;
    for _ in 0..TRIES {
        // SAFETY: the path ends with NUL, the structure is as long as we say, and both outlive the call.
        let opened = unsafe {
            let (path, how_at) = (path.as_ptr(), &raw const how);
            libc::syscall(libc::SYS_openat2, folder.as_raw_fd(), path, how_at, size_of_val(&how))
        };
        match owned(opened as RawFd) {
            Ok(descriptor) => return Ok(File::from(descriptor)),
            Err(error) if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EINTR)) => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::from_raw_os_error(libc::EAGAIN))
}

/// Waits until one of these can be read, or was closed at its other end; a negative one is passed over.
pub fn wait_readable<const N: usize>(descriptors: [RawFd; N]) {
    let mut list = descriptors.map(|fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 });
    // SAFETY: the array has the length that is passed. If it is interrupted, the caller looks and waits again.
    unsafe { libc::poll(list.as_mut_ptr(), N as libc::nfds_t, -1) };
}
