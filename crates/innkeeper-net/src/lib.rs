//! The host's side of network cards: where frames go, and where they come from.

use std::io::IoSlice;
use std::sync::Arc;

/// What a link takes and gives beyond plain frames (virtio 1.2, 5.1.6: `struct virtio_net_hdr`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offloads {
    /// Checksums may be left partial.
    pub checksum: bool,
    /// TCP segments larger than the MTU, over IPv4 and IPv6.
    pub tso4: bool,
    pub tso6: bool,
    pub ufo: bool,
}

/// Bytes of the header in front of each frame, the same for all links: zeroes where nothing is offloaded.
pub const HEADER_BYTES: usize = 12;

/// A card, as its link sees it. Called from the link's threads.
pub trait Card: Send + Sync {
    /// Takes a frame with its header; false if it has no room now and will call [`Link::ready`] later.
    fn receive(&self, frame: &[u8]) -> bool;
}

/// The other end of a card's cable.
pub trait Link: Send + Sync {
    /// What this link can do; what it then does is what the card accepted with [`Self::connect`].
    fn offloads(&self) -> Offloads;
    /// Frames go to `card` from now on, with no more offloads than `accepted`.
    fn connect(&self, card: Arc<dyn Card>, accepted: Offloads);
    /// Nobody is there any more; returns when no call to the card is under way.
    fn disconnect(&self);
    /// Sends a frame with its header. A frame that finds no room is lost, as on a wire.
    fn send(&self, frame: &[IoSlice<'_>]);
    /// The card has room again.
    fn ready(&self);
}
