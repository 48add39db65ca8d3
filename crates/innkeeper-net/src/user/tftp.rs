//! The TFTP server: files of one folder of the host's, for network boot ROMs and loaders. They can be read, and nothing else.
//!
//! Spec: RFC 1350, RFC 2347 (options), RFC 2348 (blksize), RFC 2349 (timeout, tsize), RFC 1123 4.2.3.1 (nothing is sent twice
//! because it was acknowledged twice). Left out: writing, modes other than octet, and a port for each transfer: all answers come
//! from the server's, which transfers share by the guest's ports.

use std::fs::File;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use super::layout::GATEWAY_V4;
use super::out::{MTU, Out};
use crate::sys::open_beneath;
use crate::wire::{IPV4_BYTES, UDP_BYTES, word};

pub const PORT: u16 = 69;

/// Transfers at once; another one takes the place of the one that has been quiet longest.
const LIMIT: usize = 16;
const TRIES: u32 = 6;
const PATIENCE: Duration = Duration::from_secs(1);
const PATIENCE_S: std::ops::RangeInclusive<u64> = 1..=255;
/// How many of a client's architectures are looked at.
const ARCHITECTURES: usize = 4;
/// Bytes of a request that are looked at.
const REQUEST_BYTES: usize = 512;
const NAME_BYTES: usize = 255;
const HEADER: usize = 4;
const BLOCK: usize = 512;
const SMALLEST_BLOCK: usize = 8;
const LARGEST_BLOCK: usize = MTU - IPV4_BYTES - UDP_BYTES - HEADER;

const READ: u16 = 1;
const WRITE: u16 = 2;
const DATA: u16 = 3;
const ACKNOWLEDGED: u16 = 4;
const FAILED: u16 = 5;
const OPTIONS: u16 = 6;

