//! Tiny guests on the real /dev/kvm. Where there is none, each test says so and passes.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use innkeeper_bus::interrupt::InterruptFabric;

use super::microguest::{self, CODE, Mode, RESULT};
use super::vm::{host, open};
use super::{KvmVm, probe};
use crate::bus::Device;
use crate::engine::{EngineError, Vcpu, Vm};
use crate::exit::Exit;
use crate::memory::{GuestMemory, Ram};
use crate::state::{Activity, CpuStateV1, TableState};

/// Where the conventional 640 KiB end, and MMIO therefore begins.
const HOLE: u64 = 0xA_0000;

#[derive(Default)]
struct Recorder {
    writes: Mutex<Vec<(u64, u8, u64)>>,
}

impl Device for Recorder {
    fn read(&self, offset: u64, size: u8) -> u64 {
        0x1122_3344_5566_7788 + offset + (u64::from(size) << 32)
    }
    fn write(&self, offset: u64, size: u8, value: u64) {
        self.writes.lock().unwrap().push((offset, size, value));
    }
}

impl Recorder {
    fn writes(&self) -> Vec<(u64, u8, u64)> {
        self.writes.lock().unwrap().clone()
    }
}

/// `None`, with the reason on stderr, if this host has no usable KVM.
fn usable<T>(made: Result<T, EngineError>) -> Option<T> {
    let host = open().and_then(|kvm| kvm.create_vm().map_err(host("create a VM")));
    if let Err(why) = host {
        eprintln!("skipped: {why}");
        return None;
    }
    Some(made.unwrap())
}

fn memory() -> Arc<GuestMemory> {
    Arc::new(GuestMemory::new(&[(0, HOLE)]).unwrap())
}

/// Loads real-mode `code` and points the first vCPU at it.
fn real_mode(vm: &KvmVm, memory: &GuestMemory, code: &[u8]) -> Arc<dyn Vcpu> {
    memory.write(CODE, code).unwrap();
    let vcpu = vm.vcpu(0).unwrap();
    let mut state = vcpu.get_state().unwrap();
    for segment in &mut state.segments {
        (segment.selector, segment.base) = (0, 0);
    }
    (state.rip, state.gpr[4]) = (CODE, 0x8000); // and the stack
    vcpu.set_state(&state).unwrap();
    vcpu
}

/// A vCPU without irqchip, so that HLT comes out.
fn bare(code: &[u8]) -> Option<(KvmVm, Arc<GuestMemory>, Arc<dyn Vcpu>)> {
    let memory = memory();
    let vm = usable(KvmVm::bare(Arc::clone(&memory)))?;
    let vcpu = real_mode(&vm, &memory, code);
    Some((vm, memory, vcpu))
}

fn full(vcpus: u32, code: &[u8]) -> Option<(KvmVm, Arc<GuestMemory>, Arc<dyn Vcpu>)> {
    let memory = memory();
    let vm = usable(KvmVm::new(Arc::clone(&memory), vcpus))?;
    let vcpu = real_mode(&vm, &memory, code);
    Some((vm, memory, vcpu))
}

fn bytes<const N: usize>(memory: &GuestMemory, gpa: u64) -> [u8; N] {
    let mut out = [0; N];
    memory.read(gpa, &mut out).unwrap();
    out
}

/// Puts a vCPU into 64-bit mode at [`CODE`], the first 4 GiB mapped onto themselves.
fn long_mode(memory: &GuestMemory, vcpu: &dyn Vcpu) {
    microguest::prepare(memory, vcpu, Mode::Long).unwrap();
}

