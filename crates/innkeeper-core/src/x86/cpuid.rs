//! What CPUID presents: the identity, features and topology of the virtual processor, and which
//! encodings are therefore legal.

use iced_x86::Code;

/// The CPUID leaves of one VM and the instruction sets they advertise.
pub struct CpuidTable {}

impl CpuidTable {
    /// Whether the encoding's feature is presented; if not, it is #UD.
    pub fn allows(&self, _code: Code) -> bool {
        todo!()
    }
}
