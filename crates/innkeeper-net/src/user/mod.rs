//! A network of its own for one guest, and the way from it to the world: address translation in this process, by
//! sockets that any user may open. No privilege, no other program.
//!
//! One thread waits for the host's sockets; what the guest sends is handled by whoever sends it. Bytes of a connection
//! are copied once in each direction where the other side keeps up. A guest that boots from the network gets its files here too. Left out: multicast, protocols other than TCP, UDP and
//! echo requests, and address translation for what names addresses inside (FTP's PORT).

mod dhcp;
mod flows;
mod forward;
mod fragments;
mod layout;
mod local;
mod out;
mod payload;
mod ring;
mod stack;
mod tcp;
mod tftp;
mod udp;

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Instant;

pub use dhcp::Leased;
use flows::Id;
pub use forward::Forward;
use forward::Listener;
pub use layout::{GATEWAY_MAC, GUEST_V4, Reach};
pub use out::MTU;
use stack::{Outside, Stack, Told};

use crate::sys::{Event, Interest, Poll, Wake};
use crate::wire::Mac;
use crate::{Card, Link, Offloads};

/// Epoll tokens that are no conversation's.
const WAKE: u64 = u64::MAX;
const LISTENER: u64 = 1 << 63;

/// What a user chose.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Where the guest is until it says so itself.
    pub guest: Mac,
    pub reach: Reach,
    pub host_name: Option<String>,
    pub forwards: Vec<Forward>,
    pub boot: Boot,
}

/// What a guest finds that boots from the network.
#[derive(Clone, Debug, Default)]
pub struct Boot {
    /// Whose files it gets by TFTP.
    pub folder: Option<PathBuf>,
    /// The first of them, or an address that its boot ROM knows how to fetch.
    pub file: Option<String>,
    /// Without that, the first of these that is in the folder and of the guest's architecture (RFC 4578, 2.1).
    pub known: Vec<(u16, String)>,
}

struct Shared {
    stack: Mutex<Stack>,
    poll: Arc<Poll>,
    wake: Wake,
    ending: AtomicBool,
}

/// The built-in network.
pub struct UserNet {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    forwarded: Vec<SocketAddr>,
}

impl UserNet {
    /// # Errors
    /// The host's, with the forward that it is about.
    pub fn new(settings: Settings) -> Result<Self, (io::Error, Option<Forward>)> {
        let plainly = |error| (error, None);
        let poll = Arc::new(Poll::new().map_err(plainly)?);
        let wake = Wake::new().map_err(plainly)?;
        poll.add(&wake, WAKE, Interest::Readable).map_err(plainly)?;
        let (mut listeners, mut forwarded) = (Vec::new(), Vec::new());
        for forward in &settings.forwards {
            let about = |error| (error, Some(*forward));
            let listener = Listener::open(forward).map_err(about)?;
            let token = LISTENER | listeners.len() as u64;
            poll.add(&listener.socket, token, Interest::Readable).map_err(about)?;
            forwarded.push(listener.address().map_err(about)?);
            listeners.push(listener);
        }
        let Boot { folder, file, known } = settings.boot;
        let files = folder.map(|folder| tftp::Server::new(&folder, known)).transpose().map_err(plainly)?;
        let lease = dhcp::Lease { host_name: settings.host_name, mtu: MTU as u16 };
        let told = Told { lease, boot_file: file, files };
        let stack = Stack::new(settings.guest, settings.reach, told, listeners, Arc::clone(&poll));
        let shared = Arc::new(Shared { stack: stack.into(), poll, wake, ending: AtomicBool::new(false) });
        let waiter = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("innkeeper-nat".into()).spawn(move || waiter.wait());
        Ok(Self { shared, thread: Some(thread.map_err(plainly)?), forwarded })
    }

    /// Where each forward listens, in the order in which they were given.
    pub fn forwarded(&self) -> &[SocketAddr] {
        &self.forwarded
    }

    /// Who was last given [`GUEST_V4`].
    pub fn leased(&self) -> Option<dhcp::Leased> {
        self.shared.lock().leased.clone()
    }

    /// Conversations that are open now.
    pub fn conversations(&self) -> usize {
        self.shared.lock().flows.len()
    }
}

impl Drop for UserNet {
    fn drop(&mut self) {
        self.shared.ending.store(true, Ordering::Release);
        self.shared.wake.wake();
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so already.
            drop(thread.join());
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Stack> {
        let mut stack = self.stack.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        stack.outside.now = Instant::now();
        stack
    }

    /// The thread that waits for the host.
    fn wait(&self) {
        let mut patience = None;
        while !self.ending.load(Ordering::Acquire) {
            let events = self.poll.wait(patience);
            let mut stack = self.lock();
            for event in events {
                self.event(&mut stack, event);
            }
            stack.tick();
            stack.run();
            patience = stack.patience();
        }
    }

    fn event(&self, stack: &mut Stack, event: Event) {
        if event.token == WAKE {
            self.wake.clear();
        } else if event.token & LISTENER != 0 {
            stack.visitors((event.token & !LISTENER) as usize);
        } else {
            stack.event(Id::from_token(event.token), event.readable, event.writable);
        }
    }

    /// Does something, and has the thread wait no longer than it then should.
    fn with(&self, act: impl FnOnce(&mut Stack)) {
        let mut stack = self.lock();
        let before = stack.next_deadline;
        act(&mut stack);
        let sooner = match (before, stack.next_deadline) {
            (Some(before), Some(now)) => now < before,
            (None, now) => now.is_some(),
            (Some(_), None) => false,
        };
        drop(stack);
        if sooner {
            self.wake.wake();
        }
    }
}

impl Link for UserNet {
    fn offloads(&self) -> Offloads {
        Offloads { checksum: true, tso4: true, tso6: true, ufo: false, ecn: true }
    }

    fn connect(&self, card: Arc<dyn Card>, accepted: Offloads) {
        self.shared.with(|stack| stack.connect(Some(card), accepted));
    }

    fn disconnect(&self) {
        self.shared.with(|stack| stack.connect(None, Offloads::default()));
    }

    fn send(&self, frame: &[IoSlice<'_>]) {
        self.shared.with(|stack| stack.frame(frame));
    }

    fn flush(&self) {
        self.shared.with(Stack::run);
    }

    fn ready(&self) {
        self.shared.with(Stack::ready);
    }
}