#[test]
fn port_accesses_of_every_size_reach_the_device() {
    // mov dx,0x510; mov eax,0xAABBCCDD; out dx,al; out dx,ax; out dx,eax;
    // inc dx; in al,dx; mov [0x3000],al; in ax,dx; mov [0x3002],ax; in eax,dx; mov [0x3004],eax; hlt
    let code = [
        0xBA, 0x10, 0x05, 0x66, 0xB8, 0xDD, 0xCC, 0xBB, 0xAA, 0xEE, 0xEF, 0x66, 0xEF, 0x42, 0xEC, 0xA2, 0x00,
        0x30, 0xED, 0xA3, 0x02, 0x30, 0x66, 0xED, 0x66, 0xA3, 0x04, 0x30, 0xF4,
    ];
    let Some((vm, memory, vcpu)) = bare(&code) else { return };
    let device = Arc::new(Recorder::default());
    vm.ports().map(0x510, 8, device.clone()).unwrap();

    assert_eq!(vcpu.run(), Exit::Halt);

    assert_eq!(device.writes(), [(0, 1, 0xDD), (0, 2, 0xCCDD), (0, 4, 0xAABB_CCDD)]);
    assert_eq!(bytes(&memory, RESULT), [0x89, 0, 0x89, 0x77, 0x89, 0x77, 0x66, 0x55]);
    let statistics = vm.statistics();
    assert_eq!(statistics[0].ports, [((0x510, true), 3), ((0x511, false), 3)]);
    assert!(statistics[0].counters.contains(&("halts", 1)));
}

#[test]
fn a_string_access_is_one_access_per_element() {
    // mov dx,0x510; mov si,0x3000; mov cx,3; rep outsw; mov di,0x3010; mov cx,5; rep insb; hlt
    let code = [
        0xBA, 0x10, 0x05, 0xBE, 0x00, 0x30, 0xB9, 0x03, 0x00, 0xF3, 0x6F, 0xBF, 0x10, 0x30, 0xB9, 0x05, 0x00,
        0xF3, 0x6C, 0xF4,
    ];
    let Some((vm, memory, vcpu)) = bare(&code) else { return };
    memory.write(RESULT, &[1, 2, 3, 4, 5, 6]).unwrap();
    let device = Arc::new(Recorder::default());
    vm.ports().map(0x510, 8, device.clone()).unwrap();

    assert_eq!(vcpu.run(), Exit::Halt);

    assert_eq!(device.writes(), [(0, 2, 0x0201), (0, 2, 0x0403), (0, 2, 0x0605)]);
    assert_eq!(bytes(&memory, RESULT + 0x10), [0x88, 0x88, 0x88, 0x88, 0x88, 0]);
    assert_eq!(vm.statistics()[0].ports, [((0x510, false), 5), ((0x510, true), 3)]);
}

#[test]
fn an_unclaimed_port_reads_as_all_ones() {
    // mov dx,0x1234; in eax,dx; mov [0x3000],eax; hlt
    let code = [0xBA, 0x34, 0x12, 0x66, 0xED, 0x66, 0xA3, 0x00, 0x30, 0xF4];
    let Some((_vm, memory, vcpu)) = bare(&code) else { return };
    assert_eq!(vcpu.run(), Exit::Halt);
    assert_eq!(bytes(&memory, RESULT), [0xFF; 4]);
}

#[test]
fn mmio_accesses_of_every_size_reach_the_device() {
    // mov rbx,0xA0000; mov rax,0x1122334455667788; mov [rbx],al; mov [rbx],ax; mov [rbx],eax;
    // mov [rbx],rax; mov al,[rbx+1]; mov [0x3000],al; mov rax,[rbx+8]; mov [0x3008],rax;
    // mov dword [rbx+0xFFD],0x04030201; hlt
    let code = [
        0x48, 0xC7, 0xC3, 0x00, 0x00, 0x0A, 0x00, 0x48, 0xB8, 0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11,
        0x88, 0x03, 0x66, 0x89, 0x03, 0x89, 0x03, 0x48, 0x89, 0x03, 0x8A, 0x43, 0x01, 0x88, 0x04, 0x25, 0x00,
        0x30, 0x00, 0x00, 0x48, 0x8B, 0x43, 0x08, 0x48, 0x89, 0x04, 0x25, 0x08, 0x30, 0x00, 0x00, 0xC7, 0x83,
        0xFD, 0x0F, 0x00, 0x00, 0x01, 0x02, 0x03, 0x04, 0xF4,
    ];
    let Some((vm, memory, vcpu)) = bare(&code) else { return };
    long_mode(&memory, &*vcpu);
    let device = Arc::new(Recorder::default());
    vm.mmio().map(HOLE, 0x2000, device.clone()).unwrap();

    assert_eq!(vcpu.run(), Exit::Halt);

    let mut writes = device.writes();
    let straddling = writes.split_off(4);
    let whole = [(0, 1, 0x88), (0, 2, 0x7788), (0, 4, 0x5566_7788), (0, 8, 0x1122_3344_5566_7788)];
    assert_eq!(writes, whole);
    // KVM splits at the page; three bytes are no device's size.
    assert_eq!(straddling, [(0xFFD, 2, 0x0201), (0xFFF, 1, 0x03), (0x1000, 1, 0x04)]);
    assert_eq!(bytes(&memory, RESULT), [0x89]);
    assert_eq!(u64::from_le_bytes(bytes(&memory, RESULT + 8)), 0x1122_334C_5566_7790);
}

