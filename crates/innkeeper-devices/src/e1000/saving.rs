//! A card between two frames, written down and taken on again.

use std::sync::PoisonError;

use innkeeper_bus::state::{BadState, Fields, Plain, Value, map};
use innkeeper_net::Offloads;

use super::E1000;
use super::registers::Registers;

impl E1000 {
    /// Returns once it touches no memory and raises no interrupt. What the driver has given is sent.
    pub fn pause(&self) {
        if self.shared.lock().paused {
            return;
        }
        self.shared.cable.disconnect();
        self.shared.wake(|state| (state.paused, state.parked) = (true, false));
        let has_thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        let mut state = self.shared.lock();
        while has_thread && !state.parked && !state.ending {
            state = self.shared.parks.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    pub fn go_on(&self) {
        if !self.shared.lock().paused {
            return;
        }
        self.shared.cable.connect(self.shared.clone(), Offloads::default());
        self.shared.wake(|state| {
            (state.paused, state.parked) = (false, false);
            (state.transmits, state.refilled) = (true, true);
        });
    }

    /// Once it is paused. `None` in the middle of a frame that its driver has given half of.
    pub fn state(&self) -> Option<Value> {
        let assembly = self.shared.assembly.lock().unwrap_or_else(PoisonError::into_inner);
        let state = self.shared.lock();
        (!assembly.is_within()).then(|| {
            map([
                ("registers", state.registers.save()),
                ("eeprom", state.eeprom.pins()),
                ("phy", state.phy.save()),
                ("causes", state.causes.save()),
                ("mask", state.mask.save()),
                ("level", state.level.save()),
                ("port_address", state.port_address.save()),
                ("starving", state.starving.save()),
                ("up", state.up.save()),
                ("context", assembly.context()),
            ])
        })
    }

    /// Takes on the state of another card, while it is paused.
    ///
    /// # Errors
    /// [`BadState`] for what cannot be; the card must not be used then.
    pub fn restore(&self, saved: &Value) -> Result<(), BadState> {
        let mut assembly = self.shared.assembly.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = self.shared.lock();
        let mut fields = Fields::of(saved)?;
        let registers: Registers = fields.take("registers")?;
        let (eeprom, context) = (fields.value("eeprom")?, fields.value("context")?);
        state.phy = fields.take("phy")?;
        (state.causes, state.mask) = (fields.take("causes")?, fields.take("mask")?);
        (state.level, state.starving) = (fields.take("level")?, fields.take("starving")?);
        (state.port_address, state.up) = (fields.take("port_address")?, fields.take("up")?);
        fields.end()?;
        state.eeprom.restore_pins(eeprom).map_err(|error| error.within("eeprom"))?;
        assembly.restore(context).map_err(|error| error.within("context"))?;
        state.registers = registers;
        self.shared.line.set(state.level);
        Ok(())
    }
}
