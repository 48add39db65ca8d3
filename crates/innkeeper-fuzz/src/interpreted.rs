//! The interpreter's answer: its handlers, one instruction at a time, without a run loop around them.

use innkeeper_core::x86::cpu::Cpu;
use innkeeper_core::x86::fault::{Stop, vector};

use crate::guest::{FOR_CASES, Guest};
use crate::state::{CODE_AT, Case, DATA_SIZE, Outcome, Trap};

const RIP: usize = 17;

pub struct Interpreter(Guest);

impl Interpreter {
    /// # Panics
    /// If the host has no memory for a small guest.
    pub fn new(bitness: u32) -> Self {
        Self(Guest::new(bitness, FOR_CASES, None))
    }

    /// Runs one case to its trap.
    pub fn run(&mut self, case: &Case) -> Outcome {
        place(&self.0, case);
        self.0.load(&case.state);
        let trap = self.execute();
        Outcome { state: self.0.store(), trap }
    }

    /// The instruction (a REP as often as it asks), then the INT3 that it leads to.
    fn execute(&mut self) -> Trap {
        let cpu = &mut self.0.cpu;
        loop {
            let start = cpu.regs[RIP];
            let fetched = cpu.code_linear().and_then(|linear| cpu.fetch_one(linear));
            let result = fetched.and_then(|(op, length)| {
                cpu.regs[RIP] = cpu.regs[RIP].wrapping_add(length as u64);
                (op.handler)(cpu, &op)
            });
            match result {
                Ok(()) | Err(Stop::Leave) if cpu.regs[RIP] == start => {} // an unfinished REP
                Ok(()) | Err(Stop::Leave) => {
                    if cpu.code_linear().and_then(|linear| cpu.fetch_one(linear)).is_err() {
                        return fault(cpu);
                    }
                    cpu.regs[RIP] = cpu.regs[RIP].wrapping_add(1);
                    return Trap { vector: vector::BP, error: 0, address: 0 };
                }
                Err(Stop::Fault) => {
                    cpu.regs[RIP] = start;
                    return fault(cpu);
                }
                Err(Stop::Exit) => panic!("an unprivileged instruction left the guest: {:?}", cpu.exit),
            }
        }
    }
}

/// The case's instruction among INT3s, and empty data but for its window.
pub fn place(guest: &Guest, case: &Case) {
    let mut code = [0xCC; 16];
    code[..case.bytes.len()].copy_from_slice(&case.bytes);
    guest.write_code(0, &[0xCC; 0x1000]);
    guest.write_code(CODE_AT, &code);
    guest.write_data(0, &[0; DATA_SIZE as usize]);
}

fn fault(cpu: &Cpu) -> Trap {
    let error = if cpu.fault.has_error() { cpu.fault.error } else { 0 };
    Trap { vector: cpu.fault.vector, error, address: cpu.fault.address }
}
