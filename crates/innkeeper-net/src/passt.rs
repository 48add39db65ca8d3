//! A link through a stream socket, on which each frame follows its length: what passt speaks, and QEMU's `-netdev stream`.
//!
//! Spec: passt(1), option --socket; the length has four bytes, big-endian. There are no offloads. Who started the program at
//! the other end is not our business.

use std::io::{self, IoSlice, Read};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use socket2::SockRef;

use crate::pump::{Pump, Source};
use crate::{Card, HEADER_BYTES, Link, Offloads};

const LENGTH_BYTES: usize = 4;
/// The largest frame that may come: passt's MTU is just below 64 KiB.
const FRAME_LIMIT: usize = 65_536 + 18;
const BUFFER_BYTES: usize = 4 * FRAME_LIMIT;
/// How long the other end may take nothing before it is taken for dead.
const PATIENCE: Duration = Duration::from_secs(2);
/// Parts of a frame that are passed on at once.
const PARTS: usize = 64;

pub struct Stream {
    /// Locked while a frame is sent: frames must not mix.
    socket: Mutex<UnixStream>,
    broken: AtomicBool,
    pump: Pump,
}

impl Stream {
    /// # Errors
    /// The host has no descriptor or no thread left.
    pub fn new(socket: UnixStream) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let source = Frames {
            socket: socket.try_clone()?,
            buffer: vec![0; BUFFER_BYTES],
            start: 0,
            end: 0,
            frame: Vec::new(),
        };
        let pump = Pump::start("innkeeper-stream", source)?;
        Ok(Self { socket: socket.into(), broken: AtomicBool::new(false), pump })
    }

    /// Whether the program at the other end has gone, or does not answer any more.
    pub fn is_gone(&self) -> bool {
        self.broken.load(Ordering::Acquire) || self.pump.is_gone()
    }
}

/// Sends it all, however often that has to be tried.
fn send_all(socket: &UnixStream, mut parts: &mut [IoSlice<'_>]) -> io::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !parts.is_empty() {
        match SockRef::from(socket).send_vectored_with_flags(parts, libc::MSG_NOSIGNAL) {
            Ok(count) => IoSlice::advance_slices(&mut parts, count),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && Instant::now() < deadline => {
                let mut list = libc::pollfd { fd: socket.as_raw_fd(), events: libc::POLLOUT, revents: 0 };
                // SAFETY: one entry, and one is what is said.
                unsafe { libc::poll(&raw mut list, 1, 100) };
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

impl Link for Stream {
    fn offloads(&self) -> Offloads {
        Offloads::default()
    }

    fn connect(&self, card: Arc<dyn Card>, _accepted: Offloads) {
        self.pump.connect(card);
    }

    fn disconnect(&self) {
        self.pump.disconnect();
    }

    fn send(&self, frame: &[IoSlice<'_>]) {
        let length: usize = frame.iter().map(|slice| slice.len()).sum::<usize>() - HEADER_BYTES;
        let prefix = (length as u32).to_be_bytes();
        let mut parts = [IoSlice::new(&[]); PARTS];
        parts[0] = IoSlice::new(&prefix);
        let (mut skip, mut count) = (HEADER_BYTES, 1);
        for slice in frame {
            let cut = skip.min(slice.len());
            skip -= cut;
            if cut < slice.len() {
                let Some(place) = parts.get_mut(count) else { return }; // no driver cuts a small frame so fine
                *place = IoSlice::new(&slice[cut..]);
                count += 1;
            }
        }
        let socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner);
        if length <= FRAME_LIMIT
            && !self.broken.load(Ordering::Acquire)
            && send_all(&socket, &mut parts[..count]).is_err()
        {
            self.broken.store(true, Ordering::Release); // half a frame may be out: nothing after it would be understood
        }
    }

    fn flush(&self) {}

    fn ready(&self) {
        self.pump.ready();
    }
}

/// Frames out of the socket.
struct Frames {
    socket: UnixStream,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// The last frame, behind a header of zeroes.
    frame: Vec<u8>,
}

impl Frames {
    /// Takes a frame out of the buffer, if there is a whole one.
    fn take(&mut self) -> io::Result<bool> {
        let there = &self.buffer[self.start..self.end];
        let Some(length) = there.first_chunk::<LENGTH_BYTES>() else { return Ok(false) };
        let length = u32::from_be_bytes(*length) as usize;
        if length > FRAME_LIMIT {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let Some(bytes) = there.get(LENGTH_BYTES..LENGTH_BYTES + length) else { return Ok(false) };
        self.frame.clear();
        self.frame.resize(HEADER_BYTES, 0);
        self.frame.extend_from_slice(bytes);
        self.start += LENGTH_BYTES + length;
        Ok(true)
    }
}

impl Source for Frames {
    fn descriptor(&self) -> RawFd {
        self.socket.as_raw_fd()
    }

    fn next(&mut self) -> io::Result<bool> {
        loop {
            if self.take()? {
                return Ok(true);
            }
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
            match self.socket.read(&mut self.buffer[self.end..]) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => self.end += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn frame(&self) -> &[u8] {
        &self.frame
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[derive(Default)]
    struct Inbox(Mutex<(Vec<Vec<u8>>, bool)>);

    impl Card for Inbox {
        fn receive(&self, frame: &[IoSlice<'_>]) -> bool {
            let mut inbox = self.0.lock().unwrap();
            if inbox.1 {
                inbox.0.push(frame[0].to_vec());
            }
            inbox.1
        }
        fn flush(&self) {}
    }

    fn wait(inbox: &Inbox, count: usize) -> Vec<Vec<u8>> {
        let deadline = Instant::now() + Duration::from_secs(10);
        while inbox.0.lock().unwrap().0.len() < count {
            assert!(Instant::now() < deadline, "frames that did not come");
            std::thread::yield_now();
        }
        inbox.0.lock().unwrap().0.clone()
    }

    #[test]
    fn frames_follow_their_lengths_both_ways() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let (stream, inbox) = (Stream::new(ours).unwrap(), Arc::new(Inbox::default()));
        stream.connect(inbox.clone(), Offloads::default());
        stream.send(&[IoSlice::new(&[0; 15]), IoSlice::new(b"rest")]);
        let mut sent = [9; 11];
        theirs.read_exact(&mut sent).unwrap();
        assert_eq!(sent, [0, 0, 0, 7, 0, 0, 0, b'r', b'e', b's', b't']);
        std::thread::sleep(Duration::from_millis(20)); // the card's coming has been noticed
        for byte in b"\0\0\0\x03one\0\0\0\x05three" {
            theirs.write_all(&[*byte]).unwrap();
        }
        std::thread::sleep(Duration::from_millis(20));
        inbox.0.lock().unwrap().1 = true;
        stream.ready();
        let frames = wait(&inbox, 2);
        assert_eq!(frames, [&[&[0; 12][..], b"one"].concat()[..], &[&[0; 12][..], b"three"].concat()]);
    }

    #[test]
    fn nonsense_and_a_closed_end_are_the_end() {
        for words in [&[0xFF; 8][..], &[]] {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            let stream = Stream::new(ours).unwrap();
            stream.connect(Arc::new(Inbox(Mutex::new((Vec::new(), true)))), Offloads::default());
            theirs.write_all(words).unwrap();
            if words.is_empty() {
                drop(theirs);
            }
            let deadline = Instant::now() + Duration::from_secs(10);
            while !stream.is_gone() {
                assert!(Instant::now() < deadline, "it goes on");
                std::thread::yield_now();
            }
        }
    }
}
