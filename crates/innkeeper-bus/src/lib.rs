//! Guest memory and buses: what CPU engines and devices both stand on, so that neither needs the other.
//! Rooms, lowest first: `memory`, `bus`, `interrupt`, `state`.

pub mod bus;
pub mod interrupt;
pub mod memory;
pub mod state;
