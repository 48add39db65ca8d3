//! A tap interface of the host's: frames go through its kernel, with checksums and segmentation left to whoever wants them.
//!
//! Spec: Linux Documentation/networking/tuntap.rst, man 7 netdevice. An interface that is not there is made, where we
//! may, and goes with us.

use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;

use crate::pump::{Pump, Source};
use crate::{Card, HEADER_BYTES, Link, Offloads};

const DEVICE: &std::ffi::CStr = c"/dev/net/tun";
/// From linux/if_tun.h.
const TUNSETIFF: libc::Ioctl = 0x4004_54ca_u32 as libc::Ioctl;
const TUNSETOFFLOAD: libc::Ioctl = 0x4004_54d0_u32 as libc::Ioctl;
const TUNSETVNETHDRSZ: libc::Ioctl = 0x4004_54d8_u32 as libc::Ioctl;
const TUN_F_CSUM: libc::c_uint = 1;
const TUN_F_TSO4: libc::c_uint = 2;
const TUN_F_TSO6: libc::c_uint = 4;
const TUN_F_TSO_ECN: libc::c_uint = 8;
/// From linux/sockios.h.
const SIOCBRADDIF: libc::Ioctl = 0x89a2;
const FRAME_BYTES: usize = HEADER_BYTES + 14 + 65536;

/// What was being done when the host refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Open,
    Attach,
    Configure,
    Bridge,
    Up,
}

type Refused = (Step, io::Error);

pub struct Tap {
    descriptor: Arc<OwnedFd>,
    name: String,
    pump: Pump,
}

/// `struct ifreq` with this name, and flags.
fn request(name: &str, flags: i16) -> io::Result<libc::ifreq> {
    // SAFETY: all zeroes is a valid `ifreq`.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    if name.len() >= libc::IFNAMSIZ || name.contains('\0') {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (place, byte) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *place = byte as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = flags;
    Ok(request)
}

