//! How a translator hears of writes to the code that it translated, from whichever thread.

use std::sync::{Arc, Mutex};

/// Bytes of a RAM page that were written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodeWrite {
    pub page: u32,
    pub start: u16,
    pub end: u16,
}

/// Gets the attention of whoever is to read the list.
type Ring = dyn Fn() + Send + Sync;

/// The writes that one translator has yet to heed.
pub struct CodeWrites {
    list: Mutex<Vec<CodeWrite>>,
    ring: Box<Ring>,
}

impl CodeWrites {
    pub fn new(ring: Box<Ring>) -> Arc<Self> {
        Arc::new(Self { list: Mutex::default(), ring })
    }

    pub(super) fn tell(&self, page: u32, start: u16, end: u16) {
        let write = CodeWrite { page, start, end };
        let mut list = self.list.lock().expect("code writes lock");
        if list.last() != Some(&write) {
            list.push(write);
        }
        drop(list);
        (self.ring)();
    }

    /// Takes what was told since the last call.
    pub fn take(&self) -> Vec<CodeWrite> {
        std::mem::take(&mut self.list.lock().expect("code writes lock"))
    }
}
