//! What the driver's commands do (5.7.6.7, 5.7.6.8).

use std::collections::HashMap;
use std::sync::Arc;

use innkeeper_bus::memory::GuestMemory;
use innkeeper_display::{Cursor, Rect};

use super::super::lock;
use super::super::queue::{Chain, Fault};
use super::Shared;
use super::front::Source;
use super::protocol::{HEADER_BYTES, Header, Refusal, command, common, fits, parameters, response, words};
use super::resource::{Backing, Format, Resource, SIDE_LIMIT};
use crate::monitor::edid;

/// What resources and the lists of their backing may take on the host, and how many there may be.
pub const MEMORY_LIMIT: u64 = 256 << 20;
pub const RESOURCE_LIMIT: usize = 4096;
/// Entries of one backing: a picture of the limit in pages would have as many.
pub const MOST_ENTRIES: u32 = 1 << 16;
const ENTRY_BYTES: u64 = 16;
const ENTRIES: u64 = HEADER_BYTES + 8;
/// Scanouts that GET_DISPLAY_INFO has room for; we have the first.
const MOST_SCANOUTS: usize = 16;
const SCANOUT_BYTES: usize = 24;
const EDID_ROOM: usize = 1024;
/// Both sides of a cursor (5.7.6.9).
pub const CURSOR_SIDE: u32 = 64;

/// A response's kind and what follows its header.
type Answer = Result<(u32, Vec<u8>), Refusal>;

fn done() -> Answer {
    Ok((response::OK, Vec::new()))
}

/// What is shown: a part of a resource.
#[derive(Clone, Copy)]
pub struct Scanout {
    pub resource: u32,
    pub rect: Rect,
}

/// What an active driver has made.
pub struct Commands {
    memory: Arc<GuestMemory>,
    shared: Arc<Shared>,
    edid: bool,
    pub(super) resources: HashMap<u32, Resource>,
    taken: u64,
    pub(super) scanout: Option<Scanout>,
}

impl Commands {
    pub fn new(memory: Arc<GuestMemory>, shared: Arc<Shared>, edid: bool) -> Self {
        Self { memory, shared, edid, resources: HashMap::new(), taken: 0, scanout: None }
    }

    /// Serves a chain of the control queue; gives how many bytes were answered.
    pub fn control(&mut self, chain: &Chain) -> Result<u32, Fault> {
        let header = Header::read(chain).ok_or(Fault::Request)?;
        if chain.writable() < HEADER_BYTES {
            return Err(Fault::Request);
        }
        let answer = self.execute(header.kind, chain);
        let room = chain.writable() - HEADER_BYTES;
        Ok(match answer {
            Ok((kind, body)) if body.len() as u64 <= room => respond(chain, &header, kind, &body),
            Ok(_) => respond(chain, &header, Refusal::Parameter as u32, &[]),
            Err(refusal) => respond(chain, &header, refusal as u32, &[]),
        })
    }

    /// The same for the cursor queue, whose driver need not want an answer.
    pub fn cursor(&mut self, chain: &Chain) -> Result<u32, Fault> {
        let header = Header::read(chain).ok_or(Fault::Request)?;
        let answer = match header.kind {
            command::UPDATE_CURSOR => self.update_cursor(chain),
            command::MOVE_CURSOR => move_cursor(chain),
            _ => Err(Refusal::Unspecified),
        };
        if chain.writable() < HEADER_BYTES {
            return Ok(0);
        }
        let kind = answer.map_or_else(|refusal| refusal as u32, |(kind, _)| kind);
        Ok(respond(chain, &header, kind, &[]))
    }

    fn execute(&mut self, kind: u32, chain: &Chain) -> Answer {
        match kind {
            command::GET_DISPLAY_INFO => Ok((response::DISPLAY_INFO, self.display_info())),
            command::GET_EDID => self.get_edid(chain),
            command::RESOURCE_CREATE_2D => self.create(chain),
            command::RESOURCE_UNREF => self.unref(chain),
            command::RESOURCE_ATTACH_BACKING => self.attach(chain),
            command::RESOURCE_DETACH_BACKING => self.detach(chain),
            command::TRANSFER_TO_HOST_2D => self.transfer(chain),
            command::SET_SCANOUT => self.set_scanout(chain),
            command::RESOURCE_FLUSH => self.flush(chain),
            _ => Err(Refusal::Unspecified),
        }
    }

