//! Watches of memory while vCPUs run: nobody waits for them, and no store is lost.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::*;
use crate::bus::Device;
use crate::memory::{PAGE_SIZE, Ram, WriteWatch};
use crate::state::{Activity, SegmentState};

const RAM: u64 = 0x9_0000;
const CODE: u64 = 0x1000;
/// The words of each vCPU, a page apart: which round it is, and which it has done.
const MAILBOX: u64 = 0x6000;
const ROUND: u64 = 0;
const DONE: u64 = 4;
const STACK: u64 = 0x2_0000;
/// The range, seen twice.
const SEEN_AT: [u64; 2] = [0x4000_0000, 0x5000_0000];
const PAGES: u64 = 16;
const BYTES: u64 = PAGES * PAGE_SIZE;
const PORT: u64 = 0x510;
const PATIENCE: Duration = Duration::from_secs(60);

core::arch::global_asm!(
    r#"
.pushsection .rodata
.globl innkeeper_watch_guest, innkeeper_watch_end
.code32
// EBX: the range; EDI: the mailbox; ESI: dice.
innkeeper_watch_guest:
  xorl %ebp, %ebp
watch_wait:
  pause
  movl (%edi), %eax
  cmpl %eax, %ebp
  je watch_wait
  movl %eax, %ebp
  movl $12, %ecx
watch_store:
  imull $1664525, %esi, %esi
  addl $1013904223, %esi
  movl %esi, %edx
  shrl $8, %edx
  andl $0xFFFC, %edx
  testl $0x70000000, %esi
  jz watch_fill
  movl %esi, (%ebx, %edx)
watch_next:
  decl %ecx
  jnz watch_store
  movl %ebp, 4(%edi)
  jmp watch_wait
watch_fill: // 40 bytes, of which some may lie behind the range
  pushl %edi
  pushl %ecx
  leal (%ebx, %edx), %edi
  movl %esi, %eax
  movl $10, %ecx
  cld
  rep stosl
  popl %ecx
  popl %edi
  jmp watch_next
innkeeper_watch_end:
.code64
.popsection
"#,
    options(att_syntax)
);

unsafe extern "C" {
    static innkeeper_watch_guest: u8;
    static innkeeper_watch_end: u8;
}

fn random_stores() -> &'static [u8] {
    let start = &raw const innkeeper_watch_guest;
    // SAFETY: the assembler put the labels around one run of bytes.
    unsafe { std::slice::from_raw_parts(start, (&raw const innkeeper_watch_end).offset_from(start) as usize) }
}

/// A machine whose vCPUs run `code` in flat 32-bit mode, and a watch of a range of its memory.
struct Scene {
    memory: Arc<GuestMemory>,
    ram: Arc<Ram>,
    vm: SoftVm,
    told: Arc<AtomicU32>,
    watch: WriteWatch,
}

impl Scene {
    fn new(settings: Settings, vcpus: u32, code: &[u8]) -> Self {
        let memory = Arc::new(GuestMemory::new(&[(0, RAM)]).unwrap());
        memory.write(CODE, code).unwrap();
        let ram = Arc::new(Ram::take(&memory, BYTES).unwrap());
        SEEN_AT.iter().for_each(|&gpa| memory.map_ram(gpa, &ram, 0, BYTES, false).unwrap());
        let vm = SoftVm::with_settings(Arc::clone(&memory), vcpus, settings).unwrap();
        let told = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&told);
        let watch = WriteWatch::new(&ram, Arc::new(move || _ = count.fetch_add(1, Ordering::SeqCst)));
        let scene = Self { memory, ram, vm, told, watch };
        (0..vcpus).for_each(|index| scene.start(index));
        scene
    }

    fn start(&self, index: u32) {
        let vcpu = self.vm.vcpu(index).unwrap();
        let mut state = vcpu.get_state().unwrap();
        let flat = |selector, attributes| SegmentState { selector, attributes, limit: u32::MAX, base: 0 };
        state.segments = [flat(16, 0xC093); 6];
        state.segments[1] = flat(8, 0xC09B);
        (state.cr0, state.rip, state.activity) = (0x11, CODE, Activity::Runnable);
        state.gpr[3] = SEEN_AT[index as usize % 2]; // EBX
        state.gpr[4] = STACK + u64::from(index) * PAGE_SIZE;
        state.gpr[6] = u64::from(index) * 77 + 1; // ESI
        state.gpr[7] = mailbox(index); // EDI
        vcpu.set_state(&state).unwrap();
    }

    fn holds(&self) -> bool {
        self.watch.holds(0..BYTES).unwrap()
    }

    fn told(&self) -> u32 {
        self.told.swap(0, Ordering::SeqCst)
    }

    fn word(&self, gpa: u64) -> u32 {
        let mut bytes = [0; 4];
        self.memory.read(gpa, &mut bytes).unwrap();
        u32::from_le_bytes(bytes)
    }

    fn picture(&self) -> Vec<u8> {
        let mut bytes = vec![0; BYTES as usize];
        self.ram.read(0, &mut bytes).unwrap();
        bytes
    }
}

fn mailbox(index: u32) -> u64 {
    MAILBOX + u64::from(index) * PAGE_SIZE
}

/// Runs `test` with interpreting vCPUs, and with translating ones where the host can.
fn in_both_tiers(test: impl Fn(Settings)) {
    test(Settings { translate: false, ..Settings::default() });
    if bt_unavailable().is_none() {
        test(Settings { code_cache_bytes: 8 << 20, ..Settings::default() });
    }
}

fn until(what: &str, condition: impl Fn() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < PATIENCE, "{what} does not come about");
        thread::yield_now();
    }
}