/// Why there is no file, in TFTP's numbers and words.
type Refusal = (u16, &'static str);
const BROKEN: Refusal = (0, "the file cannot be read");
const NOT_FOUND: Refusal = (1, "file not found");
const FORBIDDEN: Refusal = (2, "files can only be read");
const UNKNOWN: Refusal = (4, "unknown request; files are read in mode octet");

struct Transfer {
    guest: SocketAddr,
    file: File,
    block_bytes: usize,
    /// What was sent last: a block's number, and before the first the options.
    sent: u64,
    options: Vec<u8>,
    patience: Duration,
    deadline: Instant,
    tries: u32,
}

pub struct Server {
    folder: File,
    /// What may be started, each for clients of an architecture; the first that is there is.
    known: Vec<(u16, String)>,
    transfers: Vec<Transfer>,
}

impl Server {
    /// # Errors
    /// The host's: there is no such folder, or it is not to be read.
    pub fn new(folder: &Path, known: Vec<(u16, String)>) -> io::Result<Self> {
        let folder = File::open(folder)?;
        drop(open_beneath(&folder, b".", libc::O_DIRECTORY | libc::O_PATH)?); // a host without openat2 says so at once
        Ok(Self { folder, known, transfers: Vec::new() })
    }

    /// What a client of these architectures starts from the folder, as it now is.
    pub fn boot_file(&self, architectures: impl Iterator<Item = u16>) -> Option<&str> {
        let mut wanted = architectures.take(ARCHITECTURES);
        wanted.find_map(|architecture| {
            let names = self.known.iter().filter(|(of, _)| *of == architecture).map(|(_, name)| name);
            names.map(String::as_str).find(|name| self.file(name.as_bytes()).is_ok())
        })
    }

    pub fn next_deadline(&self) -> Option<Instant> {
        self.transfers.iter().map(|transfer| transfer.deadline).min()
    }

    /// All transfers are over.
    pub fn clear(&mut self) {
        self.transfers.clear();
    }

    /// Takes a datagram of the guest's to the server's port.
    pub fn take(&mut self, guest: SocketAddr, datagram: &[u8], now: Instant, out: &mut Out) {
        match word(datagram, 0) {
            Some(READ) => self.open(guest, &datagram[2..datagram.len().min(REQUEST_BYTES)], now, out),
            Some(WRITE) => refuse(guest, FORBIDDEN, out),
            Some(ACKNOWLEDGED) => self.acknowledged(guest, word(datagram, 2), now, out),
            Some(FAILED) => self.transfers.retain(|transfer| transfer.guest != guest),
            Some(DATA | OPTIONS) | None => {}
            Some(_) => refuse(guest, UNKNOWN, out),
        }
    }

    fn open(&mut self, guest: SocketAddr, request: &[u8], now: Instant, out: &mut Out) {
        self.transfers.retain(|transfer| transfer.guest != guest);
        match self.requested(guest, request, now) {
            Ok(transfer) => {
                if self.transfers.len() == LIMIT
                    && let Some(oldest) = (0..LIMIT).min_by_key(|&at| self.transfers[at].deadline)
                {
                    self.transfers.swap_remove(oldest);
                }
                if transfer.send(out) {
                    self.transfers.push(transfer);
                }
            }
            Err(refusal) => refuse(guest, refusal, out),
        }
    }

    /// `request` is a file's name, a mode, and options with their values, each ended by a NUL.
    fn requested(&self, guest: SocketAddr, request: &[u8], now: Instant) -> Result<Transfer, Refusal> {
        let Some(b"") = request.rsplit(|&byte| byte == 0).next() else { return Err(UNKNOWN) };
        let mut words = request.split(|&byte| byte == 0);
        let (name, mode) = (words.next().unwrap_or(b""), words.next().unwrap_or(b""));
        if !mode.eq_ignore_ascii_case(b"octet") {
            return Err(UNKNOWN);
        }
        let file = self.file(name)?;
        let size = file.metadata().map_err(|_| BROKEN)?.len();
        let mut transfer = Transfer {
            guest,
            file,
            block_bytes: BLOCK,
            sent: 1,
            options: Vec::new(),
            patience: PATIENCE,
            deadline: now + PATIENCE,
            tries: 0,
        };
        while let (Some(key), Some(value)) = (words.next(), words.next()) {
            transfer.option(key, value, size);
        }
        transfer.sent = u64::from(transfer.options.is_empty());
        transfer.deadline = now + transfer.patience;
        Ok(transfer)
    }

    /// By a name below the folder, however it is written: loaders put a slash before it, some of them backward ones.
    fn file(&self, name: &[u8]) -> Result<File, Refusal> {
        let plain: Vec<u8> = name.iter().map(|&byte| if byte == b'\\' { b'/' } else { byte }).collect();
        let start = plain.iter().take_while(|&&byte| byte == b'/').count();
        let plain = &plain[start..];
        if plain.is_empty() || plain.len() > NAME_BYTES {
            return Err(NOT_FOUND);
        }
        // What is no plain file must not hold up everybody.
        let flags = libc::O_RDONLY | libc::O_NONBLOCK | libc::O_NOCTTY;
        let file = open_beneath(&self.folder, plain, flags).map_err(|_| NOT_FOUND)?;
        if file.metadata().is_ok_and(|about| about.is_file()) { Ok(file) } else { Err(NOT_FOUND) }
    }

    fn acknowledged(&mut self, guest: SocketAddr, number: Option<u16>, now: Instant, out: &mut Out) {
        let Some(at) = self.transfers.iter().position(|transfer| transfer.guest == guest) else { return };
        let transfer = &mut self.transfers[at];
        if number != Some(transfer.sent as u16) {
            return; // of one that was acknowledged before
        }
        transfer.sent += 1;
        (transfer.tries, transfer.deadline) = (0, now + transfer.patience);
        if !transfer.send(out) {
            self.transfers.swap_remove(at);
        }
    }

    /// Sends again what nobody has acknowledged in time, and gives up where nobody ever does.
    pub fn tick(&mut self, now: Instant, out: &mut Out) {
        self.transfers.retain_mut(|transfer| {
            if transfer.deadline > now {
                return true;
            }
            transfer.tries += 1;
            transfer.deadline = now + transfer.patience;
            transfer.tries <= TRIES && transfer.send(out)
        });
    }
}

impl Transfer {
    /// Accepts an option if it is one that we know.
    fn option(&mut self, key: &[u8], value: &[u8], size: u64) {
        let number = std::str::from_utf8(value).ok().and_then(|text| text.parse::<u64>().ok());
        let Some(number) = number else { return };
        let accepted = match key.to_ascii_lowercase().as_slice() {
            b"tsize" => size,
            b"blksize" if number >= SMALLEST_BLOCK as u64 => {
                self.block_bytes = number.min(LARGEST_BLOCK as u64) as usize;
                self.block_bytes as u64
            }
            b"timeout" if PATIENCE_S.contains(&number) => {
                self.patience = Duration::from_secs(number);
                number
            }
            _ => return,
        };
        self.options.extend(key);
        self.options.push(0);
        self.options.extend(accepted.to_string().as_bytes());
        self.options.push(0);
    }

    /// Sends what `sent` says. False if nothing is left to send: a block that is not full was the last.
    fn send(&self, out: &mut Out) -> bool {
        if self.sent == 0 {
            answer(self.guest, &[&OPTIONS.to_be_bytes(), &self.options], out);
            return true;
        }
        let before = (self.sent - 1) * self.block_bytes as u64;
        let size = match self.file.metadata() {
            Ok(about) => about.len(),
            Err(_) => return self.broken(out),
        };
        if before > size {
            return false; // the last one has been acknowledged
        }
        let mut block = vec![0; self.block_bytes.min((size - before) as usize)];
        if self.file.read_exact_at(&mut block, before).is_err() {
            return self.broken(out);
        }
        answer(self.guest, &[&DATA.to_be_bytes(), &(self.sent as u16).to_be_bytes(), &block], out);
        true
    }

    fn broken(&self, out: &mut Out) -> bool {
        refuse(self.guest, BROKEN, out);
        false
    }
}

fn refuse(guest: SocketAddr, (number, words): Refusal, out: &mut Out) {
    answer(guest, &[&FAILED.to_be_bytes(), &number.to_be_bytes(), words.as_bytes(), &[0]], out);
}

/// One without room is lost, and sent again when its time has passed.
fn answer(guest: SocketAddr, parts: &[&[u8]], out: &mut Out) {
    out.udp(SocketAddr::from((GATEWAY_V4, PORT)), guest, &parts.concat());
}

/// Whether it is for this server.
pub fn is_for_us(address: IpAddr, port: u16) -> bool {
    port == PORT && address == IpAddr::V4(GATEWAY_V4)
}
