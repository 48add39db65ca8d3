//! A packet's header (virtio 1.2, 5.10.6).

pub const HEADER_BYTES: usize = 44;
pub const HOST: u64 = 2;
pub const STREAM: u16 = 1;

pub mod op {
    pub const REQUEST: u16 = 1;
    pub const RESPONSE: u16 = 2;
    pub const RESET: u16 = 3;
    pub const SHUTDOWN: u16 = 4;
    pub const DATA: u16 = 5;
    pub const CREDIT_UPDATE: u16 = 6;
    pub const CREDIT_REQUEST: u16 = 7;
}

// Flags of a shutdown: what its sender will not do any more.
pub const RECEIVES_NO_MORE: u32 = 1;
pub const SENDS_NO_MORE: u32 = 2;

/// The ports of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ports {
    pub guest: u32,
    pub host: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    pub from: u64,
    pub to: u64,
    pub from_port: u32,
    pub to_port: u32,
    pub length: u32,
    pub kind: u16,
    pub op: u16,
    pub flags: u32,
    pub room: u32,
    pub forwarded: u32,
}

impl Header {
    /// One for the guest.
    pub fn to_guest(guest: u64, ports: Ports, op: u16) -> Self {
        let (from_port, to_port) = (ports.host, ports.guest);
        Self { from: HOST, to: guest, from_port, to_port, kind: STREAM, op, ..Self::default() }
    }

    pub fn parse(bytes: &[u8; HEADER_BYTES]) -> Self {
        let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let long = |at: usize| u64::from(word(at)) | u64::from(word(at + 4)) << 32;
        Self {
            from: long(0),
            to: long(8),
            from_port: word(16),
            to_port: word(20),
            length: word(24),
            kind: word(28) as u16,
            op: (word(28) >> 16) as u16,
            flags: word(32),
            room: word(36),
            forwarded: word(40),
        }
    }

    pub fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(&self.from.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.to.to_le_bytes());
        let kind_and_op = u32::from(self.kind) | u32::from(self.op) << 16;
        let words =
            [self.from_port, self.to_port, self.length, kind_and_op, self.flags, self.room, self.forwarded];
        for (at, word) in (16..).step_by(4).zip(words) {
            bytes[at..at + 4].copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }
}
