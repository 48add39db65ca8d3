//! The logs that READ LOG EXT reads: the directory, and what became of a queue that failed.
//!
//! Spec: ATA8-ACS, 7.28 and annex A (log definitions). A queue that failed takes no more commands before this log
//! was read, which is how drivers find out which one it was.

use super::super::host::{End, Host, Pio, Stop};
use super::super::taskfile::{Taskfile, error};
use super::{AtaDisk, SECTOR, ended};

const DIRECTORY: u64 = 0x00;
const NCQ_ERROR: u64 = 0x10;
const PAGE: usize = SECTOR as usize;

/// The queued command that failed, as page 10h tells it.
pub struct QueueError {
    tag: u8,
    taskfile: Taskfile,
}

innkeeper_bus::plain_struct!(QueueError { tag, taskfile });

impl QueueError {
    pub fn new(taskfile: &Taskfile) -> Self {
        Self { tag: (taskfile.count >> 3) as u8 & 0x1F, taskfile: *taskfile }
    }

    fn page(&self) -> Vec<u8> {
        let mut page = vec![0; PAGE];
        let lba = self.taskfile.lba.to_le_bytes();
        page[0] = self.tag;
        (page[2], page[3]) = (self.taskfile.status, self.taskfile.error);
        page[4..7].copy_from_slice(&lba[..3]);
        page[7] = self.taskfile.device;
        page[8..11].copy_from_slice(&lba[3..6]);
        page[12..14].copy_from_slice(&self.taskfile.count.to_le_bytes());
        page[511] = page.iter().fold(0u8, |sum, &byte| sum.wrapping_add(byte)).wrapping_neg();
        page
    }
}

/// No queued command failed.
fn no_error() -> Vec<u8> {
    let mut page = vec![0; PAGE];
    (page[0], page[511]) = (0x80, 0x80);
    page
}

fn directory(serial_link: bool) -> Vec<u8> {
    let mut page = vec![0; PAGE];
    page[0] = 1; // version
    if serial_link {
        page[2 * NCQ_ERROR as usize] = 1; // pages
    }
    page
}

impl AtaDisk {
    /// READ LOG EXT and READ LOG DMA EXT: every log here has one page.
    pub fn read_log(&mut self, taskfile: &mut Taskfile, host: &mut dyn Host, dma: bool) -> Result<End, Stop> {
        // Log in LBA low, page in LBA mid and its high byte.
        let (log, page) = (taskfile.lba & 0xFF, taskfile.lba >> 8 & 0xFF | taskfile.lba >> 24 & 0xFF00);
        let data = match log {
            _ if page != 0 || taskfile.count != 1 => None,
            DIRECTORY => Some(directory(self.identity.serial_link)),
            NCQ_ERROR if self.identity.serial_link => {
                Some(self.queue_error.take().map_or_else(no_error, |failed| failed.page()))
            }
            _ => None,
        };
        let Some(data) = data else { return Ok(ended(taskfile, Err(error::ABRT))) };
        if dma {
            host.dma_in(&data)?;
            return Ok(ended(taskfile, Ok(End::Interrupt)));
        }
        taskfile.succeed();
        host.pio_in(data, Pio { block: PAGE, packet: false }, Some(taskfile))?;
        Ok(End::Told)
    }
}
