//! SMART: the health of a disk that has none to lose.
//!
//! Spec: ATA8-ACS, 7.53 (SMART); the layout of READ DATA's attributes is SFF-8035i's. Left out: self-tests by
//! hand and the logs that they would fill.

use super::taskfile::Taskfile;

/// Subcommands, in the features register.
const READ_DATA: u8 = 0xD0;
const READ_THRESHOLDS: u8 = 0xD1;
const AUTOSAVE: u8 = 0xD2;
const ENABLE: u8 = 0xD8;
const DISABLE: u8 = 0xD9;
const RETURN_STATUS: u8 = 0xDA;
/// LBA mid and high of every SMART command.
const KEY: u64 = 0xC2_4F00;
/// Identifier, worst and current value, threshold of what there is: power-on hours, temperature (°C).
const ATTRIBUTES: [(u8, u8, u8, u64); 2] = [(9, 100, 0, 1), (194, 100, 0, 31)];
const FLAGS_ONLINE: u16 = 0x0003;

/// What is to be done for a SMART command.
pub enum Answer {
    Data(Vec<u8>),
    Done,
    Abort,
}

/// The switch, and the commands.
#[derive(Clone, Copy, Debug)]
pub struct Smart {
    pub enabled: bool,
}

impl Smart {
    pub fn command(&mut self, taskfile: &Taskfile) -> Answer {
        if taskfile.lba & 0xFF_FF00 != KEY {
            return Answer::Abort;
        }
        let subcommand = taskfile.features as u8;
        if !self.enabled && subcommand != ENABLE {
            return Answer::Abort;
        }
        match subcommand {
            ENABLE | DISABLE => {
                self.enabled = subcommand == ENABLE;
                Answer::Done
            }
            READ_DATA => Answer::Data(values()),
            READ_THRESHOLDS => Answer::Data(thresholds()),
            // All is well: the registers keep their key. It has nothing to save either.
            RETURN_STATUS | AUTOSAVE => Answer::Done,
            _ => Answer::Abort,
        }
    }
}

fn values() -> Vec<u8> {
    let mut data = vec![0; 512];
    data[0] = 1; // revision
    for (row, (id, value, _, raw)) in data[2..].chunks_exact_mut(12).zip(ATTRIBUTES) {
        row[0] = id;
        row[1..3].copy_from_slice(&FLAGS_ONLINE.to_le_bytes());
        (row[3], row[4]) = (value, value);
        row[5..11].copy_from_slice(&raw.to_le_bytes()[..6]);
    }
    data[362] = 0x02; // off-line collection was completed
    with_checksum(data)
}

fn thresholds() -> Vec<u8> {
    let mut data = vec![0; 512];
    data[0] = 1;
    for (row, (id, _, threshold, _)) in data[2..].chunks_exact_mut(12).zip(ATTRIBUTES) {
        (row[0], row[1]) = (id, threshold);
    }
    with_checksum(data)
}

fn with_checksum(mut data: Vec<u8>) -> Vec<u8> {
    data[511] = data.iter().fold(0u8, |sum, &byte| sum.wrapping_add(byte)).wrapping_neg();
    data
}
