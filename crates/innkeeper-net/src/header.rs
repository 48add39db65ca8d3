//! The header in front of each frame, the same for all links: zeroes where nothing is offloaded.
//!
//! Spec: virtio 1.2, 5.1.6 (`struct virtio_net_hdr`, little-endian). Left out: hash reports, UDP segmentation offload.

/// Its bytes.
pub const HEADER_BYTES: usize = 12;

const NEEDS_CHECKSUM: u8 = 1;
const DATA_VALID: u8 = 2;
const GSO_NONE: u8 = 0;
const GSO_TCP4: u8 = 1;
const GSO_UDP: u8 = 3;
const GSO_TCP6: u8 = 4;
const GSO_ECN: u8 = 0x80;

/// How a frame is to be cut into what a wire takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Gso {
    #[default]
    None,
    Tcp4,
    Tcp6,
    Udp,
}

/// What it says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// The checksum from `checksum_start` to the end is still to be added, at `checksum_start + checksum_offset`,
    /// where that of the pseudo header is already.
    pub needs_checksum: bool,
    /// All checksums were found right.
    pub data_valid: bool,
    pub gso: Gso,
    pub ecn: bool,
    /// Bytes of all headers of a frame that is to be cut; a hint.
    pub header_length: u16,
    /// Payload bytes of each cut.
    pub segment: u16,
    pub checksum_start: u16,
    pub checksum_offset: u16,
}

impl Header {
    /// None if its segmentation is none that we know.
    pub fn parse(bytes: &[u8; HEADER_BYTES]) -> Option<Self> {
        let word = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        let gso = match bytes[1] & !GSO_ECN {
            GSO_NONE => Gso::None,
            GSO_TCP4 => Gso::Tcp4,
            GSO_TCP6 => Gso::Tcp6,
            GSO_UDP => Gso::Udp,
            _ => return None,
        };
        Some(Self {
            needs_checksum: bytes[0] & NEEDS_CHECKSUM != 0,
            data_valid: bytes[0] & DATA_VALID != 0,
            gso,
            ecn: bytes[1] & GSO_ECN != 0,
            header_length: word(2),
            segment: word(4),
            checksum_start: word(6),
            checksum_offset: word(8),
        })
    }

    /// As written before a frame. The count of buffers (bytes 10 and 11) is the card's to fill in.
    pub fn bytes(&self) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        out[0] = u8::from(self.needs_checksum) * NEEDS_CHECKSUM + u8::from(self.data_valid) * DATA_VALID;
        out[1] = match self.gso {
            Gso::None => GSO_NONE,
            Gso::Tcp4 => GSO_TCP4,
            Gso::Tcp6 => GSO_TCP6,
            Gso::Udp => GSO_UDP,
        } + u8::from(self.ecn) * GSO_ECN;
        let words = [self.header_length, self.segment, self.checksum_start, self.checksum_offset];
        for (at, word) in words.into_iter().enumerate() {
            out[2 + 2 * at..4 + 2 * at].copy_from_slice(&word.to_le_bytes());
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let header = Header {
            needs_checksum: true,
            gso: Gso::Tcp6,
            ecn: true,
            header_length: 74,
            segment: 1440,
            checksum_start: 54,
            checksum_offset: 16,
            data_valid: false,
        };
        assert_eq!(Header::parse(&header.bytes()), Some(header));
        assert_eq!(Header::parse(&[0; 12]), Some(Header::default()));
    }

    #[test]
    fn an_unknown_segmentation_is_no_header() {
        assert_eq!(Header::parse(&[0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), None);
    }
}
