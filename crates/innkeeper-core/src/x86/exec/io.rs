//! Port input and output: IN, OUT, INS, OUTS, and who may use them.
//! Source: Intel SDM vol. 1, chapter 19; vol. 2. An I/O breakpoint (DR7 type 10B, with CR4.DE) is
//! reported behind the instruction, for string instructions behind each iteration.

use iced_x86::Code;

use crate::memory::PAGE_SIZE;
use crate::x86::cpu::{Cpu, RAX, RCX, RDI, RDX, RSI, cr, flag};
use crate::x86::fault::Stop;
use crate::x86::op::{Handler, Op, REP, REPNE, seg};
use crate::x86::paging::Access;
use crate::x86::segment as attr;
use crate::x86::word::Int;

/// Iterations of a repeated string instruction between two looks at interrupts.
const CHUNK: u64 = 256;

pub fn select(code: Code, _memory: bool) -> Option<Handler> {
    Some(match code {
        Code::In_AL_imm8 => input::<u8, false>,
        Code::In_AX_imm8 => input::<u16, false>,
        Code::In_EAX_imm8 => input::<u32, false>,
        Code::In_AL_DX => input::<u8, true>,
        Code::In_AX_DX => input::<u16, true>,
        Code::In_EAX_DX => input::<u32, true>,
        Code::Out_imm8_AL => output::<u8, false>,
        Code::Out_imm8_AX => output::<u16, false>,
        Code::Out_imm8_EAX => output::<u32, false>,
        Code::Out_DX_AL => output::<u8, true>,
        Code::Out_DX_AX => output::<u16, true>,
        Code::Out_DX_EAX => output::<u32, true>,
        Code::Insb_m8_DX => string::<u8, false>,
        Code::Insw_m16_DX => string::<u16, false>,
        Code::Insd_m32_DX => string::<u32, false>,
        Code::Outsb_DX_m8 => string::<u8, true>,
        Code::Outsw_DX_m16 => string::<u16, true>,
        Code::Outsd_DX_m32 => string::<u32, true>,
        _ => return None,
    })
}

fn port<const DX: bool>(cpu: &Cpu, op: &Op) -> u16 {
    if DX { cpu.regs[RDX] as u16 } else { op.imm as u16 & 0xFF }
}

fn input<T: Int, const DX: bool>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    let port = port::<DX>(cpu, op);
    cpu.check_port(port, T::BYTES as u8)?;
    let value = cpu.read_port(port, T::BYTES as u8);
    cpu.set_reg(RAX as u8, T::truncate(value));
    Ok(())
}

fn output<T: Int, const DX: bool>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    let port = port::<DX>(cpu, op);
    cpu.check_port(port, T::BYTES as u8)?;
    let value = cpu.reg::<T>(RAX as u8).zero_extend();
    cpu.write_port(port, T::BYTES as u8, value);
    Ok(())
}

/// INS and OUTS with or without a repeat prefix.
fn string<T: Int, const OUT: bool>(cpu: &mut Cpu, op: &Op) -> Result<(), Stop> {
    let repeats = op.prefixes & (REP | REPNE) != 0;
    let mask = op.address_mask;
    let port = cpu.regs[RDX] as u16;
    // Permission is asked even for no repetitions.
    cpu.check_port(port, T::BYTES as u8)?;
    if repeats && cpu.regs[RCX] & mask == 0 {
        return Ok(());
    }
    let mut done = 0;
    loop {
        let mut iterations = if repeats { run::<T, OUT>(cpu, op, port)? } else { 0 };
        if iterations == 0 {
            iterations = 1;
            if OUT { outs::<T>(cpu, op, port)? } else { ins::<T>(cpu, op, port)? }
        }
        if !repeats {
            break;
        }
        let left = (cpu.regs[RCX] & mask).wrapping_sub(iterations) & mask;
        cpu.write_address_register(RCX, left, mask);
        if left == 0 {
            break;
        }
        done += iterations;
        // A single step is one iteration.
        if done >= CHUNK || cpu.leave || cpu.has_flag(flag::TF) {
            return Err(cpu.repeat_later(op));
        }
    }
    Ok(())
}

