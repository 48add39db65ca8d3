//! The Internet's checksum (RFC 1071), a 64-bit word at a time.

use std::net::IpAddr;

/// A sum that goes on. Every part but the last has an even number of bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum(u64);

impl Sum {
    #[must_use]
    pub fn bytes(self, bytes: &[u8]) -> Self {
        let mut sum = u128::from(self.0);
        let mut words = bytes.chunks_exact(8);
        for word in &mut words {
            sum += u128::from(u64::from_be_bytes(word.try_into().expect("eight bytes")));
        }
        let mut rest = [0; 8];
        rest[..words.remainder().len()].copy_from_slice(words.remainder());
        sum += u128::from(u64::from_be_bytes(rest));
        // End-around carries: sums of one's complement do not care at which multiple of 16 bits they are folded.
        let folded = (sum & u128::from(u64::MAX)) + (sum >> 64);
        Self((folded & u128::from(u64::MAX)) as u64 + (folded >> 64) as u64)
    }

    #[must_use]
    pub fn word(self, word: u16) -> Self {
        self.bytes(&word.to_be_bytes())
    }

    /// The pseudo header of TCP and UDP over either IP (RFC 9293, 3.1; RFC 8200, 8.1).
    #[must_use]
    pub fn pseudo(self, source: IpAddr, destination: IpAddr, protocol: u8, length: usize) -> Self {
        let addresses = match (source, destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                self.bytes(&source.octets()).bytes(&destination.octets())
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                self.bytes(&source.octets()).bytes(&destination.octets())
            }
            _ => unreachable!("a packet has addresses of one family"),
        };
        addresses.word(u16::from(protocol)).bytes(&(length as u32).to_be_bytes())
    }

    /// The sum itself: what is left where a checksum is still to be completed.
    pub fn partial(self) -> u16 {
        let mut sum = self.0;
        while sum > 0xFFFF {
            sum = (sum & 0xFFFF) + (sum >> 16);
        }
        sum as u16
    }

    /// The checksum.
    pub fn finish(self) -> u16 {
        !self.partial()
    }
}

/// The checksum of `bytes`; 0 if a right one is among them.
pub fn checksum(bytes: &[u8]) -> u16 {
    Sum::default().bytes(bytes).finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by_the_book(bytes: &[u8]) -> u16 {
        let mut sum = 0u32;
        for pair in bytes.chunks(2) {
            sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
            sum = (sum & 0xFFFF) + (sum >> 16);
        }
        !(sum as u16)
    }

    #[test]
    fn it_is_rfc_1071s_of_every_length() {
        assert_eq!(checksum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), !0xddf2);
        let bytes: Vec<u8> = (0..700u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        for length in 0..bytes.len() {
            assert_eq!(checksum(&bytes[..length]), by_the_book(&bytes[..length]), "{length} bytes");
        }
        assert_eq!(checksum(&[0xFF; 64]), by_the_book(&[0xFF; 64]));
    }

    #[test]
    fn parts_add_up() {
        let bytes: Vec<u8> = (0..=255).collect();
        assert_eq!(Sum::default().bytes(&bytes[..90]).bytes(&bytes[90..]).finish(), checksum(&bytes));
    }
}