/// A device that keeps whoever reads it.
struct Waiting {
    inside: Sender<()>,
    go_on: Mutex<Receiver<()>>,
}

impl Device for Waiting {
    fn read(&self, _offset: u64, _size: u8) -> u64 {
        self.inside.send(()).unwrap();
        self.go_on.lock().unwrap().recv_timeout(PATIENCE).unwrap();
        0
    }
    fn write(&self, _offset: u64, _size: u8, _value: u64) {}
}

#[test]
fn nobody_waits_for_a_vcpu_that_is_in_a_device() {
    // mov byte [ebx],1; mov dx,0x510; in al,dx; mov byte [ebx+1],2; jmp $+2; mov byte [ebx+2],3; cli; hlt
    let code =
        [0xC6, 3, 1, 0x66, 0xBA, 0x10, 5, 0xEC, 0xC6, 0x43, 1, 2, 0xEB, 0, 0xC6, 0x43, 2, 3, 0xFA, 0xF4];
    in_both_tiers(|settings| {
        let scene = Scene::new(settings, 1, &code);
        let ((inside, is_inside), (let_go, go_on)) = (mpsc::channel(), mpsc::channel());
        scene.vm.ports().map(PORT, 1, Arc::new(Waiting { inside, go_on: Mutex::new(go_on) })).unwrap();
        thread::scope(|scope| {
            let vcpu = scene.vm.vcpu(0).unwrap();
            let exit = scope.spawn(move || vcpu.run());
            is_inside.recv_timeout(PATIENCE).unwrap();
            for _ in 0..100 {
                assert!(!scene.holds(), "it can still write where it has written");
            }
            assert_eq!(scene.told(), 0);
            let_go.send(()).unwrap();
            assert_eq!(exit.join().unwrap(), Exit::Halt);
        });
        assert_eq!(scene.picture()[..3], [1, 2, 3]);
        assert!(scene.told() <= 1);
        assert!(scene.holds(), "nobody runs");
        scene.memory.write(SEEN_AT[1] + 5, &[1]).unwrap();
        assert_eq!(scene.told(), 1);
    });
}

/// Rests and looks until all vCPUs have done `round`; gives what it has seen last.
fn look(scene: &Scene, vcpus: u32, round: u32) -> Vec<u8> {
    let (begun, mut seen, mut rests) = (Instant::now(), Vec::new(), false);
    loop {
        assert!(begun.elapsed() < PATIENCE, "round {round} does not come to rest");
        let last = (0..vcpus).all(|index| scene.word(mailbox(index) + DONE) == round);
        if !rests || scene.told() != 0 {
            rests = scene.holds();
            seen = scene.picture();
        } else if last {
            return seen;
        } else {
            thread::yield_now();
        }
    }
}

#[test]
fn no_store_of_two_vcpus_is_lost_on_whoever_rests() {
    const ROUNDS: u32 = 300;
    in_both_tiers(|settings| {
        let scene = Scene::new(settings, 2, random_stores());
        let over = AtomicBool::new(false);
        let vcpus: Vec<_> = (0..2).map(|index| scene.vm.vcpu(index).unwrap()).collect();
        thread::scope(|scope| {
            for vcpu in &vcpus {
                let over = &over;
                scope.spawn(move || {
                    while !over.load(Ordering::SeqCst) {
                        assert_eq!(vcpu.run(), Exit::Kicked);
                    }
                });
            }
            let rounds = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                for round in 1..=ROUNDS {
                    for index in 0..2 {
                        scene.memory.write(mailbox(index) + ROUND, &round.to_le_bytes()).unwrap();
                    }
                    match round % 4 {
                        0 => vcpus[round as usize / 4 % 2].kick(),
                        1 => scene.memory.write(SEEN_AT[0] + u64::from(round), &[round as u8]).unwrap(),
                        _ => {}
                    }
                    let seen = look(&scene, 2, round);
                    assert!(seen == scene.picture(), "round {round}: nobody told of the last store");
                    if round % 32 == 0 {
                        scene.memory.unmap_ram(SEEN_AT[1]).unwrap();
                        scene.memory.map_ram(SEEN_AT[1], &scene.ram, 0, BYTES, false).unwrap();
                    }
                }
            }));
            over.store(true, Ordering::SeqCst);
            vcpus.iter().for_each(|vcpu| vcpu.kick());
            rounds.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        });
    });
}

#[test]
fn vcpus_that_wait_or_were_never_started_keep_no_watch_from_holding() {
    // mov byte [ebx],1; mov [edi+4],ebx; sti; hlt; jmp to the hlt
    let code = [0xC6, 3, 1, 0x89, 0x5F, 4, 0xFB, 0xF4, 0xEB, 0xFD];
    in_both_tiers(|settings| {
        let scene = Scene::new(settings, 2, &code);
        let mut state = scene.vm.vcpu(1).unwrap().get_state().unwrap();
        state.activity = Activity::WaitForSipi;
        scene.vm.vcpu(1).unwrap().set_state(&state).unwrap();
        let vcpus: Vec<_> = (0..2).map(|index| scene.vm.vcpu(index).unwrap()).collect();
        thread::scope(|scope| {
            vcpus.iter().for_each(|vcpu| _ = scope.spawn(move || vcpu.run()));
            until("the store", || scene.word(mailbox(0) + DONE) != 0);
            until("rest", || scene.holds());
            assert_eq!((scene.told(), scene.picture()[0]), (0, 1));
            vcpus.iter().for_each(|vcpu| vcpu.kick());
        });
        assert!(scene.holds());
    });
}