fn ioctl<T>(fd: RawFd, what: libc::Ioctl, argument: *mut T) -> io::Result<()> {
    // SAFETY: every caller passes what this request takes, valid through the call.
    if unsafe { libc::ioctl(fd, what, argument) } < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// A socket to configure interfaces by.
fn control() -> io::Result<OwnedFd> {
    // SAFETY: takes no pointers.
    let fd = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it was just opened, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The index of an interface; None if there is none of that name.
fn index_of(name: &str) -> Option<libc::c_uint> {
    let name = std::ffi::CString::new(name).ok()?;
    // SAFETY: the name ends with a NUL and lives through the call.
    Some(unsafe { libc::if_nametoindex(name.as_ptr()) }).filter(|&index| index != 0)
}

fn set_up(name: &str) -> io::Result<()> {
    let (control, mut request) = (control()?, request(name, 0)?);
    ioctl(control.as_raw_fd(), libc::SIOCGIFFLAGS as libc::Ioctl, &raw mut request)?;
    // SAFETY: the call before filled in the flags.
    unsafe { request.ifr_ifru.ifru_flags |= libc::IFF_UP as i16 };
    ioctl(control.as_raw_fd(), libc::SIOCSIFFLAGS as libc::Ioctl, &raw mut request)
}

fn join(bridge: &str, index: libc::c_uint) -> io::Result<()> {
    let (control, mut request) = (control()?, request(bridge, 0)?);
    request.ifr_ifru.ifru_ifindex = index as libc::c_int;
    ioctl(control.as_raw_fd(), SIOCBRADDIF, &raw mut request)
}

impl Tap {
    /// Attaches to the interface `name`, or makes it. A name may hold `%d`, which the host makes a number.
    ///
    /// # Errors
    /// The host's, and what it was about.
    pub fn open(name: &str, bridge: Option<&str>) -> Result<Self, Refused> {
        let there = index_of(name).is_some();
        let at = |step| move |error| (step, error);
        // SAFETY: the path is a constant that ends with a NUL.
        let fd = unsafe { libc::open(DEVICE.as_ptr(), libc::O_RDWR | libc::O_CLOEXEC | libc::O_NONBLOCK) };
        if fd < 0 {
            return Err((Step::Open, io::Error::last_os_error()));
        }
        // SAFETY: it was just opened, and nobody else has it.
        let descriptor = Arc::new(unsafe { OwnedFd::from_raw_fd(fd) });
        let flags = (libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR) as i16;
        let mut asked = request(name, flags).map_err(at(Step::Attach))?;
        ioctl(fd, TUNSETIFF, &raw mut asked).map_err(at(Step::Attach))?;
        let bytes: Vec<u8> =
            asked.ifr_name.iter().map(|&byte| byte as u8).take_while(|&byte| byte != 0).collect();
        let name = String::from_utf8_lossy(&bytes).into_owned();
        let mut size = HEADER_BYTES as libc::c_int;
        ioctl(fd, TUNSETVNETHDRSZ, &raw mut size).map_err(at(Step::Configure))?;
        if let Some(bridge) = bridge {
            let index = index_of(&name).ok_or((Step::Bridge, io::ErrorKind::NotFound.into()))?;
            join(bridge, index).map_err(at(Step::Bridge))?;
        }
        if !there {
            set_up(&name).map_err(at(Step::Up))?;
        }
        let source = Frames { descriptor: Arc::clone(&descriptor), buffer: vec![0; FRAME_BYTES], length: 0 };
        let pump = Pump::start("innkeeper-tap", source).map_err(at(Step::Configure))?;
        let tap = Self { descriptor, name, pump };
        tap.set_offloads(Offloads::default()).map_err(at(Step::Configure))?;
        Ok(tap)
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the interface may give us.
    fn set_offloads(&self, accepted: Offloads) -> io::Result<()> {
        let bit = |on, bit| if on { bit } else { 0 };
        let all = bit(accepted.checksum, TUN_F_CSUM)
            | bit(accepted.tso4, TUN_F_TSO4)
            | bit(accepted.tso6, TUN_F_TSO6)
            | bit(accepted.ecn && (accepted.tso4 || accepted.tso6), TUN_F_TSO_ECN);
        // This request takes a number where others take a pointer.
        ioctl(self.descriptor.as_raw_fd(), TUNSETOFFLOAD, all as usize as *mut libc::c_void)
    }
}

impl Link for Tap {
    fn offloads(&self) -> Offloads {
        Offloads { checksum: true, tso4: true, tso6: true, ufo: false, ecn: true }
    }

    fn connect(&self, card: Arc<dyn Card>, accepted: Offloads) {
        // All that is asked for is what every kernel with tap has; one that refuses gives plain frames, as all take.
        drop(self.set_offloads(accepted));
        self.pump.connect(card);
    }

    fn disconnect(&self) {
        self.pump.disconnect();
    }

    fn send(&self, frame: &[IoSlice<'_>]) {
        // SAFETY: an `IoSlice` is an `iovec` on Unix; the slices live through the call. What finds no room, or makes
        // no sense to the host, is lost.
        unsafe {
            libc::writev(self.descriptor.as_raw_fd(), frame.as_ptr().cast(), frame.len() as libc::c_int)
        };
    }

    fn flush(&self) {}

    fn ready(&self) {
        self.pump.ready();
    }
}

/// Frames out of the interface.
struct Frames {
    descriptor: Arc<OwnedFd>,
    buffer: Vec<u8>,
    length: usize,
}

impl Source for Frames {
    fn descriptor(&self) -> RawFd {
        self.descriptor.as_raw_fd()
    }

    fn next(&mut self) -> io::Result<bool> {
        // SAFETY: the buffer is ours and as long as we say.
        let count =
            unsafe { libc::read(self.descriptor(), self.buffer.as_mut_ptr().cast(), self.buffer.len()) };
        match usize::try_from(count) {
            Ok(count) => {
                self.length = count;
                Ok(count > 0)
            }
            Err(_) => match io::Error::last_os_error() {
                error if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                    Ok(false)
                }
                error => Err(error),
            },
        }
    }

    fn frame(&self) -> &[u8] {
        &self.buffer[..self.length]
    }
}
