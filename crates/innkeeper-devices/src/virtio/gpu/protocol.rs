//! The words of the GPU's protocol (5.7.6), and the arithmetic of rectangles.

use innkeeper_display::Rect;

use super::super::queue::Chain;

/// Commands.
pub mod command {
    pub const GET_DISPLAY_INFO: u32 = 0x100;
    pub const RESOURCE_CREATE_2D: u32 = 0x101;
    pub const RESOURCE_UNREF: u32 = 0x102;
    pub const SET_SCANOUT: u32 = 0x103;
    pub const RESOURCE_FLUSH: u32 = 0x104;
    pub const TRANSFER_TO_HOST_2D: u32 = 0x105;
    pub const RESOURCE_ATTACH_BACKING: u32 = 0x106;
    pub const RESOURCE_DETACH_BACKING: u32 = 0x107;
    pub const GET_EDID: u32 = 0x10A;
    pub const UPDATE_CURSOR: u32 = 0x300;
    pub const MOVE_CURSOR: u32 = 0x301;
}

/// Responses that are no refusals.
pub mod response {
    pub const OK: u32 = 0x1100;
    pub const DISPLAY_INFO: u32 = 0x1101;
    pub const EDID: u32 = 0x1104;
}

pub const HEADER_BYTES: u64 = 24;
/// The driver wants the response only when the command is done, and its fence's number in it.
pub const FENCE: u32 = 1;

/// Why a command is not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Refusal {
    Unspecified = 0x1200,
    OutOfMemory = 0x1201,
    Scanout = 0x1202,
    Resource = 0x1203,
    Parameter = 0x1205,
}

/// What every command begins with, and every response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub kind: u32,
    flags: u32,
    fence: u64,
    context: u32,
}

impl Header {
    /// The header of a chain; `None` if there is no whole one.
    pub fn read(chain: &Chain) -> Option<Self> {
        let [kind, flags, low, high, context, _] = words(chain, 0)?;
        Some(Self { kind, flags, fence: u64::from(low) | u64::from(high) << 32, context })
    }

    /// The header of the response: everything is done when it is answered, so that each fence is reached then.
    pub fn answer(&self, kind: u32) -> [u8; HEADER_BYTES as usize] {
        let mut bytes = [0; HEADER_BYTES as usize];
        bytes[..4].copy_from_slice(&kind.to_le_bytes());
        if self.flags & FENCE != 0 {
            bytes[4..8].copy_from_slice(&FENCE.to_le_bytes());
            bytes[8..16].copy_from_slice(&self.fence.to_le_bytes());
            bytes[16..20].copy_from_slice(&self.context.to_le_bytes());
        }
        bytes
    }
}

/// The readable words of a chain from byte `offset` on; `None` if there are not so many.
pub fn words<const N: usize>(chain: &Chain, offset: u64) -> Option<[u32; N]> {
    let mut out = [0; N];
    for (at, word) in (0..).zip(&mut out) {
        let mut bytes = [0; 4];
        if chain.read(offset + 4 * at, &mut bytes) < bytes.len() {
            return None;
        }
        *word = u32::from_le_bytes(bytes);
    }
    Some(out)
}

/// The words that follow a command's header.
pub fn parameters<const N: usize>(chain: &Chain) -> Result<[u32; N], Refusal> {
    words(chain, HEADER_BYTES).ok_or(Refusal::Parameter)
}

/// Whether a rectangle lies in a picture of this size.
pub fn fits(rect: Rect, (width, height): (u32, u32)) -> bool {
    let within = |at: u32, length: u32, limit| at.checked_add(length).is_some_and(|end| end <= limit);
    within(rect.x, rect.width, width) && within(rect.y, rect.height, height)
}

/// What two rectangles have in common, each of which lies in some picture.
pub fn common(one: Rect, other: Rect) -> Option<Rect> {
    let (x, y) = (one.x.max(other.x), one.y.max(other.y));
    let right = (one.x + one.width).min(other.x + other.width);
    let bottom = (one.y + one.height).min(other.y + other.height);
    (x < right && y < bottom).then(|| Rect { x, y, width: right - x, height: bottom - y })
}
