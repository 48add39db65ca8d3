//! A GPU in the middle of its driver's work, written down and taken on again.
//!
//! Pictures are saved as they are on the host, compressed: what the driver has in its memory may be newer, or gone. What viewers see
//! is drawn anew from what is shown.

use innkeeper_bus::plain_struct;
use innkeeper_bus::state::{BadState, Bytes, Plain, Value};
use innkeeper_display::{Cursor, Rect};

use super::super::class::Saving;
use super::super::lock;
use super::commands::{CURSOR_SIDE, Commands, MEMORY_LIMIT, MOST_ENTRIES, RESOURCE_LIMIT, Scanout};
use super::protocol::Refusal;
use super::resource::{Backing, Format, Resource, SIDE_LIMIT};
use super::{DISPLAY_CHANGED, Gpu, Kept};

/// What all pictures of one device may take in a file. Those of desktops take a tenth of it.
const MOST_PACKED: usize = 32 << 20;
const ENTRY_BYTES: usize = 12;

/// A resource.
#[derive(Clone)]
struct Picture {
    id: u32,
    format: u32,
    size: (u32, u32),
    /// Packed words.
    pixels: Bytes,
    /// How many entries its backing has, and their addresses and lengths, packed.
    backing: Option<(u32, Bytes)>,
}
plain_struct!(Picture { id, format, size, pixels, backing });

#[derive(Clone)]
struct Pointer {
    size: (u32, u32),
    hot: (u32, u32),
    pixels: Bytes,
}
plain_struct!(Pointer { size, hot, pixels });

/// The state of a device.
#[derive(Clone)]
pub struct Saved {
    /// Of the monitor.
    size: (u32, u32),
    events: u32,
    /// The driver is active.
    active: bool,
    pictures: Vec<Picture>,
    /// Which picture is shown, and what of it: left, top, width, height.
    scanout: Option<(u32, [u32; 4])>,
    pointer: Option<Pointer>,
}
plain_struct!(Saved { size, events, active, pictures, scanout, pointer } if Saved::sound);

impl Saving for Gpu {
    fn pause(&self) {
        self.workers.stop();
        let mut monitor = lock(&self.shared.monitor);
        (monitor.device, monitor.paused) = (None, true);
    }

    fn obstacle(&self) -> Option<String> {
        let packed = self.saved().pictures.iter().map(Picture::packed_bytes).sum::<usize>();
        (packed > MOST_PACKED).then(|| {
            format!(
                "its guest keeps pictures in it that take {} MiB when compressed, of {} that may be; have it show less",
                packed >> 20,
                MOST_PACKED >> 20
            )
        })
    }

    fn state(&self) -> Value {
        self.saved().save()
    }

    fn restore(&self, state: &Value) -> Result<(), BadState> {
        let saved = Saved::load(state)?;
        let mut monitor = lock(&self.shared.monitor);
        (monitor.size, monitor.events) = (saved.size, saved.events);
        drop(monitor);
        *lock(&self.kept) = if saved.active { Kept::Saved(Box::new(saved)) } else { Kept::Nothing };
        Ok(())
    }
}

impl Gpu {
    /// As it is, once it is paused.
    fn saved(&self) -> Saved {
        let monitor = lock(&self.shared.monitor);
        let events = monitor.events | if monitor.missed { DISPLAY_CHANGED } else { 0 };
        let empty = Saved {
            size: monitor.size,
            events,
            active: false,
            pictures: Vec::new(),
            scanout: None,
            pointer: None,
        };
        drop(monitor);
        match &*lock(&self.kept) {
            Kept::Nothing => empty,
            Kept::Saved(saved) => Saved { size: empty.size, events: empty.events, ..(**saved).clone() },
            Kept::Commands(commands) => {
                let mut pictures: Vec<_> =
                    commands.resources.iter().map(|(id, resource)| Picture::of(*id, resource)).collect();
                pictures.sort_unstable_by_key(|picture| picture.id);
                let scanout = commands.scanout.map(|shown| {
                    let Rect { x, y, width, height } = shown.rect;
                    (shown.resource, [x, y, width, height])
                });
                let pointer = lock(&self.shared.front).cursor().map(|(_, cursor)| Pointer::of(&cursor));
                Saved { active: true, pictures, scanout, pointer, ..empty }
            }
        }
    }
}