#[test]
fn the_pit_wakes_a_halted_vcpu() {
    // The handler at 0x2000: inc byte [0x3000]; mov al,0x20; out 0x20,al; iret
    let handler = [0xFE, 0x06, 0x00, 0x30, 0xB0, 0x20, 0xE6, 0x20, 0xCF];
    // PIC: ICW1-4 with base 0x20, all but IRQ 0 masked. PIT: channel 0, mode 2, 1000 Hz.
    // Then: sti; again: hlt; cmp byte [0x3000],5; jb again; mov dx,0x510; out dx,al; cli; hlt
    let code = [
        0xB0, 0x11, 0xE6, 0x20, 0xB0, 0x20, 0xE6, 0x21, 0xB0, 0x04, 0xE6, 0x21, 0xB0, 0x01, 0xE6, 0x21, 0xB0,
        0xFE, 0xE6, 0x21, 0xB0, 0x34, 0xE6, 0x43, 0xB0, 0xA9, 0xE6, 0x40, 0xB0, 0x04, 0xE6, 0x40, 0xFB, 0xF4,
        0x80, 0x3E, 0x00, 0x30, 0x05, 0x72, 0xF8, 0xBA, 0x10, 0x05, 0xEE, 0xFA, 0xF4,
    ];
    let Some((vm, memory, vcpu)) = full(1, &code) else { return };
    memory.write(0x2000, &handler).unwrap();
    memory.write(4 * 0x20, &[0x00, 0x20, 0, 0]).unwrap();
    let device = Arc::new(Recorder::default());
    vm.ports().map(0x510, 1, device.clone()).unwrap();

    // Halted for good with interrupts off, so the heartbeat ends it.
    assert_eq!(vcpu.run(), Exit::Halt);

    // Another tick may have come before CLI.
    let [ticks] = bytes(&memory, RESULT);
    assert!(ticks >= 5, "{ticks}");
    assert_eq!(device.writes().len(), 1);
}

#[test]
fn a_line_that_the_machine_raises_interrupts_the_guest() {
    // The handler at 0x2000 (IRQ 4): mov byte [0x3000],1; cli; hlt
    let handler = [0xC6, 0x06, 0x00, 0x30, 0x01, 0xFA, 0xF4];
    // PIC base 0x20, all but IRQ 4 masked; sti; mov dx,0x510; out dx,al; jmp $
    let code = [
        0xB0, 0x11, 0xE6, 0x20, 0xB0, 0x20, 0xE6, 0x21, 0xB0, 0x04, 0xE6, 0x21, 0xB0, 0x01, 0xE6, 0x21, 0xB0,
        0xEF, 0xE6, 0x21, 0xFB, 0xBA, 0x10, 0x05, 0xEE, 0xEB, 0xFE,
    ];
    struct Line(Mutex<Option<std::sync::Weak<KvmVm>>>);
    impl Device for Line {
        fn read(&self, _: u64, _: u8) -> u64 {
            0
        }
        fn write(&self, _: u64, _: u8, _: u64) {
            let vm = self.0.lock().unwrap().as_ref().and_then(std::sync::Weak::upgrade).unwrap();
            vm.set_irq(4, true);
            vm.set_irq(4, false);
        }
    }
    let Some((vm, memory, vcpu)) = full(1, &code) else { return };
    let vm = Arc::new(vm);
    memory.write(0x2000, &handler).unwrap();
    memory.write(4 * 0x24, &[0x00, 0x20, 0, 0]).unwrap();
    let line = Line(Mutex::new(Some(Arc::downgrade(&vm))));
    vm.ports().map(0x510, 1, Arc::new(line)).unwrap();

    assert_eq!(vcpu.run(), Exit::Halt);

    assert_eq!(bytes(&memory, RESULT), [1]);
}

