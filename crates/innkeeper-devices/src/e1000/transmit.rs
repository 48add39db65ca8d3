//! From the driver's descriptors to frames for the link.
//!
//! Spec: 317453, 3.3 (legacy and extended descriptors, contexts, segmentation).

use innkeeper_bus::memory::GuestMemory;
use innkeeper_bus::plain_struct;
use innkeeper_bus::state::{BadState, Plain, Value};
use innkeeper_net::header::Gso;
use innkeeper_net::wire::Sum;
use innkeeper_net::{HEADER_BYTES, Header};

/// The largest frame: an IP packet of 64 KiB, with some room.
const FRAME_LIMIT: usize = 66_000;
const ETHERNET_BYTES: usize = 14;

const EOP: u8 = 1;
const INSERT_CHECKSUM: u8 = 1 << 2;
const TSE: u8 = 1 << 2;
const RS: u8 = 1 << 3;
const DEXT: u8 = 1 << 5;
const POPTS_IP: u8 = 1;
const POPTS_TCP: u8 = 1 << 1;
const TUCMD_TCP: u8 = 1;
const TUCMD_IPV4: u8 = 1 << 1;
const TCP_FIN_PSH: u8 = 0x09;

/// Where checksums are to be put, and how a frame is to be cut.
#[derive(Clone, Copy, Debug, Default)]
struct Context {
    ip_start: usize,
    ip_offset: usize,
    ip_end: usize,
    start: usize,
    offset: usize,
    command: u8,
    header: usize,
    mss: usize,
}

plain_struct!(Context { ip_start, ip_offset, ip_end, start, offset, command, header, mss } if Context::is_sound);

impl Context {
    fn is_sound(&self) -> bool {
        let places = [self.ip_start, self.ip_offset, self.start, self.offset, self.header];
        places.iter().all(|&place| place <= 0xFF) && self.ip_end.max(self.mss) <= 0xFFFF
    }
}

/// What a descriptor means for its driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// More of the frame follows.
    Part,
    /// The frame is whole.
    Whole,
}

/// The transmit engine between two descriptors.
pub struct Assembly {
    context: Context,
    /// Behind room for the link's header.
    frame: Vec<u8>,
    options: u8,
    segmented: bool,
    legacy: Option<(usize, usize)>,
    /// The frame is too large, or its bytes are not in RAM: it is lost.
    lost: bool,
}

impl Assembly {
    pub fn new() -> Self {
        let frame = Vec::with_capacity(HEADER_BYTES + FRAME_LIMIT);
        Self { context: Context::default(), frame, options: 0, segmented: false, legacy: None, lost: false }
    }

    /// Between two frames: what the next ones inherit.
    pub fn context(&self) -> Value {
        self.context.save()
    }

    pub fn restore(&mut self, state: &Value) -> Result<(), BadState> {
        self.context = Context::load(state)?;
        Ok(())
    }

    /// Whether a frame has begun that has not ended.
    pub fn is_within(&self) -> bool {
        !self.frame.is_empty()
    }

    fn begin(&mut self) {
        self.frame.clear();
        self.frame.resize(HEADER_BYTES, 0);
        (self.options, self.segmented, self.legacy, self.lost) = (0, false, None, false);
    }

    /// Takes a descriptor; tells whether it ends a frame, and whether its driver wants to hear that it was taken.
    pub fn take(&mut self, memory: &GuestMemory, descriptor: &[u8; 16]) -> (Taken, bool) {
        let word = |at: usize| u16::from_le_bytes([descriptor[at], descriptor[at + 1]]);
        let command = descriptor[11];
        let reports = command & RS != 0;
        let extended = command & DEXT != 0;
        if extended && descriptor[10] >> 4 == 0 {
            self.context = Context {
                ip_start: descriptor[0].into(),
                ip_offset: descriptor[1].into(),
                ip_end: word(2).into(),
                start: descriptor[4].into(),
                offset: descriptor[5].into(),
                command,
                header: descriptor[13].into(),
                mss: word(14).into(),
            };
            return (Taken::Part, reports);
        }
        if self.frame.is_empty() {
            self.begin();
        }
        let gpa = u64::from_le_bytes(*descriptor.first_chunk().expect("eight of sixteen bytes"));
        let length = if extended {
            if self.frame.len() == HEADER_BYTES {
                (self.options, self.segmented) = (descriptor[13], command & TSE != 0);
            }
            usize::from(word(8)) | usize::from(descriptor[10] & 0xF) << 16
        } else {
            if command & INSERT_CHECKSUM != 0 {
                self.legacy = Some((descriptor[13].into(), descriptor[10].into()));
            }
            word(8).into()
        };
        self.append(memory, gpa, length);
        (if command & EOP == 0 { Taken::Part } else { Taken::Whole }, reports)
    }

    fn append(&mut self, memory: &GuestMemory, gpa: u64, length: usize) {
        let at = self.frame.len();
        if self.lost || at + length > HEADER_BYTES + FRAME_LIMIT {
            self.lost = true;
            return;
        }
        self.frame.resize(at + length, 0);
        self.lost = memory.read(gpa, &mut self.frame[at..]).is_err();
    }

    /// Ends the frame: `send` is given it, behind its header, or the pieces that it is cut into if the link does not
    /// do that.
    pub fn finish(&mut self, link: innkeeper_net::Offloads, mut send: impl FnMut(&[u8])) {
        let mut frame = std::mem::take(&mut self.frame);
        if !self.lost && frame.len() >= HEADER_BYTES + ETHERNET_BYTES {
            let header = self.offload(&mut frame[HEADER_BYTES..], link);
            match header {
                Some(header) => {
                    frame[..HEADER_BYTES].copy_from_slice(&header.bytes());
                    send(&frame);
                }
                None => self.cut(&frame[HEADER_BYTES..], &mut send),
            }
        }
        frame.clear();
        self.frame = frame;
    }