    fn display_info(&self) -> Vec<u8> {
        let (width, height) = lock(&self.shared.monitor).size;
        let mut body = vec![0; MOST_SCANOUTS * SCANOUT_BYTES];
        for (at, word) in [(8, width), (12, height), (16, 1)] {
            body[at..at + 4].copy_from_slice(&word.to_le_bytes());
        }
        body
    }

    fn get_edid(&self, chain: &Chain) -> Answer {
        let [scanout] = parameters(chain)?;
        if !self.edid {
            return Err(Refusal::Unspecified);
        }
        if scanout != 0 {
            return Err(Refusal::Scanout);
        }
        let (width, height) = lock(&self.shared.monitor).size;
        let mut body = vec![0; 8 + EDID_ROOM];
        body[..4].copy_from_slice(&(edid::BYTES as u32).to_le_bytes());
        body[8..8 + edid::BYTES].copy_from_slice(&edid::blob(width, height));
        Ok((response::EDID, body))
    }

    fn resource(&mut self, id: u32) -> Result<&mut Resource, Refusal> {
        self.resources.get_mut(&id).ok_or(Refusal::Resource)
    }

    /// For one that is made of a saved state; the arguments of commands were checked there.
    pub(super) fn add(&mut self, id: u32, resource: Resource) -> Result<(), Refusal> {
        if id == 0 || self.resources.contains_key(&id) || self.resources.len() >= RESOURCE_LIMIT {
            return Err(Refusal::Resource);
        }
        self.take(resource.whole_cost())?;
        self.resources.insert(id, resource);
        Ok(())
    }

    /// The same of what is shown.
    pub(super) fn show_again(&mut self, scanout: Scanout) -> Result<(), Refusal> {
        let size = self.resource(scanout.resource)?.size();
        if scanout.rect.width == 0 || scanout.rect.height == 0 || !fits(scanout.rect, size) {
            return Err(Refusal::Parameter);
        }
        self.scanout = Some(scanout);
        lock(&self.shared.front).resize((scanout.rect.width, scanout.rect.height));
        self.show(scanout.resource, scanout.rect);
        Ok(())
    }

    pub(super) fn restart(&self) {
        lock(&self.shared.front).restart();
    }

    pub(super) fn point_again(&self, cursor: Cursor) {
        lock(&self.shared.front).set_cursor(cursor);
    }

    pub(super) fn memory(&self) -> &GuestMemory {
        &self.memory
    }

    /// Takes memory of the host, if there is so much left to take.
    fn take(&mut self, cost: u64) -> Result<(), Refusal> {
        let taken = self.taken.checked_add(cost).filter(|&taken| taken <= MEMORY_LIMIT);
        self.taken = taken.ok_or(Refusal::OutOfMemory)?;
        Ok(())
    }

    fn create(&mut self, chain: &Chain) -> Answer {
        let [id, format, width, height] = parameters(chain)?;
        if id == 0 || self.resources.contains_key(&id) {
            return Err(Refusal::Resource);
        }
        let format = Format::new(format)?;
        let sides = 1..=SIDE_LIMIT;
        if !sides.contains(&width) || !sides.contains(&height) {
            return Err(Refusal::Parameter);
        }
        if self.resources.len() >= RESOURCE_LIMIT {
            return Err(Refusal::OutOfMemory);
        }
        self.take(Resource::cost(width, height))?;
        self.resources.insert(id, Resource::new(width, height, format));
        done()
    }

    fn unref(&mut self, chain: &Chain) -> Answer {
        let [id] = parameters(chain)?;
        let resource = self.resources.remove(&id).ok_or(Refusal::Resource)?;
        self.taken -= resource.whole_cost();
        if self.scanout.is_some_and(|scanout| scanout.resource == id) {
            self.disable();
        }
        done()
    }

    fn attach(&mut self, chain: &Chain) -> Answer {
        let [id, entries] = parameters(chain)?;
        if self.resource(id)?.backing.is_some() {
            return Err(Refusal::Unspecified);
        }
        let there = chain.readable().saturating_sub(ENTRIES) / ENTRY_BYTES;
        if entries > MOST_ENTRIES || u64::from(entries) > there {
            return Err(Refusal::Parameter);
        }
        let backing = self.backing(chain, entries)?;
        let cost = Backing::cost(entries.into());
        self.take(cost)?;
        let resource = self.resource(id)?;
        (resource.backing, resource.backing_cost) = (Some(backing), cost);
        done()
    }

