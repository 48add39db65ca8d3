//! The guest's x87 and MMX registers in the host's, and back.

use core::arch::asm;

use crate::x86::cpu::{Cpu, X87};
use crate::x86::exec::xsave::{fxsave_image, x87_from_image};

/// What FXSAVE writes.
#[repr(C, align(16))]
struct Image([u8; 512]);

impl Cpu {
    /// Gives the host's x87 the guest's registers.
    pub(super) fn load_x87(&mut self) {
        if self.context.x87_loaded != 0 {
            return;
        }
        let image = Image(fxsave_image(self));
        // SAFETY: the image is 512 aligned bytes with a legal MXCSR; what FXRSTOR changes besides the
        // x87 is declared. The x87 registers are left to translated code until `save_x87`; Rust
        // code does not use them.
        unsafe {
            asm!(
                "fxrstor64 [{image}]", image = in(reg) &raw const image,
                out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _, out("xmm4") _, out("xmm5") _,
                out("xmm6") _, out("xmm7") _, out("xmm8") _, out("xmm9") _, out("xmm10") _,
                out("xmm11") _, out("xmm12") _, out("xmm13") _, out("xmm14") _, out("xmm15") _,
                options(nostack),
            );
        }
        self.context.x87_loaded = 1;
    }

    /// Takes the guest's x87 registers back, and leaves the host's in their initial state.
    pub(in crate::x86) fn save_x87(&mut self) {
        if self.context.x87_loaded == 0 {
            return;
        }
        let mut image = Image([0; 512]);
        // SAFETY: the image is 512 aligned bytes; FNINIT gives the state that the host's code expects.
        unsafe { asm!("fxsave64 [{image}]", "fninit", image = in(reg) &raw mut image, options(nostack)) };
        let X87 { instruction_pointer, data_pointer, opcode, .. } = self.x87;
        // The pointers would be the host's; AMD processors keep them only for pending exceptions.
        self.x87 = X87 { instruction_pointer, data_pointer, opcode, ..x87_from_image(&image.0) };
        self.context.x87_loaded = 0;
    }
}
