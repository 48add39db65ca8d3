//! Packets that the guest sent in pieces, put together again.
//!
//! Spec: RFC 791, 3.2; RFC 8200, 4.5; RFC 5722 (pieces that overlap end it). A few at a time, and not for long: a guest
//! that never sends the rest holds no more than that.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::payload::Payload;
use crate::wire::Packet;

const AT_ONCE: usize = 16;
const PATIENCE: Duration = Duration::from_secs(30);
const PACKET_BYTES: usize = 65535;

type Name = (IpAddr, IpAddr, u8, u32);

struct Pieces {
    name: Name,
    data: Vec<u8>,
    /// Which bytes are there: starts and ends, in order, none touching another.
    there: Vec<(usize, usize)>,
    total: Option<usize>,
    until: Instant,
}

#[derive(Default)]
pub struct Fragments(Vec<Pieces>);

impl Fragments {
    /// Takes a piece; gives the packet's payload if it was the last one missing.
    pub fn take(&mut self, packet: &Packet, piece: Payload<'_>, now: Instant) -> Option<Vec<u8>> {
        let fragment = packet.fragment?;
        let name = (packet.source, packet.destination, packet.protocol, fragment.id);
        self.0.retain(|pieces| pieces.until > now);
        let at = self.0.iter().position(|pieces| pieces.name == name).unwrap_or_else(|| {
            if self.0.len() == AT_ONCE {
                self.0.remove(0); // the oldest
            }
            let until = now + PATIENCE;
            self.0.push(Pieces { name, data: Vec::new(), there: Vec::new(), total: None, until });
            self.0.len() - 1
        });
        let (start, end) = (fragment.offset, fragment.offset + piece.len());
        let fits = end <= PACKET_BYTES && (!fragment.more || piece.len().is_multiple_of(8)) && start < end;
        if !fits || !self.0[at].add(start, end, fragment.more, piece) {
            self.0.remove(at);
            return None;
        }
        self.0[at].is_whole().then(|| self.0.remove(at).data)
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }
}

impl Pieces {
    /// False if it cannot belong to the others.
    fn add(&mut self, start: usize, end: usize, more: bool, piece: Payload<'_>) -> bool {
        let place = self.there.partition_point(|&(other, _)| other < start);
        let overlaps = place.checked_sub(1).is_some_and(|before| self.there[before].1 > start)
            || self.there.get(place).is_some_and(|&(after, _)| after < end);
        let last = self.there.last().map_or(0, |&(_, last)| last);
        if overlaps
            || (!more && (self.total.is_some() || last > end))
            || self.total.is_some_and(|total| end > total)
        {
            return false;
        }
        if !more {
            self.total = Some(end);
        }
        self.data.resize(self.data.len().max(end), 0);
        piece.copy_to(&mut self.data[start..end]);
        self.there.insert(place, (start, end));
        self.there.dedup_by(|next, before| {
            let touches = before.1 == next.0;
            if touches {
                before.1 = next.1;
            }
            touches
        });
        true
    }

    fn is_whole(&self) -> bool {
        self.total.is_some_and(|total| self.there == [(0, total)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Fragment, UDP};
    use std::io::IoSlice;

    fn packet(offset: usize, more: bool) -> Packet {
        let source = "10.0.2.15".parse().unwrap();
        let fragment = Some(Fragment { id: 7, offset, more });
        Packet { source, destination: source, protocol: UDP, start: 0, end: 0, fragment, hops: 64 }
    }

    fn take(fragments: &mut Fragments, offset: usize, more: bool, bytes: &[u8]) -> Option<Vec<u8>> {
        let slices = [IoSlice::new(bytes)];
        fragments.take(&packet(offset, more), Payload::new(&slices, 0, bytes.len()), Instant::now())
    }

    #[test]
    fn pieces_in_any_order_make_the_packet() {
        let whole: Vec<u8> = (0..43).collect();
        let pieces = [(0usize, 16usize), (16, 32), (32, 40), (40, 43)];
        for order in [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1], [1, 3, 0, 2]] {
            let mut fragments = Fragments::default();
            let found: Vec<_> = order
                .iter()
                .filter_map(|&at: &usize| {
                    let (start, end) = pieces[at];
                    take(&mut fragments, start, end < 43, &whole[start..end])
                })
                .collect();
            assert_eq!(found, std::slice::from_ref(&whole));
            assert!(fragments.0.is_empty());
        }
    }

    #[test]
    fn pieces_that_contradict_each_other_end_it() {
        let mut fragments = Fragments::default();
        for (offset, more, length) in
            [(8, true, 16), (0, true, 16), (65528, false, 16), (0, true, 9), (0, false, 0)]
        {
            take(&mut fragments, 0, true, &[0; 8]);
            take(&mut fragments, 8, true, &[0; 8]);
            assert_eq!(take(&mut fragments, offset, more, &vec![0; length]), None);
            assert!(fragments.0.is_empty());
        }
        take(&mut fragments, 16, true, &[0; 8]);
        assert_eq!(take(&mut fragments, 8, false, &[0; 8]), None);
        assert!(fragments.0.is_empty());
    }

    #[test]
    fn what_never_ends_holds_little() {
        let mut fragments = Fragments::default();
        for id in 0..1000 {
            let mut packet = packet(0, true);
            packet.fragment = Some(Fragment { id, offset: 0, more: true });
            fragments.take(&packet, Payload::new(&[IoSlice::new(&[0; 8])], 0, 8), Instant::now());
        }
        assert_eq!(fragments.0.len(), AT_ONCE);
    }
}