impl Saved {
    /// What can be said without the memory of the machine.
    fn sound(&self) -> bool {
        let side = |side: u32| (1..=SIDE_LIMIT).contains(&side);
        side(self.size.0)
            && side(self.size.1)
            && self.events & !DISPLAY_CHANGED == 0
            && self.pictures.len() <= RESOURCE_LIMIT
            && self.pictures.iter().all(|picture| side(picture.size.0) && side(picture.size.1))
            && self.pictures.iter().map(|picture| Resource::cost(picture.size.0, picture.size.1)).sum::<u64>()
                <= MEMORY_LIMIT
            && self
                .pictures
                .iter()
                .all(|picture| picture.backing.as_ref().is_none_or(|(entries, _)| *entries <= MOST_ENTRIES))
    }

    /// Makes everything again that the driver had made.
    pub fn put_into(self, mut commands: Commands) -> Result<Commands, Refusal> {
        let bad = |_: BadState| Refusal::Parameter;
        for picture in self.pictures {
            let (width, height) = picture.size;
            let mut resource = Resource::new(width, height, Format::new(picture.format)?);
            let bytes = picture.pixels.unpacked(4 * resource.pixels().len()).map_err(bad)?;
            for (pixel, bytes) in resource.pixels_mut().iter_mut().zip(bytes.as_chunks().0) {
                *pixel = u32::from_le_bytes(*bytes);
            }
            if let Some((entries, packed)) = picture.backing {
                let bytes = packed.unpacked(entries as usize * ENTRY_BYTES).map_err(bad)?;
                resource.backing = Some(backing(&bytes, &commands)?);
                resource.backing_cost = Backing::cost(entries.into());
            }
            commands.add(picture.id, resource)?;
        }
        commands.restart();
        if let Some((resource, [x, y, width, height])) = self.scanout {
            commands.show_again(Scanout { resource, rect: Rect { x, y, width, height } })?;
        }
        if let Some(pointer) = self.pointer {
            commands.point_again(pointer.cursor().map_err(bad)?);
        }
        Ok(commands)
    }
}

fn backing(bytes: &[u8], commands: &Commands) -> Result<Backing, Refusal> {
    let mut backing = Backing::default();
    for entry in bytes.as_chunks::<ENTRY_BYTES>().0 {
        let mut wide = [0; 16];
        wide[..ENTRY_BYTES].copy_from_slice(entry);
        let entry = u128::from_le_bytes(wide);
        backing.add(commands.memory(), entry as u64, (entry >> 64) as u32)?;
    }
    Ok(backing)
}

impl Picture {
    fn of(id: u32, resource: &Resource) -> Self {
        let backing = resource.backing.as_ref().map(|backing| {
            let entries = backing.entries();
            let bytes: Vec<u8> = entries
                .iter()
                .flat_map(|(gpa, length)| gpa.to_le_bytes().into_iter().chain(length.to_le_bytes()))
                .collect();
            (entries.len() as u32, Bytes::packed(&bytes))
        });
        let format = resource.format().number();
        Self { id, format, size: resource.size(), pixels: words(resource.pixels()), backing }
    }

    fn packed_bytes(&self) -> usize {
        self.pixels.0.len() + self.backing.as_ref().map_or(0, |(_, entries)| entries.0.len())
    }
}

impl Pointer {
    fn of(cursor: &Cursor) -> Self {
        let (size, hot) = ((cursor.width, cursor.height), (cursor.hot_x, cursor.hot_y));
        Self { size, hot, pixels: words(&cursor.pixels) }
    }

    fn cursor(&self) -> Result<Cursor, BadState> {
        let ((width, height), (hot_x, hot_y)) = (self.size, self.hot);
        if width > CURSOR_SIDE || height > CURSOR_SIDE || hot_x >= width || hot_y >= height {
            return Err(BadState::new("its pointer has no such point"));
        }
        let bytes = self.pixels.unpacked(4 * width as usize * height as usize)?;
        let pixels = bytes.as_chunks().0.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect();
        Ok(Cursor { width, height, pixels, hot_x, hot_y })
    }
}

fn words(pixels: &[u32]) -> Bytes {
    Bytes::packed(&pixels.iter().flat_map(|pixel| pixel.to_le_bytes()).collect::<Vec<u8>>())
}
