//! The host's side of network cards: where frames go, and where they come from. Rooms, lowest first: `sys`, `header`,
//! `wire` (how frames are written), `pump` (the thread that
//! reads them), then one for each kind of link: `user` (the built-in NAT),
//! `tap`, `passt`.

pub mod counted;
pub mod header;
pub mod passt;
mod pump;
pub mod sys;
pub mod tap;
pub mod user;
pub mod wire;

use std::io::IoSlice;
use std::sync::Arc;

pub use counted::{Counted, Traffic};
pub use header::{HEADER_BYTES, Header};

/// What a link takes and gives beyond plain frames (virtio 1.2, 5.1.6: `struct virtio_net_hdr`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offloads {
    /// Checksums may be left partial.
    pub checksum: bool,
    /// TCP segments larger than the MTU, over IPv4 and IPv6.
    pub tso4: bool,
    pub tso6: bool,
    pub ufo: bool,
    /// Large segments may carry ECN's marks.
    pub ecn: bool,
}

/// A card, as its link sees it. Called from the link's threads, and from within [`Link::send`], [`Link::flush`],
/// [`Link::connect`] and [`Link::ready`].
pub trait Card: Send + Sync {
    /// Takes a frame whose first slice has its whole header, and Ethernet's; false if it has no room now and will call [`Link::ready`] later.
    fn receive(&self, frame: &[IoSlice<'_>]) -> bool;
    /// The last of several frames was received: time to tell the guest.
    fn flush(&self);
}

/// The other end of a card's cable.
///
/// A card holds no lock of its receiving side while it calls these.
pub trait Link: Send + Sync {
    /// What this link can do; what it then does is what the card accepted with [`Self::connect`].
    fn offloads(&self) -> Offloads;
    /// Frames go to `card` from now on, with no more offloads than `accepted`.
    fn connect(&self, card: Arc<dyn Card>, accepted: Offloads);
    /// Nobody is there any more; returns when no call to the card is under way.
    fn disconnect(&self);
    /// Sends a frame that starts with its header. One that finds no room is lost, as on a wire. The bytes may be
    /// changed by the guest meanwhile.
    fn send(&self, frame: &[IoSlice<'_>]);
    /// The last of several frames was sent.
    fn flush(&self);
    /// The card has room again.
    fn ready(&self);
}