#[test]
fn a_kick_ends_a_spinning_guest() {
    let Some((vm, _memory, vcpu)) = full(1, &[0xEB, 0xFE]) else { return };
    let (vm, other) = (Arc::new(vm), Arc::clone(&vcpu));
    let interruptions = |vm: &KvmVm| {
        let counters = &vm.statistics()[0].counters;
        counters.iter().find(|(name, _)| *name == "host_interruptions").unwrap().1
    };
    let watched = Arc::clone(&vm);
    let kicker = std::thread::spawn(move || {
        // Until the heartbeat has called it out, and it has gone on.
        let deadline = Instant::now() + Duration::from_secs(10);
        while interruptions(&watched) < 2 && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        let refused = other.get_state();
        other.kick();
        refused
    });

    assert_eq!(vcpu.run(), Exit::Kicked);

    assert!(matches!(kicker.join().unwrap(), Err(EngineError::Running)));
    assert_eq!(vcpu.get_state().unwrap().rip, CODE);
    assert!(vm.statistics()[0].counters.contains(&("kicks", 1)));
    assert!(interruptions(&vm) >= 3);
}

#[test]
fn a_kick_before_run_is_not_lost() {
    let Some((_vm, _memory, vcpu)) = full(1, &[0xEB, 0xFE]) else { return };
    vcpu.kick();
    vcpu.kick();
    assert_eq!(vcpu.run(), Exit::Kicked);
    vcpu.kick();
    assert_eq!(vcpu.run(), Exit::Kicked);
}

#[test]
fn a_kick_from_a_device_lets_the_access_complete() {
    // mov dx,0x510; in al,dx; mov [0x3000],al; hlt
    let code = [0xBA, 0x10, 0x05, 0xEC, 0xA2, 0x00, 0x30, 0xF4];
    struct Kicker(Mutex<Option<Arc<dyn Vcpu>>>);
    impl Device for Kicker {
        fn read(&self, _: u64, _: u8) -> u64 {
            self.0.lock().unwrap().take().unwrap().kick();
            0x5A
        }
        fn write(&self, _: u64, _: u8, _: u64) {}
    }
    let Some((vm, memory, vcpu)) = bare(&code) else { return };
    vm.ports().map(0x510, 1, Arc::new(Kicker(Mutex::new(Some(Arc::clone(&vcpu)))))).unwrap();

    assert_eq!(vcpu.run(), Exit::Kicked);

    let state = vcpu.get_state().unwrap();
    assert_eq!((state.rip, state.gpr[0] & 0xFF), (CODE + 4, 0x5A));
    assert_eq!(vcpu.run(), Exit::Halt);
    assert_eq!(bytes(&memory, RESULT), [0x5A]);
}

#[test]
fn a_triple_fault_shuts_the_processor_down() {
    // ud2, with no IDT
    let Some((_vm, memory, vcpu)) = bare(&[0x0F, 0x0B]) else { return };
    long_mode(&memory, &*vcpu);
    let mut state = vcpu.get_state().unwrap();
    state.idtr = TableState::default();
    vcpu.set_state(&state).unwrap();
    assert_eq!(vcpu.run(), Exit::Shutdown);
}

