//! Why a packet command failed.
//!
//! Spec: SPC-4, 4.5 (sense data) and annex D (additional sense codes).

pub mod key {
    pub const NOT_READY: u8 = 0x2;
    pub const MEDIUM_ERROR: u8 = 0x3;
    pub const ILLEGAL_REQUEST: u8 = 0x5;
    pub const UNIT_ATTENTION: u8 = 0x6;
}

/// Sense key, additional sense code and its qualifier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sense {
    pub key: u8,
    pub code: u8,
    pub qualifier: u8,
    /// Where on the disc, if it is about a block.
    pub block: Option<u32>,
}

innkeeper_bus::plain_struct!(Sense { key, code, qualifier, block });

const fn sense(key: u8, code: u8, qualifier: u8) -> Sense {
    Sense { key, code, qualifier, block: None }
}

pub const NO_MEDIUM: Sense = sense(key::NOT_READY, 0x3A, 0x01);
pub const NO_MEDIUM_TRAY_OPEN: Sense = sense(key::NOT_READY, 0x3A, 0x02);
pub const UNRECOVERED_READ: Sense = sense(key::MEDIUM_ERROR, 0x11, 0x00);
pub const UNKNOWN_COMMAND: Sense = sense(key::ILLEGAL_REQUEST, 0x20, 0x00);
pub const BLOCK_OUT_OF_RANGE: Sense = sense(key::ILLEGAL_REQUEST, 0x21, 0x00);
pub const INVALID_FIELD: Sense = sense(key::ILLEGAL_REQUEST, 0x24, 0x00);
pub const SAVING_NOT_SUPPORTED: Sense = sense(key::ILLEGAL_REQUEST, 0x39, 0x00);
pub const REMOVAL_PREVENTED: Sense = sense(key::ILLEGAL_REQUEST, 0x53, 0x02);
pub const ILLEGAL_MODE: Sense = sense(key::ILLEGAL_REQUEST, 0x64, 0x00);
pub const MEDIUM_CHANGED: Sense = sense(key::UNIT_ATTENTION, 0x28, 0x00);
pub const WAS_RESET: Sense = sense(key::UNIT_ATTENTION, 0x29, 0x00);

impl Sense {
    pub fn at(self, block: u32) -> Self {
        Self { block: Some(block), ..self }
    }

    /// Fixed format, for REQUEST SENSE.
    pub fn data(&self) -> Vec<u8> {
        let mut data = vec![0; 18];
        data[0] = if self.block.is_some() { 0xF0 } else { 0x70 };
        data[2] = self.key;
        data[3..7].copy_from_slice(&self.block.unwrap_or(0).to_be_bytes());
        data[7] = 10; // bytes that follow
        (data[12], data[13]) = (self.code, self.qualifier);
        data
    }
}