/// As many iterations as can be one call of the device: upwards through a page of plain RAM, with nobody
/// watching each. Moves rSI or rDI, and gives how many these were; 0 if there is no such run.
fn run<T: Int, const OUT: bool>(cpu: &mut Cpu, op: &Op, port: u16) -> Result<u64, Stop> {
    if cpu.has_flag(flag::DF) || cpu.has_flag(flag::TF) || cpu.dr[7] & 0xFF != 0 {
        return Ok(0);
    }
    let (segment, register) = if OUT { (op.segment, RSI) } else { (seg::ES, RDI) };
    let access = if OUT { Access::Read } else { Access::Write };
    let offset = cpu.regs[register] & op.address_mask;
    let room = (op.address_mask - offset).saturating_add(1);
    let wanted = (cpu.regs[RCX] & op.address_mask).saturating_mul(T::BYTES).min(room).min(PAGE_SIZE);
    let Some((pointer, bytes)) = cpu.run_of_bytes(segment, offset, wanted, access)? else { return Ok(0) };
    let elements = bytes / T::BYTES;
    if elements < 2 {
        return Ok(0);
    }
    let mut buffer = [0; PAGE_SIZE as usize];
    let data = &mut buffer[..(elements * T::BYTES) as usize];
    if OUT {
        // SAFETY: `run_of_bytes` vouches for at least that many bytes of guest RAM.
        unsafe { std::ptr::copy_nonoverlapping(pointer.cast_const(), data.as_mut_ptr(), data.len()) };
        cpu.write_port_string(port, T::BYTES as u8, data);
    } else {
        cpu.read_port_string(port, T::BYTES as u8, data);
        // SAFETY: as above; nothing that this vCPU did meanwhile took the page from it.
        unsafe { std::ptr::copy_nonoverlapping(data.as_ptr(), pointer, data.len()) };
    }
    cpu.step_address_register(register, elements * T::BYTES, op.address_mask);
    Ok(elements)
}

fn ins<T: Int>(cpu: &mut Cpu, op: &Op, port: u16) -> Result<(), Stop> {
    let at = cpu.regs[RDI] & op.address_mask;
    // Reading the port has effects, so whatever may fault comes first.
    cpu.probe_write(seg::ES, at, T::BYTES)?;
    let value = cpu.read_port(port, T::BYTES as u8);
    cpu.store(seg::ES, at, T::truncate(value))?;
    cpu.step_address_register(RDI, T::BYTES, op.address_mask);
    Ok(())
}

fn outs<T: Int>(cpu: &mut Cpu, op: &Op, port: u16) -> Result<(), Stop> {
    let at = cpu.regs[RSI] & op.address_mask;
    let value = cpu.load::<T>(op.segment, at)?.zero_extend();
    cpu.write_port(port, T::BYTES as u8, value);
    cpu.step_address_register(RSI, T::BYTES, op.address_mask);
    Ok(())
}

impl Cpu {
    /// Writes a register at the address size of a string instruction; 32 bits zero-extend.
    fn write_address_register(&mut self, register: usize, value: u64, mask: u64) {
        let kept = if mask == 0xFFFF { self.regs[register] & !mask } else { 0 };
        self.regs[register] = kept | value & mask;
    }

    fn step_address_register(&mut self, register: usize, bytes: u64, mask: u64) {
        let step = if self.has_flag(flag::DF) { bytes.wrapping_neg() } else { bytes };
        self.write_address_register(register, self.regs[register].wrapping_add(step), mask);
    }

    /// IOPL, or else the I/O permission bitmap of the TSS; always the latter in virtual-8086 mode.
    fn check_port(&mut self, port: u16, size: u8) -> Result<(), Stop> {
        if self.real() || (self.protected && self.cpl <= self.iopl()) {
            return Ok(());
        }
        if self.port_permitted(port, size)? { Ok(()) } else { Err(self.gp(0)) }
    }

    fn port_permitted(&mut self, port: u16, size: u8) -> Result<bool, Stop> {
        let (tr, kind) = (self.tr, self.tr.kind());
        if tr.has(attr::UNUSABLE) || kind & 8 == 0 || tr.limit < 0x67 {
            return Ok(false);
        }
        let map: u16 = self.load_system(tr.base.wrapping_add(0x66))?;
        // Two bytes are read, since the bits of a wide access may lie in both.
        let byte = u32::from(map) + u32::from(port >> 3);
        if byte + 1 > tr.limit {
            return Ok(false);
        }
        let bits: u16 = self.load_system(tr.base.wrapping_add(u64::from(byte)))?;
        let wanted = (1u16 << size) - 1;
        Ok(bits >> (port & 7) & wanted == 0)
    }

    fn read_port(&mut self, port: u16, size: u8) -> u64 {
        self.stats.count_port(port, false, 1);
        self.note_port_access(port, size);
        let value = self.platform.ports.read(u64::from(port), size);
        self.heed_device();
        value
    }

    fn write_port(&mut self, port: u16, size: u8, value: u64) {
        self.stats.count_port(port, true, 1);
        self.note_port_access(port, size);
        self.platform.ports.write(u64::from(port), size, value);
        self.heed_device();
    }

    /// Neither records breakpoints: nobody has armed one.
    fn read_port_string(&mut self, port: u16, size: u8, out: &mut [u8]) {
        self.stats.count_port(port, false, out.len() as u64 / u64::from(size));
        self.platform.ports.read_string(u64::from(port), size, out);
        self.heed_device();
    }

