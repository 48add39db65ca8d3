//! What graphics devices share: what the monitor says of itself, and which parts of a picture are new.

pub(crate) mod changes;
pub(crate) mod edid;
