//! TCP's header (RFC 9293, 3.1), with the options that matter at the start: segment size and window scale (RFC 7323).

use super::{Head, array, double, word};

pub const TCP_BYTES: usize = 20;

pub const FIN: u8 = 0x01;
pub const SYN: u8 = 0x02;
pub const RST: u8 = 0x04;
pub const PSH: u8 = 0x08;
pub const ACK: u8 = 0x10;

const OPTION_END: u8 = 0;
const OPTION_NOTHING: u8 = 1;
const OPTION_MSS: u8 = 2;
const OPTION_SCALE: u8 = 3;
/// RFC 7323, 2.3.
const SCALE_LIMIT: u8 = 14;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tcp {
    pub source: u16,
    pub destination: u16,
    pub sequence: u32,
    pub acknowledgement: u32,
    pub flags: u8,
    /// As on the wire: not scaled.
    pub window: u16,
    pub mss: Option<u16>,
    pub scale: Option<u8>,
}

impl Tcp {
    /// The header at the start of `bytes`, and its length.
    pub fn parse(bytes: &[u8]) -> Option<(Self, usize)> {
        let length = 4 * usize::from(bytes.get(12)? >> 4);
        let options = bytes.get(TCP_BYTES..length)?;
        let mut header = Self {
            source: word(bytes, 0)?,
            destination: word(bytes, 2)?,
            sequence: double(bytes, 4)?,
            acknowledgement: double(bytes, 8)?,
            flags: bytes[13] & (FIN | SYN | RST | PSH | ACK),
            window: word(bytes, 14)?,
            mss: None,
            scale: None,
        };
        header.read_options(options);
        Some((header, length))
    }

    /// What is malformed ends the options, and takes nothing back.
    fn read_options(&mut self, mut options: &[u8]) {
        loop {
            let size = match options {
                [] | [OPTION_END, ..] => return,
                [OPTION_NOTHING, ..] => 1,
                [OPTION_MSS, 4, rest @ ..] => {
                    self.mss = array(rest, 0).map(u16::from_be_bytes);
                    4
                }
                [OPTION_SCALE, 3, shift, ..] => {
                    self.scale = Some((*shift).min(SCALE_LIMIT));
                    3
                }
                [_, size, ..] if *size >= 2 => usize::from(*size),
                _ => return,
            };
            options = options.get(size..).unwrap_or(&[]);
        }
    }

    /// Bytes that it takes.
    pub fn bytes(&self) -> usize {
        TCP_BYTES + if self.mss.is_some() { 4 } else { 0 } + if self.scale.is_some() { 4 } else { 0 }
    }

    /// Writes it, with this in place of the checksum.
    pub fn write(&self, head: &mut Head, checksum: u16) {
        head.put(&self.source.to_be_bytes());
        head.put(&self.destination.to_be_bytes());
        head.put(&self.sequence.to_be_bytes());
        head.put(&self.acknowledgement.to_be_bytes());
        head.put(&[(self.bytes() as u8 / 4) << 4, self.flags]);
        head.put(&self.window.to_be_bytes());
        head.put(&checksum.to_be_bytes());
        head.put(&[0, 0]);
        if let Some(mss) = self.mss {
            head.put(&[OPTION_MSS, 4]);
            head.put(&mss.to_be_bytes());
        }
        if let Some(scale) = self.scale {
            head.put(&[OPTION_NOTHING, OPTION_SCALE, 3, scale]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        for (mss, scale) in [(None, None), (Some(1460), None), (Some(1460), Some(7))] {
            let header = Tcp {
                source: 1000,
                destination: 80,
                sequence: 0xFFFF_FFFE,
                acknowledgement: 7,
                flags: SYN | ACK,
                window: 65535,
                mss,
                scale,
            };
            let mut head = Head::default();
            header.write(&mut head, 0);
            assert_eq!(Tcp::parse(head.as_slice()), Some((header, header.bytes())));
        }
    }

    #[test]
    fn broken_options_end_the_options() {
        let mut bytes = [0u8; 28];
        bytes[12] = 7 << 4;
        for options in [[3, 3, 200, 2, 0, 0, 0, 0], [3, 3, 14, 2, 4, 5, 0, 0], [3, 3, 14, 254, 255, 0, 0, 0]]
        {
            bytes[20..].copy_from_slice(&options);
            let (header, length) = Tcp::parse(&bytes).unwrap();
            assert_eq!((header.scale, length), (Some(14), 28));
        }
        bytes[12] = 4 << 4;
        assert_eq!(Tcp::parse(&bytes), None); // shorter than itself
        bytes[12] = 15 << 4;
        assert_eq!(Tcp::parse(&bytes), None); // longer than the packet
    }
}
