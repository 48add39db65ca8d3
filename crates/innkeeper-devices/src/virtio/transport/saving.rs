//! A function in the middle of its driver's work, paused, written down and taken on again.

use std::sync::atomic::Ordering;

use innkeeper_bus::state::{BadState, Fields, Plain, Value, map};
use innkeeper_bus::{plain_enum, plain_struct};

use super::{QueueRegisters, Registers, Stage, VirtioPci, lock};
use crate::virtio::queue::{Layout, Place};

plain_enum!(Stage { Idle, Legacy, Modern });
plain_struct!(Layout { size, descriptors, available, used });
plain_struct!(QueueRegisters { layout, enabled, page });
plain_struct!(Registers {
    device_feature_select,
    driver_feature_select,
    driver_features,
    queue_select,
    queues,
    stage,
    paused,
});

impl VirtioPci {
    pub fn can_be_saved(&self) -> bool {
        self.class.saving().is_some()
    }

    /// What keeps it from being saved in the middle of what it does, once it is paused.
    pub fn obstacle(&self) -> Option<String> {
        self.class.saving().and_then(|class| class.obstacle())
    }

    /// Returns once the device touches no memory and raises no interrupt any more. What it has begun is finished.
    pub fn pause(&self) {
        let mut registers = lock(&self.registers);
        if registers.paused || self.over.load(Ordering::Acquire) {
            return;
        }
        registers.paused = true;
        if let Some(class) = self.class.saving().filter(|_| registers.stage != Stage::Idle) {
            self.active.store(false, Ordering::Release);
            class.pause();
        }
    }

    /// After [`Self::pause`] or [`Self::restore`]: serves its driver again.
    pub fn go_on(&self) {
        let mut registers = lock(&self.registers);
        if std::mem::take(&mut registers.paused)
            && registers.stage != Stage::Idle
            && !self.over.load(Ordering::Acquire)
        {
            self.start(&registers);
        }
    }

    /// What [`Self::restore`] takes, once it is paused.
    pub fn state(&self) -> Value {
        let registers = lock(&self.registers);
        let places: Vec<Place> = (0..self.limits.len()).map(|queue| self.link.place(queue)).collect();
        let class = self.class.saving().map_or(Value::Nothing, |class| class.state());
        map([
            ("registers", registers.save()),
            ("status", self.status().save()),
            ("history", self.link.history().save()),
            ("places", places.save()),
            ("interrupts", self.link.interrupts.state()),
            ("class", class),
        ])
    }

    /// Takes on the state of another function of this kind. It is paused then.
    ///
    /// # Errors
    /// [`BadState`] for what cannot be; the function must not be used then.
    pub fn restore(&self, state: &Value) -> Result<(), BadState> {
        let mut fields = Fields::of(state)?;
        let saved: Registers = fields.take("registers")?;
        let status: u8 = fields.take("status")?;
        let history = fields.take("history")?;
        let places: Vec<Place> = fields.take("places")?;
        let interrupts = fields.value("interrupts")?;
        let settings = fields.value("class")?;
        fields.end()?;
        let Some(class) = self.class.saving() else {
            return Err(BadState::new("devices of this kind are not restored"));
        };
        if (saved.queues.len(), places.len()) != (self.limits.len(), self.limits.len()) {
            let (queues, here) = (saved.queues.len(), self.limits.len());
            return Err(BadState::new(format!("it has {queues} queues instead of {here}")));
        }
        let legacy = saved.stage == Stage::Legacy;
        if saved.driver_features & !self.offered(legacy) != 0 && saved.stage != Stage::Idle {
            let (wanted, offered) = (saved.driver_features, self.offered(legacy));
            let features = format!("its driver uses the features {wanted:#x}; there are {offered:#x}");
            return Err(BadState::new(features));
        }
        class.restore(settings).map_err(|error| error.within("class"))?;
        self.link.interrupts.restore(interrupts).map_err(|error| error.within("interrupts"))?;
        places.iter().enumerate().for_each(|(queue, &place)| self.link.note_place(queue, place));
        self.link.set_history(history);
        self.link.status.store(status, Ordering::Release);
        *lock(&self.registers) = Registers { paused: true, ..saved };
        Ok(())
    }
}
