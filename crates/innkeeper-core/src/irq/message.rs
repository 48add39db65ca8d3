//! Interrupt messages between IOAPIC, devices and local APICs: what they say and whom they mean.
//! Source: Intel SDM vol. 3, 11.6.1 (ICR), 11.6.2 (destinations), 11.11 (MSI), 11.12.10 (x2APIC).

/// What a message asks of its receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    Fixed,
    Lowest,
    Smi,
    Nmi,
    Init,
    StartUp,
    ExtInt,
    Reserved,
}

impl Delivery {
    /// The three-bit field of ICR, LVT, redirection entries and MSI data.
    pub fn from_bits(bits: u32) -> Self {
        match bits & 7 {
            0 => Self::Fixed,
            1 => Self::Lowest,
            2 => Self::Smi,
            4 => Self::Nmi,
            5 => Self::Init,
            6 => Self::StartUp,
            7 => Self::ExtInt,
            _ => Self::Reserved,
        }
    }
}

/// Whom a message means. `wide`: a 32-bit x2APIC destination, else an 8-bit one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Destination {
    pub id: u32,
    pub logical: bool,
    pub wide: bool,
}

impl Destination {
    fn broadcast(self) -> bool {
        self.id == if self.wide { u32::MAX } else { 0xFF }
    }
}

/// A message on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    pub delivery: Delivery,
    pub vector: u8,
    /// Level-triggered: EOI must be broadcast.
    pub level: bool,
    pub destination: Destination,
    /// One of several receivers is enough (MSI redirection hint).
    pub any_one: bool,
}

impl Message {
    /// An MSI; `None` if the address is not in the interrupt range, or it is a level de-assertion.
    pub fn from_msi(address: u64, data: u32) -> Option<Self> {
        let level = data >> 15 & 1 != 0;
        if address >> 20 != 0xFEE || level && data >> 14 & 1 == 0 {
            return None;
        }
        let logical = address >> 2 & 1 != 0;
        let destination = Destination { id: (address >> 12 & 0xFF) as u32, logical, wide: false };
        Some(Self {
            delivery: Delivery::from_bits(data >> 8),
            vector: data as u8,
            level,
            destination,
            any_one: logical && address >> 3 & 1 != 0,
        })
    }

    /// Whether one receiver is to be chosen.
    pub fn arbitrated(&self) -> bool {
        self.delivery == Delivery::Lowest || self.any_one
    }
}

/// How a local APIC can be addressed. Kept packed in one atomic, so that matching takes no lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    pub enabled: bool,
    /// Also enabled by software: takes fixed interrupts.
    pub accepts: bool,
    pub x2apic: bool,
    /// xAPIC: 8 bits.
    pub id: u32,
    /// xAPIC: bits 31-24 of the logical destination register.
    pub logical: u8,
    /// xAPIC: cluster model in the destination format register.
    pub cluster: bool,
}

impl Address {
    pub fn pack(self) -> u64 {
        u64::from(self.id)
            | u64::from(self.logical) << 32
            | u64::from(self.cluster) << 40
            | u64::from(self.x2apic) << 41
            | u64::from(self.enabled) << 42
            | u64::from(self.accepts) << 43
    }

    pub fn unpack(bits: u64) -> Self {
        let flag = |at: u32| bits >> at & 1 != 0;
        let (id, logical) = (bits as u32, (bits >> 32) as u8);
        Self { enabled: flag(42), accepts: flag(43), x2apic: flag(41), id, logical, cluster: flag(40) }
    }

    pub fn matches(self, to: Destination) -> bool {
        self.enabled && (to.broadcast() || if to.logical { self.in_logical(to.id) } else { self.id == to.id })
    }

    fn in_logical(self, id: u32) -> bool {
        if self.x2apic {
            let own = x2apic_logical_id(self.id);
            return own >> 16 == id >> 16 && own & id & 0xFFFF != 0;
        }
        let (own, id) = (u32::from(self.logical), id & 0xFF);
        if self.cluster { own >> 4 == id >> 4 && own & id & 0xF != 0 } else { own & id != 0 }
    }
}

/// The x2APIC logical destination register: the cluster in the upper half, one bit in the lower.
pub fn x2apic_logical_id(id: u32) -> u32 {
    (id >> 4) << 16 | 1 << (id & 0xF)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(id: u32, logical: bool, wide: bool) -> Destination {
        Destination { id, logical, wide }
    }

    fn xapic(id: u32, logical: u8, cluster: bool) -> Address {
        Address { enabled: true, accepts: true, x2apic: false, id, logical, cluster }
    }

    fn x2apic(id: u32) -> Address {
        Address { enabled: true, accepts: true, x2apic: true, id, logical: 0, cluster: false }
    }

    #[test]
    fn packing_loses_nothing() {
        for address in [xapic(0xFF, 0x81, true), x2apic(0xFFFF_FFFE), xapic(0, 0, false)] {
            assert_eq!(Address::unpack(address.pack()), address);
        }
    }

    #[test]
    fn physical_destinations_match_ids_and_broadcast_matches_all() {
        assert!(xapic(3, 0, false).matches(to(3, false, false)));
        assert!(!xapic(3, 0, false).matches(to(4, false, false)));
        assert!(x2apic(0x103).matches(to(0x103, false, true)) && !x2apic(0x103).matches(to(3, false, true)));
        for target in [xapic(3, 0, false), x2apic(0x103)] {
            assert!(target.matches(to(0xFF, false, false)) && target.matches(to(u32::MAX, true, true)));
            assert!(!target.matches(to(0xFF, false, true)));
            assert!(!Address { enabled: false, ..target }.matches(to(0xFF, false, false)));
        }
    }

    #[test]
    fn flat_logical_ids_match_by_any_common_bit() {
        for (own, id) in (0..=255u8).flat_map(|own| (0..255).map(move |id| (own, id))) {
            assert_eq!(xapic(0, own, false).matches(to(id, true, false)), own & id as u8 != 0);
        }
    }

    #[test]
    fn clusters_must_be_equal_and_members_overlap() {
        for (own, id) in (0..=255u8).flat_map(|own| (0..255).map(move |id| (own, id))) {
            let expected = u32::from(own >> 4) == id >> 4 && u32::from(own) & id & 0xF != 0;
            assert_eq!(xapic(0, own, true).matches(to(id, true, false)), expected);
        }
        assert_eq!(x2apic_logical_id(0x25), 0x0002_0020);
        assert!(!x2apic(0x25).matches(to(0x0002_0001, true, true)));
        assert!(x2apic(0x25).matches(to(0x0002_0030, true, true)));
        assert!(!x2apic(0x25).matches(to(0x0003_0020, true, true)));
    }

    #[test]
    fn an_msi_is_read_from_its_address_and_data() {
        let message = Message::from_msi(0xFEE0_300C, 0x0000_C941).unwrap();
        assert_eq!(message.destination, to(3, true, false));
        assert_eq!((message.delivery, message.vector, message.level), (Delivery::Lowest, 0x41, true));
        assert!(message.any_one && message.arbitrated());
        assert!(!Message::from_msi(0xFEE0_3008, 0x41).unwrap().any_one, "a physical hint chooses nothing");
        assert_eq!(Message::from_msi(0xFED0_0000, 0x41), None);
        assert_eq!(Message::from_msi(0x1_FEE0_0000, 0x41), None);
        assert_eq!(Message::from_msi(0xFEE0_0000, 0x8041), None, "level de-assert");
    }
}