#[test]
fn state_survives_a_round_trip_between_machines() {
    let Some((_vm, memory, vcpu)) = full(1, &[0xF4]) else { return };
    long_mode(&memory, &*vcpu);
    let mut wanted = vcpu.get_state().unwrap();
    wanted.gpr = std::array::from_fn(|index| 0x0101_0101_0101_0101 * index as u64);
    (wanted.rip, wanted.rflags, wanted.cr2, wanted.cr8) = (0x1234, 0x8D7, 0xDEAD_B000, 5);
    (wanted.segments[4].base, wanted.segments[5].base) = (0x7FFF_0000_0000, 0xFFFF_8000_0000_1000);
    (wanted.gdtr.base, wanted.gdtr.limit) = (0x5000, 0x7F);
    wanted.dr[0] = 0x4000;
    wanted.xsave[24..28].copy_from_slice(&0x1FA0u32.to_le_bytes()); // MXCSR
    wanted.xsave[160..168].copy_from_slice(&0x0123_4567_89AB_CDEFu64.to_le_bytes()); // XMM0
    wanted.xsave[512] |= 2; // SSE is in use
    let lstar = wanted.msrs.iter_mut().find(|(msr, _)| *msr == 0xC000_0082).unwrap();
    lstar.1 = 0xFFFF_8000_0000_2000;

    let (_other_vm, _other_memory, other) = full(1, &[0xF4]).unwrap();
    other.set_state(&wanted).unwrap();

    let got = other.get_state().unwrap();
    assert_eq!(settled(got), settled(wanted));
}

/// Without what moves by itself.
fn settled(mut state: CpuStateV1) -> CpuStateV1 {
    const TSC: u32 = 0x10;
    const TSC_ADJUST: u32 = 0x3B;
    state.msrs.retain(|(msr, _)| ![TSC, TSC_ADJUST].contains(msr));
    state
}

#[test]
fn a_state_that_no_processor_can_be_in_is_refused() {
    let Some((_vm, _memory, vcpu)) = full(1, &[0xF4]) else { return };
    let mut state = vcpu.get_state().unwrap();
    state.xsave = vec![0; 5000];
    assert!(matches!(vcpu.set_state(&state), Err(EngineError::Refused(_))));
    let mut state = vcpu.get_state().unwrap();
    state.xcr0 = 0; // x87 cannot be off
    assert!(matches!(vcpu.set_state(&state), Err(EngineError::Host { .. })));
    let mut state = vcpu.get_state().unwrap();
    state.msrs.push((0xC000_0082, 1 << 60)); // LSTAR, not canonical
    assert!(matches!(vcpu.set_state(&state), Err(EngineError::Refused(_))));
}

/// AP at 0x2000: mov byte [0x3000],0x77; cli; hlt
const STARTED: [u8; 7] = [0xC6, 0x06, 0x00, 0x30, 0x77, 0xFA, 0xF4];
/// mov ebx,0xFEE00000; ICR high = APIC 1; INIT; SIPI to page 2;
/// wait: cmp byte [0x3000],0x77; jne wait; mov byte [0x3001],1; cli; hlt
const STARTS: [u8; 55] = [
    0xBB, 0x00, 0x00, 0xE0, 0xFE, 0xC7, 0x83, 0x10, 0x03, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0xC7, 0x83,
    0x00, 0x03, 0x00, 0x00, 0x00, 0x45, 0x00, 0x00, 0xC7, 0x83, 0x00, 0x03, 0x00, 0x00, 0x02, 0x46, 0x00,
    0x00, 0x80, 0x3C, 0x25, 0x00, 0x30, 0x00, 0x00, 0x77, 0x75, 0xF6, 0xC6, 0x04, 0x25, 0x01, 0x30, 0x00,
    0x00, 0x01, 0xFA, 0xF4,
];
const SENT: usize = 35; // bytes until both are on their way

#[test]
fn a_processor_that_is_not_plugged_in_starts_only_when_it_is() {
    let mut code = STARTS;
    code[SENT..SENT + 2].copy_from_slice(&[0xFA, 0xF4]); // cli; hlt
    let Some((vm, memory, vcpu)) = full(2, &code) else { return };
    memory.write(0x2000, &STARTED).unwrap();
    let second = vm.vcpu(1).unwrap();
    let power_on = second.get_state().unwrap();
    vm.set_plugged(1, false).unwrap();
    second.set_state(&power_on).unwrap(); // which has its local APIC on
    long_mode(&memory, &*vcpu);
    let first = vcpu.get_state().unwrap();
    assert_eq!(vcpu.run(), Exit::Halt, "the other one is as good as dead");

    vm.set_plugged(1, true).unwrap();
    second.set_state(&power_on).unwrap();
    second.kick();
    assert_eq!(second.run(), Exit::Kicked);
    assert_eq!(second.get_state().unwrap().activity, Activity::WaitForSipi, "nothing waited for it");
    assert_eq!(bytes(&memory, RESULT), [0]);

    memory.write(CODE, &STARTS).unwrap();
    vcpu.set_state(&first).unwrap();
    let thread = std::thread::spawn(move || second.run());
    assert_eq!(vcpu.run(), Exit::Halt);
    assert_eq!(thread.join().unwrap(), Exit::Halt);
    assert_eq!(bytes(&memory, RESULT), [0x77, 1]);
    assert!(matches!(vm.set_plugged(2, true), Err(EngineError::Refused(_))));
}

