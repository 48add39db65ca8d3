//! The drive's tray: what lies in it, and who may open it. The guest and the user both do.

use std::sync::{Arc, Mutex};

use innkeeper_block::Disk;
use innkeeper_bus::plain_enum;
use innkeeper_bus::state::{BadState, Fields, Plain, Value, map};

use super::sense::{NO_MEDIUM, NO_MEDIUM_TRAY_OPEN, REMOVAL_PREVENTED, Sense};

/// The guest has locked the tray; it was told that somebody wants it open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Locked;

/// Media events of GET EVENT STATUS NOTIFICATION (MMC-6, 6.6.2.6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Event {
    #[default]
    None = 0,
    EjectRequest = 1,
    NewMedia = 2,
    MediaRemoval = 3,
}

plain_enum!(Event { None, EjectRequest, NewMedia, MediaRemoval });

#[derive(Default)]
struct State {
    medium: Option<Arc<dyn Disk>>,
    open: bool,
    locked: bool,
    /// The medium is another one than the guest knows.
    changed: bool,
    event: Event,
}

/// A tray. It outlives the drive's resets and the machine's.
#[derive(Default)]
pub struct Tray {
    state: Mutex<State>,
}

/// The tray as the guest can see it at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    pub open: bool,
    pub locked: bool,
    /// A medium that can be read.
    pub present: bool,
}

impl Tray {
    pub fn new(medium: Option<Arc<dyn Disk>>) -> Arc<Self> {
        let changed = medium.is_some();
        let event = if changed { Event::NewMedia } else { Event::None };
        Arc::new(Self { state: Mutex::new(State { medium, changed, event, ..State::default() }) })
    }

    /// The user changes the medium, or takes it out. `force` as with a paper clip.
    ///
    /// # Errors
    /// [`Locked`].
    pub fn change(&self, medium: Option<Arc<dyn Disk>>, force: bool) -> Result<(), Locked> {
        let mut state = self.state.lock().expect("tray lock");
        if state.locked && !state.open && state.medium.is_some() && !force {
            state.event = Event::EjectRequest;
            return Err(Locked);
        }
        state.event = if medium.is_some() { Event::NewMedia } else { Event::MediaRemoval };
        state.changed = medium.is_some();
        (state.open, state.locked) = (false, false);
        state.medium = medium;
        Ok(())
    }

    /// Power-on: nobody has locked it yet, and whatever lies in it is new.
    pub fn power_on(&self) {
        let mut state = self.state.lock().expect("tray lock");
        (state.open, state.locked) = (false, false);
        state.changed = state.medium.is_some();
        state.event = if state.changed { Event::NewMedia } else { Event::None };
    }

    pub fn look(&self) -> Look {
        let state = self.state.lock().expect("tray lock");
        Look { open: state.open, locked: state.locked, present: !state.open && state.medium.is_some() }
    }

    /// All but the medium itself.
    pub fn state(&self) -> Value {
        let state = self.state.lock().expect("tray lock");
        map([
            ("loaded", state.medium.is_some().save()),
            ("open", state.open.save()),
            ("locked", state.locked.save()),
            ("changed", state.changed.save()),
            ("event", state.event.save()),
        ])
    }

    /// # Errors
    /// [`BadState`] for what cannot be, or if a medium was there and is not, or the other way round.
    pub fn restore(&self, saved: &Value) -> Result<(), BadState> {
        let mut fields = Fields::of(saved)?;
        let loaded: bool = fields.take("loaded")?;
        let (open, locked, changed) = (fields.take("open")?, fields.take("locked")?, fields.take("changed")?);
        let event = fields.take("event")?;
        fields.end()?;
        let mut state = self.state.lock().expect("tray lock");
        if loaded != state.medium.is_some() {
            return Err(BadState::new(if loaded { "its disc is not there" } else { "it had no disc" }));
        }
        (state.open, state.locked, state.changed, state.event) = (open, locked, changed, event);
        Ok(())
    }

    /// The medium, if it can be read.
    pub fn medium(&self) -> Result<Arc<dyn Disk>, Sense> {
        let state = self.state.lock().expect("tray lock");
        match &state.medium {
            _ if state.open => Err(NO_MEDIUM_TRAY_OPEN),
            Some(medium) => Ok(Arc::clone(medium)),
            None => Err(NO_MEDIUM),
        }
    }

    /// Whether the medium changed since the last call.
    pub fn take_changed(&self) -> bool {
        std::mem::take(&mut self.state.lock().expect("tray lock").changed)
    }

    /// What happened last, once.
    pub fn take_event(&self) -> Event {
        std::mem::take(&mut self.state.lock().expect("tray lock").event)
    }

    pub fn lock(&self, locked: bool) {
        self.state.lock().expect("tray lock").locked = locked;
    }

    /// The guest opens or closes it.
    pub fn move_to(&self, open: bool) -> Result<(), Sense> {
        let mut state = self.state.lock().expect("tray lock");
        if open == state.open {
            return Ok(());
        }
        if open && state.locked {
            return Err(REMOVAL_PREVENTED);
        }
        state.open = open;
        if state.medium.is_some() {
            state.event = if open { Event::MediaRemoval } else { Event::NewMedia };
            state.changed = !open;
        }
        Ok(())
    }
}
