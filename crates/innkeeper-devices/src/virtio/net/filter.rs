//! Which frames a driver wants to see, and on which of its queues.
//!
//! Spec: virtio 1.2, 5.1.6.5.1, 5.1.6.5.2 and 5.1.6.5.6.

use std::sync::atomic::{AtomicU8, Ordering};

use innkeeper_bus::plain_struct;

pub type Mac = [u8; 6];

const BROADCAST: Mac = [0xFF; 6];
/// Addresses that a driver may name; with more, it gets all.
const TABLE_LIMIT: usize = 64;
/// What a command has room for.
const TABLE_BYTES: usize = 2048;
const BUCKETS: usize = 256;

/// What the driver wants to receive.
pub struct Filter {
    mac: Mac,
    promiscuous: bool,
    all_multicast: bool,
    unicast: Vec<Mac>,
    multicast: Vec<Mac>,
}

plain_struct!(Filter { mac, promiscuous, all_multicast, unicast, multicast } if Filter::is_sound);

impl Filter {
    fn is_sound(&self) -> bool {
        self.unicast.len().max(self.multicast.len()) <= TABLE_BYTES / 6
    }

    /// Everything, until the driver says otherwise.
    pub fn new(mac: Mac) -> Self {
        Self { mac, promiscuous: true, all_multicast: false, unicast: Vec::new(), multicast: Vec::new() }
    }

    pub fn reset(&mut self, mac: Mac) {
        *self = Self::new(mac);
    }

    pub fn mac(&self) -> Mac {
        self.mac
    }

    pub fn set_mac(&mut self, mac: Mac) {
        self.mac = mac;
    }

    pub fn set_promiscuous(&mut self, on: bool) {
        self.promiscuous = on;
    }

    pub fn set_all_multicast(&mut self, on: bool) {
        self.all_multicast = on;
    }

    /// The whole tables anew. One that is too long stands for everything.
    pub fn set_tables(&mut self, unicast: Vec<Mac>, multicast: Vec<Mac>) {
        (self.unicast, self.multicast) = (unicast, multicast);
    }

    pub fn wants(&self, destination: &Mac) -> bool {
        if self.promiscuous || *destination == BROADCAST || *destination == self.mac {
            return true;
        }
        let (table, all) = if destination[0] & 1 == 0 {
            (&self.unicast, false)
        } else {
            (&self.multicast, self.all_multicast)
        };
        all || table.len() > TABLE_LIMIT || table.contains(destination)
    }
}

/// On which queue pair each conversation was last heard from the driver: there it gets its answers.
pub struct Steering([AtomicU8; BUCKETS]);

impl Default for Steering {
    fn default() -> Self {
        Self([const { AtomicU8::new(0) }; BUCKETS])
    }
}

impl Steering {
    /// The driver sent this on pair `pair`.
    pub fn sent(&self, frame: &[u8], pair: u16) {
        self.0[bucket(frame)].store(pair as u8, Ordering::Relaxed);
    }

    pub fn pair_of(&self, frame: &[u8]) -> u16 {
        self.0[bucket(frame)].load(Ordering::Relaxed).into()
    }
}

/// The same for both directions of a conversation: it is made of what their addresses and ports have in common.
fn bucket(frame: &[u8]) -> usize {
    let (addresses, ports) = match frame.get(12..15) {
        Some([8, 0, version]) => (26..34, 14 + 4 * usize::from(version & 0xF)),
        Some([0x86, 0xDD, _]) => (22..54, 54),
        _ => return 0,
    };
    let address = frame.get(addresses).unwrap_or_default();
    let has_ports = matches!(frame.get(if ports == 54 { 20 } else { 23 }), Some(6 | 17));
    let ports = if has_ports { frame.get(ports..ports + 4).unwrap_or_default() } else { &[] };
    let mixed = address.chunks(2).chain(ports.chunks(2)).fold(0u32, |sum, pair| {
        sum.wrapping_add(u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)))
    });
    (mixed.wrapping_mul(0x9E37_79B1) >> 24) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_driver_gets_what_it_asked_for() {
        let mac = [2, 0, 0, 0, 0, 1];
        let mut filter = Filter::new(mac);
        let (other, group) = ([2, 0, 0, 0, 0, 9], [0x33, 0x33, 0, 0, 0, 1]);
        assert!(filter.wants(&other));
        filter.set_promiscuous(false);
        assert!(
            filter.wants(&mac) && filter.wants(&BROADCAST) && !filter.wants(&other) && !filter.wants(&group)
        );
        filter.set_all_multicast(true);
        assert!(filter.wants(&group) && !filter.wants(&other));
        filter.set_all_multicast(false);
        filter.set_tables(vec![other], vec![group]);
        assert!(filter.wants(&group) && filter.wants(&other));
        filter.set_tables(vec![other; TABLE_LIMIT + 1], vec![]);
        assert!(filter.wants(&[2; 6]) && !filter.wants(&group));
    }

    #[test]
    fn answers_come_where_the_question_was_asked() {
        let steering = Steering::default();
        let mut frame = [0u8; 60];
        frame[12..15].copy_from_slice(&[8, 0, 0x45]);
        frame[23] = 6;
        frame[26..38].copy_from_slice(&[10, 0, 2, 15, 192, 0, 2, 1, 0x9C, 0x40, 0, 80]);
        steering.sent(&frame, 3);
        frame[26..38].copy_from_slice(&[192, 0, 2, 1, 10, 0, 2, 15, 0, 80, 0x9C, 0x40]);
        assert_eq!(steering.pair_of(&frame), 3);
        for cut in 0..frame.len() {
            steering.pair_of(&frame[..cut]);
        }
    }
}