#[test]
fn an_application_processor_starts_by_init_and_sipi() {
    let Some((vm, memory, vcpu)) = full(2, &STARTS) else { return };
    long_mode(&memory, &*vcpu);
    memory.write(0x2000, &STARTED).unwrap();
    let second = vm.vcpu(1).unwrap();
    assert_eq!(second.get_state().unwrap().activity, Activity::WaitForSipi);
    let thread = std::thread::spawn(move || (second.run(), second.get_state().unwrap()));

    assert_eq!(vcpu.run(), Exit::Halt);

    let (exit, state) = thread.join().unwrap();
    assert_eq!((exit, state.activity), (Exit::Halt, Activity::Halted));
    assert_eq!((state.segments[1].base, state.rip), (0x2000, 7));
    assert_eq!(bytes(&memory, RESULT), [0x77, 1]);
    assert!(vm.vcpu(2).is_none());
}

#[test]
fn a_vcpu_count_out_of_range_is_refused() {
    if usable(KvmVm::new(memory(), 1)).is_none() {
        return;
    }
    for vcpus in [0, 100_000] {
        assert!(matches!(KvmVm::new(memory(), vcpus), Err(EngineError::Refused(_))), "{vcpus}");
    }
}

#[test]
fn a_guest_cannot_write_to_rom() {
    // mov byte [0x3000],1; mov word [0x2000],2; hlt
    let code = [0xC6, 0x06, 0x00, 0x30, 0x01, 0xC7, 0x06, 0x00, 0x20, 0x02, 0x00, 0xF4];
    let memory = Arc::new(GuestMemory::new(&[(0, 0x2000), (0x3000, 0x6000)]).unwrap());
    let Some(vm) = usable(KvmVm::bare(Arc::clone(&memory))) else { return };
    let rom = Ram::take(&memory, 0x1000).unwrap();
    memory.map_ram(0x2000, &rom, 0, 0x1000, true).unwrap();
    let vcpu = real_mode(&vm, &memory, &code);

    assert_eq!(vcpu.run(), Exit::Halt);

    assert_eq!((bytes(&memory, RESULT), bytes(&memory, 0x2000)), ([1], [0]));
    assert!(vm.statistics()[0].counters.contains(&("mmio_writes", 1)));
}

#[test]
fn the_probe_answers_in_under_a_second_and_in_sentences() {
    let found = probe();
    if !found.usable {
        // Unusable for a reason, whatever it is on this host.
        assert!(!found.why.is_empty());
        eprintln!("skipped: {}", found.why);
        return;
    }
    eprintln!("{found:?}");
    assert_eq!(found.api_version, 12);
    assert!(found.backend.starts_with("kvm_"), "{}", found.backend);
    assert!(found.ring0_mips > 0.1);
    let answers = [
        (found.ring0_native, "ring 0 is emulated"),
        (found.syscall, "SYSCALL"),
        (found.paging_32bit, "32-bit paging"),
        (found.int3, "INT3"),
        (found.cpuid_masking, "CPUID"),
        (found.tsc_offset, "TSC"),
    ];
    let sentences: Vec<_> = found.why.split("; ").collect();
    for (good, topic) in answers {
        assert_ne!(good, sentences.iter().any(|sentence| sentence.contains(topic)), "{topic}: {found:?}");
    }
    assert!(found.seconds < 3.0, "{}", found.seconds);
}