    fn backing(&self, chain: &Chain, entries: u32) -> Result<Backing, Refusal> {
        let mut backing = Backing::default();
        let mut list = vec![0; entries as usize * ENTRY_BYTES as usize];
        chain.read(ENTRIES, &mut list);
        for entry in list.as_chunks::<{ ENTRY_BYTES as usize }>().0 {
            let entry = u128::from_le_bytes(*entry);
            backing.add(&self.memory, entry as u64, (entry >> 64) as u32)?;
        }
        Ok(backing)
    }

    fn detach(&mut self, chain: &Chain) -> Answer {
        let [id] = parameters(chain)?;
        let resource = self.resource(id)?;
        if resource.backing.take().is_none() {
            return Err(Refusal::Unspecified);
        }
        let cost = std::mem::take(&mut resource.backing_cost);
        self.taken -= cost;
        done()
    }

    fn transfer(&mut self, chain: &Chain) -> Answer {
        let [x, y, width, height, low, high, id] = parameters(chain)?;
        let offset = u64::from(low) | u64::from(high) << 32;
        self.resource(id)?.transfer(Rect { x, y, width, height }, offset)?;
        done()
    }

    fn set_scanout(&mut self, chain: &Chain) -> Answer {
        let [x, y, width, height, scanout, id] = parameters(chain)?;
        if scanout != 0 {
            return Err(Refusal::Scanout);
        }
        if id == 0 {
            self.disable();
            return done();
        }
        let rect = Rect { x, y, width, height };
        let size = self.resource(id)?.size();
        if width == 0 || height == 0 || !fits(rect, size) {
            return Err(Refusal::Parameter);
        }
        self.scanout = Some(Scanout { resource: id, rect });
        lock(&self.shared.front).resize((width, height));
        self.show(id, rect);
        done()
    }

    /// The monitor is dark, and keeps its size: viewers are not to jump each time that a guest changes its mode.
    fn disable(&mut self) {
        if self.scanout.take().is_some() {
            lock(&self.shared.front).blank();
        }
    }

    fn flush(&mut self, chain: &Chain) -> Answer {
        let [x, y, width, height, id] = parameters(chain)?;
        let rect = Rect { x, y, width, height };
        if !fits(rect, self.resource(id)?.size()) {
            return Err(Refusal::Parameter);
        }
        self.show(id, rect);
        done()
    }

    /// Shows what the scanout has of this part of a resource.
    fn show(&self, id: u32, rect: Rect) {
        let Some(scanout) = self.scanout.filter(|scanout| scanout.resource == id) else { return };
        let Some(part) = common(scanout.rect, rect) else { return };
        let resource = &self.resources[&id];
        let (pixels, stride) = (resource.pixels(), resource.size().0 as usize);
        let place = Rect { x: part.x - scanout.rect.x, y: part.y - scanout.rect.y, ..part };
        lock(&self.shared.front).draw(place, &Source { pixels, stride, x: part.x, y: part.y });
    }

    fn update_cursor(&mut self, chain: &Chain) -> Answer {
        let [scanout, _x, _y, _, id, hot_x, hot_y] = parameters(chain)?;
        if scanout != 0 {
            return Err(Refusal::Scanout);
        }
        if id == 0 {
            lock(&self.shared.front).hide_cursor();
            return done();
        }
        let resource = self.resources.get(&id).ok_or(Refusal::Resource)?;
        let (width, height) = resource.size();
        if (width, height) != (CURSOR_SIDE, CURSOR_SIDE) || hot_x >= width || hot_y >= height {
            return Err(Refusal::Parameter);
        }
        let cursor = Cursor { width, height, pixels: resource.pixels().to_vec(), hot_x, hot_y };
        lock(&self.shared.front).set_cursor(cursor);
        done()
    }
}

/// Viewers draw the pointer where their own is, which is what moved the guest's.
fn move_cursor(chain: &Chain) -> Answer {
    match words(chain, HEADER_BYTES).ok_or(Refusal::Parameter)? {
        [0, _x, _y] => done(),
        _ => Err(Refusal::Scanout),
    }
}

fn respond(chain: &Chain, header: &Header, kind: u32, body: &[u8]) -> u32 {
    let written = chain.write(0, &header.answer(kind)) + chain.write(HEADER_BYTES, body);
    written as u32
}
