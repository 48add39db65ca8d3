//! The network card: what the driver sends goes to a link of the host's, and what comes from there into its buffers.
//!
//! Spec: virtio 1.2, 5.1. Each transmit queue has a thread; what is received is copied by the link's. Left out: VLAN
//! filtering, RSS and hash reports, receive modes beyond promiscuous and all-multicast, and large UDP datagrams.

mod control;
mod filter;
mod receive;
mod transmit;

#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use innkeeper_net::{Card, Link as Cable, Offloads};

use self::filter::Filter;
use self::receive::Receiver;
use innkeeper_bus::state::{BadState, Fields, Plain, Value, map};

use super::class::{Activation, Class, Link, Saving, read_config_bytes};
use super::lock;
use super::worker::Workers;

pub use self::filter::Mac;

const KIND: u16 = 1;
const RECEIVE_SIZE: u16 = 512;
const TRANSMIT_SIZE: u16 = 512;
const CONTROL_SIZE: u16 = 64;
/// Queue pairs of one card.
pub const PAIRS_LIMIT: u16 = 16;

const CSUM: u64 = 1 << 0;
const GUEST_CSUM: u64 = 1 << 1;
const MTU: u64 = 1 << 3;
const MAC: u64 = 1 << 5;
const GUEST_TSO4: u64 = 1 << 7;
const GUEST_TSO6: u64 = 1 << 8;
const GUEST_ECN: u64 = 1 << 9;
const HOST_TSO4: u64 = 1 << 11;
const HOST_TSO6: u64 = 1 << 12;
const HOST_ECN: u64 = 1 << 13;
const MERGEABLE: u64 = 1 << 15;
const STATUS: u64 = 1 << 16;
const CONTROL: u64 = 1 << 17;
const CONTROL_RX: u64 = 1 << 18;
const ANNOUNCE: u64 = 1 << 21;
const MULTI_QUEUE: u64 = 1 << 22;
const CONTROL_MAC: u64 = 1 << 23;

const LINK_UP: u16 = 1;
const MUST_ANNOUNCE: u16 = 2;

/// What a user chose.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    pub mac: Mac,
    /// Queue pairs: one for each vCPU is the most that helps.
    pub pairs: u16,
    /// What the link carries, if the guest shall be told.
    pub mtu: Option<u16>,
}

/// What the card's threads share.
struct Shared {
    cable: Arc<dyn Cable>,
    filter: Mutex<Filter>,
    up: AtomicBool,
    announce: AtomicBool,
    /// Queue pairs that the driver uses.
    pairs: AtomicU16,
}

/// The card.
pub struct Net {
    shared: Arc<Shared>,
    settings: Settings,
    device: Mutex<Option<Arc<Link>>>,
    workers: Workers,
}

impl Net {
    pub fn new(settings: Settings, cable: Arc<dyn Cable>) -> Self {
        let settings = Settings { pairs: settings.pairs.clamp(1, PAIRS_LIMIT), ..settings };
        let shared = Shared {
            cable,
            filter: Mutex::new(Filter::new(settings.mac)),
            up: AtomicBool::new(true),
            announce: AtomicBool::new(false),
            pairs: AtomicU16::new(1),
        };
        Self { shared: Arc::new(shared), settings, device: Mutex::new(None), workers: Workers::default() }
    }

    pub fn is_up(&self) -> bool {
        self.shared.up.load(Ordering::Acquire)
    }

    /// Plugs the cable in, or pulls it; the driver is told.
    pub fn set_up(&self, up: bool) {
        if self.shared.up.swap(up, Ordering::AcqRel) != up {
            self.config_changed();
        }
    }

    /// Asks the driver to tell the network where it is.
    pub fn announce(&self) {
        self.shared.announce.store(true, Ordering::Release);
        self.config_changed();
    }

    fn config_changed(&self) {
        if let Some(device) = lock(&self.device).as_ref() {
            device.config_changed();
        }
    }

    fn status(&self) -> u16 {
        let announce = self.shared.announce.load(Ordering::Acquire);
        u16::from(self.is_up()) * LINK_UP + u16::from(announce) * MUST_ANNOUNCE
    }
}

/// What the link may send, of all that it can, to a driver with these features.
fn accepted(features: u64, offered: Offloads) -> Offloads {
    let has = |feature| features & feature != 0;
    let checksum = offered.checksum && has(GUEST_CSUM);
    Offloads {
        checksum,
        tso4: checksum && offered.tso4 && has(GUEST_TSO4),
        tso6: checksum && offered.tso6 && has(GUEST_TSO6),
        ufo: false,
        ecn: checksum && offered.ecn && has(GUEST_ECN),
    }
}

impl Class for Net {
    fn kind(&self) -> u16 {
        KIND
    }

    fn features(&self) -> u64 {
        let offloads = self.shared.cable.offloads();
        let pairs = |able, features| if able { features } else { 0 };
        let mut all = MAC | MERGEABLE | STATUS | CONTROL | CONTROL_RX | ANNOUNCE | CONTROL_MAC;
        all |= pairs(offloads.checksum, CSUM | GUEST_CSUM);
        all |= pairs(offloads.checksum && offloads.tso4, HOST_TSO4 | GUEST_TSO4);
        all |= pairs(offloads.checksum && offloads.tso6, HOST_TSO6 | GUEST_TSO6);
        all |= pairs(offloads.checksum && offloads.ecn, HOST_ECN | GUEST_ECN);
        all |= pairs(self.settings.pairs > 1, MULTI_QUEUE);
        all | pairs(self.settings.mtu.is_some(), MTU)
    }

