//! How a device gets a processor's attention, without knowing the engine behind it.

use std::sync::Arc;

/// Whatever delivers interrupts to a machine's processors. Called from any thread; never blocks for long.
pub trait InterruptFabric: Send + Sync {
    /// Drives an interrupt line.
    fn set_irq(&self, gsi: u32, level: bool);
    /// Delivers a message-signalled interrupt (Intel SDM vol. 3, 11.11).
    fn signal_msi(&self, address: u64, data: u32);
}

/// One end of an interrupt line.
pub trait Line: Send + Sync {
    fn set(&self, level: bool);
}

/// The line to a fixed GSI.
pub struct GsiLine {
    pub fabric: Arc<dyn InterruptFabric>,
    pub gsi: u32,
}

impl Line for GsiLine {
    fn set(&self, level: bool) {
        self.fabric.set_irq(self.gsi, level);
    }
}
