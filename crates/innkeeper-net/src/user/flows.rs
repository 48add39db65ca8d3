//! The table of conversations between the guest and the world, bounded.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Instant;

use super::tcp::Tcp;
use super::udp::Udp;
use crate::wire;

/// Conversations at once. Together they stay below the descriptors that a process has by default.
pub const TCP_LIMIT: usize = 512;
pub const UDP_LIMIT: usize = 256;

/// Whose conversation it is. The ports of an echo are its identifier and 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    pub protocol: u8,
    pub guest: SocketAddr,
    /// The other end as the guest knows it.
    pub remote: SocketAddr,
}

pub enum Flow {
    Tcp(Box<Tcp>),
    Udp(Box<Udp>),
}

impl Flow {
    fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Tcp(flow) => flow.deadline(),
            Self::Udp(flow) => Some(flow.deadline()),
        }
    }
}

struct Place {
    /// Counts who was here: an event that is about someone before is for nobody.
    generation: u32,
    key: Option<Key>,
    /// None while it is worked on.
    flow: Option<Flow>,
    queued: bool,
}

/// A place in the table, and its owner's generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Id {
    index: u32,
    generation: u32,
}

impl Id {
    pub fn token(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    pub fn from_token(token: u64) -> Self {
        Self { index: token as u32, generation: (token >> 32) as u32 }
    }
}

#[derive(Default)]
pub struct Flows {
    places: Vec<Place>,
    free: Vec<u32>,
    by_key: HashMap<Key, Id>,
    tcp: usize,
}

/// Epoll tokens with the top bit set are not flows'.
const GENERATIONS: u32 = (1 << 31) - 1;

impl Flows {
    pub fn find(&self, key: &Key) -> Option<Id> {
        self.by_key.get(key).copied()
    }

    /// Whether there is room for one more; a conversation that matters least makes some. Gives who that was.
    pub fn make_room(&mut self, protocol: u8) -> Result<Option<(Id, Flow)>, ()> {
        let is_tcp = protocol == wire::TCP;
        let (count, limit) =
            if is_tcp { (self.tcp, TCP_LIMIT) } else { (self.by_key.len() - self.tcp, UDP_LIMIT) };
        if count < limit {
            return Ok(None);
        }
        let idle = |place: &&Place| match &place.flow {
            Some(Flow::Tcp(flow)) => is_tcp && flow.is_over(),
            Some(Flow::Udp(_)) => !is_tcp,
            None => false,
        };
        let oldest =
            self.places.iter().filter(idle).min_by_key(|place| place.flow.as_ref().and_then(Flow::deadline));
        let key = oldest.and_then(|place| place.key).ok_or(())?;
        let id = self.by_key[&key];
        Ok(self.remove(id).map(|flow| (id, flow)))
    }

    /// Takes a place, whose flow is then [put](Self::put) there.
    pub fn reserve(&mut self, key: Key) -> Id {
        let index = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place { generation: 0, key: None, flow: None, queued: false });
            (self.places.len() - 1) as u32
        });
        let place = &mut self.places[index as usize];
        (place.key, place.queued) = (Some(key), false);
        let id = Id { index, generation: place.generation };
        self.by_key.insert(key, id);
        self.tcp += usize::from(key.protocol == wire::TCP);
        id
    }

    fn place(&mut self, id: Id) -> Option<&mut Place> {
        self.places
            .get_mut(id.index as usize)
            .filter(|place| place.generation == id.generation && place.key.is_some())
    }

    pub fn put(&mut self, id: Id, flow: Flow) {
        if let Some(place) = self.place(id) {
            place.flow = Some(flow);
        }
    }

    /// Takes a flow out to work on it.
    pub fn take(&mut self, id: Id) -> Option<Flow> {
        self.place(id)?.flow.take()
    }

    /// Marks it as waiting for its turn; false if it was or is none.
    pub fn queue(&mut self, id: Id) -> bool {
        self.place(id).is_some_and(|place| !std::mem::replace(&mut place.queued, true))
    }

    pub fn dequeue(&mut self, id: Id) {
        if let Some(place) = self.place(id) {
            place.queued = false;
        }
    }

    /// Frees the place. The flow is given back if it was there.
    pub fn remove(&mut self, id: Id) -> Option<Flow> {
        let place = self.place(id)?;
        let (key, flow) = (place.key.take(), place.flow.take());
        place.generation = (place.generation + 1) & GENERATIONS;
        let key = key.expect("a place that is found has an owner");
        self.tcp -= usize::from(key.protocol == wire::TCP);
        self.by_key.remove(&key);
        self.free.push(id.index);
        flow
    }

    pub fn ids(&self) -> Vec<Id> {
        self.by_key.values().copied().collect()
    }

    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// The conversation of datagrams that leaves the host this way.
    pub fn find_udp(&self, is_it: impl Fn(&super::udp::Way) -> bool) -> Option<Id> {
        let place = self.places.iter().find(|place| match &place.flow {
            Some(Flow::Udp(flow)) => is_it(flow.way()),
            _ => false,
        })?;
        self.find(&place.key?)
    }

    /// Whose deadline has passed.
    pub fn due(&self, now: Instant) -> Vec<Id> {
        let due =
            |place: &&Place| place.flow.as_ref().and_then(Flow::deadline).is_some_and(|when| when <= now);
        self.places.iter().filter(due).filter_map(|place| self.find(&place.key?)).collect()
    }

    /// The next deadline of all.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.places.iter().filter_map(|place| place.flow.as_ref()?.deadline()).min()
    }
}