    fn queues(&self) -> Vec<u16> {
        let mut sizes = [RECEIVE_SIZE, TRANSMIT_SIZE].repeat(self.settings.pairs.into());
        sizes.push(CONTROL_SIZE);
        sizes
    }

    fn read_config(&self, offset: u64, out: &mut [u8]) {
        let mut config = [0; 12];
        config[..6].copy_from_slice(&lock(&self.shared.filter).mac());
        config[6..8].copy_from_slice(&self.status().to_le_bytes());
        config[8..10].copy_from_slice(&self.settings.pairs.to_le_bytes());
        config[10..].copy_from_slice(&self.settings.mtu.unwrap_or(0).to_le_bytes());
        read_config_bytes(&config, offset, out);
    }

    /// A driver of the time before version 1 sets the address here.
    fn write_config(&self, offset: u64, data: &[u8]) {
        let mut filter = lock(&self.shared.filter);
        let mut mac = filter.mac();
        for (at, &byte) in (offset..).zip(data) {
            if let Some(place) = usize::try_from(at).ok().and_then(|at| mac.get_mut(at)) {
                *place = byte;
            }
        }
        filter.set_mac(mac);
    }

    fn activate(&self, mut driver: Activation) {
        *lock(&self.device) = Some(Arc::clone(&driver.device));
        let many = driver.has(MULTI_QUEUE);
        let pairs = if many { self.settings.pairs } else { 1 };
        let header = if driver.is_legacy() && !driver.has(MERGEABLE) { 10 } else { 12 };
        let features = driver.features;
        let receive = (0..pairs).map(|pair| driver.take(usize::from(2 * pair))).collect();
        let receiver =
            Arc::new(Receiver::new(Arc::clone(&self.shared), receive, header, features & MERGEABLE != 0));
        for pair in 0..pairs {
            let number = 2 * pair + 1;
            let Some(queue) = driver.take(number.into()) else { continue };
            let steering = (pairs > 1).then(|| (Arc::clone(&receiver), pair));
            let sender = transmit::Sender { shared: Arc::clone(&self.shared), header, features, steering };
            self.workers
                .start("virtio-net-tx", &[number], &driver.device, move |bell| sender.work(queue, &bell));
        }
        let control_number = if many { 2 * self.settings.pairs } else { 2 };
        let control = driver.take(control_number.into());
        let mut numbers: Vec<u16> = (0..pairs).map(|pair| 2 * pair).collect();
        numbers.push(control_number);
        let (shared, waiting) = (Arc::clone(&self.shared), Arc::clone(&receiver));
        self.workers.start("virtio-net-ctl", &numbers, &driver.device, move |bell| {
            let mut control = control.map(|queue| (queue.chain(), queue));
            while bell.wait(Duration::ZERO) {
                if let Some((chain, queue)) = &mut control {
                    queue.drain(chain, |request| control::serve(&shared, pairs, request));
                }
                waiting.refilled();
            }
        });
        let card: Arc<dyn Card> = receiver;
        self.shared.cable.connect(card, accepted(features, self.shared.cable.offloads()));
    }

    fn notify(&self, queue: u16) {
        self.workers.ring(queue);
    }

    fn reset(&self) {
        self.pause();
        lock(&self.shared.filter).reset(self.settings.mac);
        self.shared.pairs.store(1, Ordering::Release);
        self.shared.announce.store(false, Ordering::Release);
    }

    fn saving(&self) -> Option<&dyn Saving> {
        Some(self)
    }
}

impl Saving for Net {
    /// Frames that are under way are the network's to lose.
    fn pause(&self) {
        self.shared.cable.disconnect();
        self.workers.stop();
        *lock(&self.device) = None;
    }

    fn state(&self) -> Value {
        map([
            ("filter", lock(&self.shared.filter).save()),
            ("pairs", self.shared.pairs.load(Ordering::Acquire).save()),
            ("announce", self.shared.announce.load(Ordering::Acquire).save()),
            ("up", self.is_up().save()),
        ])
    }

    fn restore(&self, state: &Value) -> Result<(), BadState> {
        let mut fields = Fields::of(state)?;
        let filter = fields.take("filter")?;
        let (pairs, announce, up): (u16, _, _) =
            (fields.take("pairs")?, fields.take("announce")?, fields.take("up")?);
        fields.end()?;
        if pairs == 0 || pairs > self.settings.pairs {
            let most = self.settings.pairs;
            return Err(BadState::new(format!("pairs: {pairs} are in use, of {most} that there are")));
        }
        *lock(&self.shared.filter) = filter;
        self.shared.pairs.store(pairs, Ordering::Release);
        self.shared.announce.store(announce, Ordering::Release);
        self.shared.up.store(up, Ordering::Release);
        Ok(())
    }
}