    /// Whether the frame is to be cut, and can be.
    fn is_segmented(&self, length: usize) -> bool {
        let Context { header, mss, start, command, .. } = self.context;
        self.segmented
            && command & TUCMD_TCP != 0
            && mss > 0
            && start >= ETHERNET_BYTES + 20
            && (start + 20..=length).contains(&header)
            && length > header + mss
    }

    /// Does what the link does not, and writes down what it is to do. None if the frame is to be cut by us.
    fn offload(&self, frame: &mut [u8], link: innkeeper_net::Offloads) -> Option<Header> {
        let Context { start, offset, mss, header: headers, command, .. } = self.context;
        if let Some((start, offset)) = self.legacy {
            put_checksum(frame, start, frame.len(), offset);
        }
        if self.is_segmented(frame.len()) {
            let v4 = command & TUCMD_IPV4 != 0;
            if !(link.checksum && if v4 { link.tso4 } else { link.tso6 }) {
                return None;
            }
            self.fix_ip(frame, 0);
            let sum = pseudo(frame, &self.context, frame.len() - start);
            frame[start + 16..start + 18].copy_from_slice(&sum.partial().to_be_bytes());
            return Some(Header {
                needs_checksum: true,
                gso: if v4 { Gso::Tcp4 } else { Gso::Tcp6 },
                header_length: headers as u16,
                segment: mss as u16,
                checksum_start: start as u16,
                checksum_offset: 16,
                ..Header::default()
            });
        }
        if self.segmented
            && self.context.header <= frame.len()
            && self.context.header >= start + 20
            && start >= 34
        {
            // Small enough as it is; its driver left lengths and checksums to us all the same.
            self.fix_ip(frame, 0);
            let sum = pseudo(frame, &self.context, frame.len() - start);
            frame[start + 16..start + 18].copy_from_slice(&sum.partial().to_be_bytes());
        } else if self.options & POPTS_IP != 0 {
            put_checksum(frame, self.context.ip_start, self.context.ip_end + 1, self.context.ip_offset);
        }
        if self.options & POPTS_TCP == 0 || offset < start || offset + 2 > frame.len() {
            return Some(Header::default());
        }
        if link.checksum {
            let (start, offset) = (start as u16, (offset - start) as u16);
            return Some(Header {
                needs_checksum: true,
                checksum_start: start,
                checksum_offset: offset,
                ..Header::default()
            });
        }
        put_checksum(frame, start, frame.len(), offset);
        Some(Header::default())
    }

    /// Writes the length of this packet, and IPv4's identification and checksum. `piece` counts the packets of a frame.
    fn fix_ip(&self, frame: &mut [u8], piece: u16) {
        let (ip, length) = (self.context.ip_start, frame.len());
        if ip + 20 > length {
            return;
        }
        if self.context.command & TUCMD_IPV4 == 0 {
            frame[ip + 4..ip + 6].copy_from_slice(&((length.saturating_sub(ip + 40)) as u16).to_be_bytes());
            return;
        }
        frame[ip + 2..ip + 4].copy_from_slice(&((length - ip) as u16).to_be_bytes());
        let id = u16::from_be_bytes([frame[ip + 4], frame[ip + 5]]).wrapping_add(piece);
        frame[ip + 4..ip + 6].copy_from_slice(&id.to_be_bytes());
        frame[ip + 10..ip + 12].fill(0);
        put_checksum(frame, ip, self.context.start.max(ip + 20), ip + 10);
    }

    /// Cuts the frame as the context says, for a link that does not.
    fn cut(&self, frame: &[u8], send: &mut impl FnMut(&[u8])) {
        let Context { header, mss, start, .. } = self.context;
        let (head, payload) = frame.split_at(header);
        let sequence =
            u32::from_be_bytes([head[start + 4], head[start + 5], head[start + 6], head[start + 7]]);
        let count = payload.len().div_ceil(mss);
        for (piece, part) in payload.chunks(mss).enumerate() {
            let mut out = vec![0; HEADER_BYTES];
            out.extend_from_slice(head);
            out.extend_from_slice(part);
            let frame = &mut out[HEADER_BYTES..];
            self.fix_ip(frame, piece as u16);
            let sequence = sequence.wrapping_add((piece * mss) as u32);
            frame[start + 4..start + 8].copy_from_slice(&sequence.to_be_bytes());
            if piece + 1 < count {
                frame[start + 13] &= !TCP_FIN_PSH;
            }
            frame[start + 16..start + 18].fill(0);
            let sum = pseudo(frame, &self.context, frame.len() - start).bytes(&frame[start..]).finish();
            frame[start + 16..start + 18].copy_from_slice(&sum.to_be_bytes());
            send(&out);
        }
    }
}

/// Sums `frame[start..end]` and puts the checksum where it belongs. What is there already counts.
fn put_checksum(frame: &mut [u8], start: usize, end: usize, place: usize) {
    let end = end.min(frame.len());
    if start < end && place >= start && place + 2 <= frame.len() {
        let sum = Sum::default().bytes(&frame[start..end]).finish();
        frame[place..place + 2].copy_from_slice(&sum.to_be_bytes());
    }
}

/// The pseudo header's sum, of the addresses that are in the frame.
fn pseudo(frame: &[u8], context: &Context, length: usize) -> Sum {
    let ip = context.ip_start;
    let addresses = if context.command & TUCMD_IPV4 != 0 { ip + 12..ip + 20 } else { ip + 8..ip + 40 };
    let sum = Sum::default().bytes(frame.get(addresses).unwrap_or_default());
    sum.word(6).bytes(&(length as u32).to_be_bytes())
}