    fn write_port_string(&mut self, port: u16, size: u8, data: &[u8]) {
        self.stats.count_port(port, true, data.len() as u64 / u64::from(size));
        self.platform.ports.write_string(u64::from(port), size, data);
        self.heed_device();
    }

    /// Records the I/O breakpoints that an access hits.
    fn note_port_access(&mut self, port: u16, size: u8) {
        if self.dr[7] & 0xFF == 0 || self.cr4 & cr::CR4_DE == 0 {
            return;
        }
        let (first, last) = (u64::from(port), u64::from(port) + u64::from(size) - 1);
        for i in 0..4 {
            let armed = self.dr[7] >> (2 * i) & 3 != 0;
            let io = self.dr[7] >> (16 + 4 * i) & 3 == 2;
            let span = [1, 2, 8, 4][(self.dr[7] >> (18 + 4 * i) & 3) as usize];
            let start = self.dr[i] & !(span - 1);
            if armed && io && first <= start.wrapping_add(span - 1) && start <= last {
                self.debug_hits |= 1 << i;
                self.leave = true;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use crate::bus::Device;
    use crate::x86::cpu::{Cpu, RAX, RCX, RDI, RDX, RSI, flag};
    use crate::x86::fault::vector;
    use crate::x86::testing::{ABSENT, DATA, machine, peek, poke, run};

    const PORT: u64 = 0x1F0;

    /// Counts upwards when read, and keeps what is written.
    #[derive(Default)]
    struct Counter {
        next: Mutex<u64>,
        written: Mutex<Vec<u8>>,
    }

    impl Device for Counter {
        fn read(&self, _offset: u64, _size: u8) -> u64 {
            let mut next = self.next.lock().unwrap();
            *next += 1;
            *next
        }

        fn write(&self, _offset: u64, size: u8, value: u64) {
            self.written.lock().unwrap().extend(&value.to_le_bytes()[..usize::from(size)]);
        }
    }

    fn with_counter(code: &[u8]) -> (Box<Cpu>, Arc<Counter>) {
        let mut cpu = machine(code);
        let counter = Arc::new(Counter::default());
        cpu.platform.ports.map(PORT, 8, counter.clone()).unwrap();
        cpu.regs[RDX] = PORT;
        (cpu, counter)
    }

    /// Runs until the repetition is over, as the run loop does.
    fn repeat(cpu: &mut Cpu) {
        while cpu.regs[RCX] != 0 {
            cpu.regs[crate::x86::cpu::RIP] = crate::x86::testing::CODE;
            if let Err(fault) = run(cpu) {
                panic!("vector {}", fault.vector);
            }
        }
    }

    #[test]
    fn ins_in_runs_reads_once_for_every_element() {
        for (down, count) in [(false, 3000), (false, 1), (true, 300)] {
            let (mut cpu, counter) = with_counter(&[0xF3, 0x66, 0x6D]); // rep insw
            let first = if down { DATA + 0x1000 } else { DATA + 0x10 };
            (cpu.regs[RDI], cpu.regs[RCX]) = (first, count);
            cpu.set_flag(flag::DF, down);
            repeat(&mut cpu);
            let bytes: [u8; 6000 + 0x10] = peek(&cpu, DATA);
            for i in 0..count {
                let at = (first - DATA) as usize;
                let at = if down { at - 2 * i as usize } else { at + 2 * i as usize };
                assert_eq!(u16::from_le_bytes([bytes[at], bytes[at + 1]]), i as u16 + 1);
            }
            assert_eq!(*counter.next.lock().unwrap(), count);
            let step = if down { (2 * count).wrapping_neg() } else { 2 * count };
            assert_eq!(cpu.regs[RDI], first.wrapping_add(step));
        }
    }

    #[test]
    fn outs_in_runs_writes_every_element_in_order() {
        let (mut cpu, counter) = with_counter(&[0xF3, 0x6F]); // rep outsd
        let bytes: Vec<u8> = (0..5000u32).map(|i| i as u8).collect();
        poke(&cpu, DATA + 0x20, &bytes);
        (cpu.regs[RSI], cpu.regs[RCX], cpu.regs[RAX]) = (DATA + 0x20, 1250, 0);
        repeat(&mut cpu);
        assert!(*counter.written.lock().unwrap() == bytes);
        assert_eq!(cpu.regs[RSI], DATA + 0x20 + 5000);
    }

    #[test]
    fn a_fault_comes_before_the_device_is_read() {
        let (mut cpu, counter) = with_counter(&[0xF3, 0x6C]); // rep insb
        (cpu.regs[RDI], cpu.regs[RCX]) = (ABSENT - 5, 10);
        let fault = run(&mut cpu).unwrap_err();
        assert_eq!((fault.vector, fault.address, cpu.regs[RCX]), (vector::PF, ABSENT, 5));
        assert_eq!(*counter.next.lock().unwrap(), 5);
    }
}
