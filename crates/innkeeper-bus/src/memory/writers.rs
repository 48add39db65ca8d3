//! Who may write to a page of RAM without reporting it, and watches that hear of the next write to a range.
//!
//! A word per page says which vCPUs may have a way to write to it unreported, and whether it is watched. Whoever asks for leave to
//! write to a watched page, or reports a write to one, ends the watch and rings. A watch begins by marking its pages, then the
//! vCPUs that had leave are asked to drop it, and it holds when all have. Nobody waits for them: the owner of the watch asks again.
//!
//! Left out: the flags that a processor sets in page tables, and the indices that a device stores in its rings, are not reported.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::guest::{PAGE_SHIFT, chunks};
use super::{GuestMemory, MemoryError, PAGE_SIZE, Ram};

/// The bit of a page's word that says that it is watched; the others are vCPUs'.
const WATCHED: u64 = 1 << 63;

/// The bit of a vCPU among a page's writers. Where there are more than 63, some share one.
pub fn writer(vcpu: u32) -> u64 {
    1 << (vcpu % 63)
}

/// An engine whose vCPUs keep ways to pages, and so write without reporting it.
pub trait Engine: Send + Sync {
    /// Asks the vCPUs that `find` names, as bits of [`writer`], to drop every way to write that they have, and gives those bits;
    /// it must not wait for them. `find` runs while no other request of the kind is under way. If one is, it does not run at all,
    /// and the answer is `None`.
    fn withdraw(&self, find: &mut dyn FnMut() -> u64) -> Option<u64>;
    /// Those of `writers` that may still have what they were asked to drop.
    fn holding(&self, writers: u64) -> u64;
}

/// Called when a watch ends because of a write: by whoever writes, which may be a vCPU. It must not wait for long.
pub type Told = Arc<dyn Fn() + Send + Sync>;

/// The watches of one memory.
#[derive(Default)]
pub(super) struct Watches {
    /// Some page may be watched.
    any: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    engine: Option<Arc<dyn Engine>>,
    begun: Vec<Begun>,
}

/// A watch that no write has ended yet.
struct Begun {
    told: Told,
    pages: Range<u32>,
    /// Writers that have yet to drop the leave that they had before.
    holding: u64,
}

impl Watches {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl GuestMemory {
    /// Names the engine that writes to this memory from now on, unless it cannot withhold write access: then no watch holds.
    pub fn set_engine(&self, engine: Option<Arc<dyn Engine>>) {
        let mut state = self.watches.lock();
        state.engine = engine;
        let told = self.end(&mut state, |_| true);
        drop(state);
        told.iter().for_each(|told| told());
    }

    /// Asks for leave to write to the page without reporting it, now and until the vCPU is told to
    /// drop its write access. False if the page has code: then each write must be reported.
    pub fn write_unreported(&self, page: u32, vcpu: u32) -> bool {
        self.record_writer(page, vcpu);
        self.code_chunks[page as usize].load(Ordering::SeqCst) == 0
    }

    /// Has whoever watches the page from now on know of a vCPU that writes to it, and whoever watches it already hear of that: before
    /// the write. Tells whether it was not recorded yet.
    pub fn record_writer(&self, page: u32, vcpu: u32) -> bool {
        let (writers, mine) = (&self.writers[page as usize], writer(vcpu));
        // Recorded before the look at the bitmap and at the mark of a watch, while `mark_code` and `begin` do it the other way
        // round: one of the two sees the other.
        let mut before = writers.load(Ordering::SeqCst);
        if before & mine == 0 {
            before = writers.fetch_or(mine, Ordering::SeqCst);
        }
        if before & WATCHED != 0 {
            self.end_watches_of(page); // the write follows, and whoever watches anew waits until it is done
        }
        before & mine == 0
    }

    /// Records that a block came from `[offset, offset + length)` of the page. If this made the page
    /// a code page, gives the [`writer`]s that may have leave to write to it: they must drop it.
    pub fn mark_code(&self, page: u32, offset: u64, length: u64) -> u64 {
        let before = self.code_chunks[page as usize].fetch_or(chunks(offset, length), Ordering::SeqCst);
        if before != 0 {
            return 0;
        }
        self.writers[page as usize].fetch_and(WATCHED, Ordering::SeqCst) & !WATCHED
    }

    /// Ends the watches of a page that was written to, behind a fence behind the write.
    #[inline]
    pub(super) fn tell_watches(&self, page: u32) {
        if self.watches.any.load(Ordering::SeqCst)
            && self.writers[page as usize].load(Ordering::SeqCst) & WATCHED != 0
        {
            self.end_watches_of(page);
        }
    }

    #[cold]
    fn end_watches_of(&self, page: u32) {
        let told = self.end(&mut self.watches.lock(), |begun| begun.pages.contains(&page));
        told.iter().for_each(|told| told());
    }

    /// Ends some watches; gives whom to tell, once the lock is free.
    fn end(&self, state: &mut State, which: impl Fn(&Begun) -> bool) -> Vec<Told> {
        let ended: Vec<_> = state.begun.extract_if(.., |begun| which(begun)).collect();
        for page in ended.iter().flat_map(|begun| begun.pages.clone()) {
            if !state.begun.iter().any(|begun| begun.pages.contains(&page)) {
                self.writers[page as usize].fetch_and(!WATCHED, Ordering::SeqCst);
            }
        }
        self.watches.any.store(!state.begun.is_empty(), Ordering::SeqCst);
        ended.into_iter().map(|begun| begun.told).collect()
    }

    /// Begins a watch, or looks how far one is: whether it holds.
    fn watch(&self, told: &Told, pages: Range<u32>) -> bool {
        let mut state = self.watches.lock();
        let Some(engine) = state.engine.clone() else { return false };
        let same = |begun: &Begun| Arc::ptr_eq(&begun.told, told);
        let known = state.begun.iter().position(|begun| same(begun) && begun.pages == pages);
        let at = known.or_else(|| {
            self.end(&mut state, same);
            self.begin(&mut state, &*engine, told, pages)
        });
        let Some(begun) = at.map(|at| &mut state.begun[at]) else { return false };
        begun.holding = engine.holding(begun.holding);
        // Whoever writes looks for watches behind a fence behind the bytes: if it saw none, its bytes are seen from here on.
        fence(Ordering::SeqCst);
        begun.holding == 0
    }

    /// The index of a new watch, if the engine takes the request now.
    fn begin(&self, state: &mut State, engine: &dyn Engine, told: &Told, pages: Range<u32>) -> Option<usize> {
        // The writers stay recorded: until they have answered they are writers, also to those who decode code.
        let mark = |page: u32| self.writers[page as usize].fetch_or(WATCHED, Ordering::SeqCst) & !WATCHED;
        let mut find = || {
            self.watches.any.store(true, Ordering::SeqCst);
            pages.clone().fold(0, |all, page| all | mark(page))
        };
        let holding = engine.withdraw(&mut find)?;
        state.begun.push(Begun { told: Arc::clone(told), pages, holding });
        Some(state.begun.len() - 1)
    }
}

/// A watch of a range of RAM, wherever guests see it, by vCPUs and devices alike. It ends with the first write, and is begun
/// again by whoever owns it.
pub struct WriteWatch {
    ram: Arc<Ram>,
    told: Told,
}

impl WriteWatch {
    /// Of nothing yet.
    pub fn new(ram: &Arc<Ram>, told: Told) -> Self {
        Self { ram: Arc::clone(ram), told }
    }

    /// Watches these bytes, to the page, and no others: whether the next write to them will be told of. What is written until this
    /// says so may not be: whoever wants to know of that looks at the bytes afterwards. False also while vCPUs have yet
    /// to drop their write access (soon it will be true), and where the engine cannot tell of writes (it never will).
    ///
    /// # Errors
    /// [`MemoryError::OutOfRam`].
    pub fn holds(&self, bytes: Range<u64>) -> Result<bool, MemoryError> {
        let pages = self.ram.pages(bytes)?;
        Ok(self.ram.memory().watch(&self.told, pages))
    }

    /// Ends it. A write that is being told of may still be.
    pub fn end(&self) {
        let memory = self.ram.memory();
        memory.end(&mut memory.watches.lock(), |begun| Arc::ptr_eq(&begun.told, &self.told));
    }
}

impl Drop for WriteWatch {
    fn drop(&mut self) {
        self.end();
    }
}

/// The pages of the mapping that hold `[start, end)`.
pub(super) fn pages(start: u64, end: u64) -> Range<u32> {
    (start >> PAGE_SHIFT) as u32..end.div_ceil(PAGE_SIZE) as u32
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicU32, AtomicU64};
    use std::thread;

    use super::*;

    const PAGES: u64 = 8;
    const BYTES: u64 = PAGES * PAGE_SIZE;
    /// Where the range is seen, twice.
    const HERE: u64 = 0xE000_0000;
    const THERE: u64 = 0xF000_0000;

    /// An engine whose vCPUs are told what to do by tests.
    #[derive(Default)]
    struct Vcpus {
        /// Who is asked to drop its ways and has not yet, and who runs: the others do it before they go on.
        asked: AtomicU64,
        in_guest: AtomicU64,
        marking: Mutex<()>,
    }

    impl Engine for Vcpus {
        fn withdraw(&self, find: &mut dyn FnMut() -> u64) -> Option<u64> {
            let _marking = self.marking.try_lock().ok()?;
            let writers = find();
            self.asked.fetch_or(writers, Ordering::SeqCst);
            Some(writers)
        }
        fn holding(&self, writers: u64) -> u64 {
            self.in_guest.load(Ordering::SeqCst) & self.asked.load(Ordering::SeqCst) & writers
        }
    }

    /// A piece of memory seen twice, its engine, and a watch of it that counts what it is told.
    struct Scene {
        memory: Arc<GuestMemory>,
        ram: Arc<Ram>,
        vcpus: Arc<Vcpus>,
        told: Arc<AtomicU32>,
        watch: WriteWatch,
    }

    fn watch_of(ram: &Arc<Ram>) -> (WriteWatch, Arc<AtomicU32>) {
        let told = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&told);
        let watch = WriteWatch::new(ram, Arc::new(move || _ = count.fetch_add(1, Ordering::SeqCst)));
        (watch, told)
    }

    impl Scene {
        fn new() -> Self {
            let memory = Arc::new(GuestMemory::new(&[(0, 4 * PAGE_SIZE)]).unwrap());
            let ram = Arc::new(Ram::take(&memory, BYTES).unwrap());
            memory.map_ram(HERE, &ram, 0, BYTES, false).unwrap();
            memory.map_ram(THERE, &ram, 0, BYTES, false).unwrap();
            let vcpus = Arc::new(Vcpus::default());
            memory.set_engine(Some(Arc::clone(&vcpus) as _));
            let (watch, told) = watch_of(&ram);
            Self { memory, ram, vcpus, told, watch }
        }

        fn holds(&self, pages: Range<u64>) -> bool {
            self.watch.holds(pages.start * PAGE_SIZE..pages.end * PAGE_SIZE).unwrap()
        }

        fn told(&self) -> u32 {
            self.told.swap(0, Ordering::SeqCst)
        }

        fn page(&self, number: u64) -> u32 {
            self.memory.page_index(HERE).unwrap() + number as u32
        }
    }

    #[test]
    fn a_page_that_becomes_code_names_those_who_wrote_to_it_since_it_last_did() {
        let memory = GuestMemory::new(&[(0, 2 * PAGE_SIZE)]).unwrap();
        assert!(
            memory.write_unreported(1, 0) && memory.write_unreported(1, 3) && memory.write_unreported(0, 1)
        );
        assert_eq!(memory.mark_code(1, 0x40, 1), writer(0) | writer(3));
        assert_eq!(memory.mark_code(1, 0x80, 1), 0);
        assert!(!memory.write_unreported(1, 2));
        memory.write(PAGE_SIZE + 0x40, &[0]).unwrap();
        assert!(memory.write_unreported(1, 65));
        assert_eq!(memory.mark_code(1, 0, 1), writer(2));
        assert!(memory.record_writer(1, 2), "a write that is reported has its writer recorded too");
        assert!(!memory.record_writer(1, 2));
        memory.write(PAGE_SIZE, &[0]).unwrap();
        assert_eq!(memory.mark_code(1, 0, 1), writer(2));
    }

    #[test]
    fn the_first_write_of_whatever_kind_ends_a_watch() {
        let scene = Scene::new();
        let (memory, ram) = (&scene.memory, &scene.ram);
        let writes: [(&str, &dyn Fn()); 9] = [
            ("a device", &|| memory.write(HERE + 3 * PAGE_SIZE - 1, &[1, 2]).unwrap()),
            ("by another way", &|| memory.write(THERE + 2 * PAGE_SIZE, &[1]).unwrap()),
            ("the owner", &|| ram.write(2 * PAGE_SIZE, &[1]).unwrap()),
            ("in place", &|| ram.note_written(4 * PAGE_SIZE - 1, 1).unwrap()),
            ("a vCPU", &|| assert!(memory.write_unreported(scene.page(3), 0))),
            ("beside code", &|| _ = memory.code_written(scene.page(2), 8, 1)),
            ("given back", &|| memory.discard(HERE, 4 * PAGE_SIZE).unwrap()),
            ("a buffer", &|| {
                memory.buffer_written(&memory.structure(HERE + 2 * PAGE_SIZE, 4, 4, true).unwrap())
            }),
            ("a large write", &|| memory.write(HERE, &[7; BYTES as usize]).unwrap()),
        ];
        for (who, write) in writes {
            assert!(scene.holds(2..4), "{who}");
            memory.write(HERE + 2 * PAGE_SIZE - 1, &[1]).unwrap();
            memory.write(HERE + 4 * PAGE_SIZE, &[1]).unwrap();
            assert!(memory.write_unreported(scene.page(1), 0) && memory.write_unreported(scene.page(4), 0));
            assert_eq!(scene.told(), 0, "{who}");
            write();
            assert_eq!(scene.told(), 1, "{who}");
            write();
            assert_eq!(scene.told(), 0, "{who}, again");
        }
    }

    #[test]
    fn a_watch_holds_once_all_that_may_have_a_way_have_dropped_it() {
        let scene = Scene::new();
        scene.vcpus.in_guest.store(u64::MAX, Ordering::SeqCst);
        for vcpu in [0, 2] {
            assert!(scene.memory.write_unreported(scene.page(1), vcpu));
        }
        assert!(scene.memory.write_unreported(scene.page(5), 4));
        assert!(!scene.holds(0..4));
        assert_eq!(scene.vcpus.asked.load(Ordering::SeqCst), writer(0) | writer(2));
        scene.vcpus.asked.fetch_and(!writer(0), Ordering::SeqCst);
        assert!(!scene.holds(0..4));
        // One of them writes where it has no way yet: the watch is over, and the other is asked again by the next.
        assert!(scene.memory.write_unreported(scene.page(2), 0));
        assert_eq!(scene.told(), 1);
        scene.vcpus.asked.store(writer(2), Ordering::SeqCst);
        assert!(!scene.holds(0..4));
        assert_eq!(scene.vcpus.asked.load(Ordering::SeqCst), writer(0) | writer(2));
        scene.vcpus.asked.store(0, Ordering::SeqCst);
        assert!(scene.holds(0..4) && scene.holds(0..4));
        assert_eq!(scene.vcpus.asked.load(Ordering::SeqCst), 0, "nobody is asked twice");
    }

    #[test]
    fn those_who_are_asked_are_still_writers_to_who_decodes_code() {
        let scene = Scene::new();
        scene.vcpus.in_guest.store(writer(2), Ordering::SeqCst);
        assert!(scene.memory.write_unreported(scene.page(1), 2));
        assert!(!scene.holds(0..4));
        assert_eq!(scene.memory.mark_code(scene.page(1), 0, 1), writer(2));
        assert!(!scene.memory.write_unreported(scene.page(1), 1), "the write is to be reported");
        assert_eq!(scene.told(), 1);
        scene.vcpus.asked.store(0, Ordering::SeqCst);
        assert!(scene.holds(0..4), "code pages are watched too");
        assert!(!scene.memory.code_written(scene.page(1), 0x800, 1) && scene.told() == 1);
    }

    #[test]
    fn nothing_holds_while_a_page_becomes_code_or_without_an_engine_that_tells() {
        let scene = Scene::new();
        {
            let _becomes_code = scene.vcpus.marking.lock().unwrap();
            assert!(!scene.holds(0..4));
            scene.memory.write(HERE, &[1]).unwrap();
            assert_eq!(scene.told(), 0);
        }
        assert!(scene.holds(0..4));
        scene.memory.set_engine(None);
        assert_eq!((scene.told(), scene.holds(0..4)), (1, false), "whoever rests learns of it");
        assert!(scene.watch.holds(0..BYTES + 1).is_err());
    }

    #[test]
    fn watches_overlap_move_and_end() {
        let scene = Scene::new();
        let (other, other_told) = watch_of(&scene.ram);
        let heard = || (scene.told(), other_told.swap(0, Ordering::SeqCst));
        let write = |page: u64| scene.memory.write(HERE + page * PAGE_SIZE, &[1]).unwrap();
        assert!(scene.holds(0..3) && other.holds(2 * PAGE_SIZE..5 * PAGE_SIZE).unwrap());
        write(0);
        assert_eq!(heard(), (1, 0));
        write(2);
        assert_eq!(heard(), (0, 1), "the page that both had is still watched by the one");
        assert!(scene.holds(0..3) && other.holds(2 * PAGE_SIZE..5 * PAGE_SIZE).unwrap());
        write(2);
        assert_eq!(heard(), (1, 1));
        assert!(scene.holds(0..3) && scene.holds(4..6));
        write(1);
        assert_eq!(heard(), (0, 0), "it has moved");
        write(5);
        assert_eq!(heard(), (1, 0));
        assert!(scene.holds(0..3) && other.holds(0..1).unwrap());
        scene.watch.end();
        drop(other);
        write(0);
        assert_eq!(heard(), (0, 0));
        assert_eq!(scene.memory.writers[scene.page(0) as usize].load(Ordering::SeqCst) & WATCHED, 0);
        assert!(!scene.memory.watches.any.load(Ordering::SeqCst));
    }

    #[test]
    fn pages_are_watched_wherever_they_are_seen() {
        let scene = Scene::new();
        assert!(scene.holds(0..PAGES));
        scene.memory.unmap_ram(HERE).unwrap();
        scene.memory.map_ram(0xC000_0000, &scene.ram, PAGE_SIZE, PAGE_SIZE, false).unwrap();
        assert_eq!(scene.told(), 0);
        scene.memory.write(0xC000_0000, &[1]).unwrap();
        assert_eq!(scene.told(), 1);
    }

    /// One that writes as a vCPU does, with ways that it keeps until it is asked to drop them.
    fn vcpu(scene: &Scene, number: u32, writes: u64, random: &mut impl FnMut() -> u64) {
        let (me, mut ways) = (writer(number), 0u64);
        scene.vcpus.in_guest.fetch_or(me, Ordering::SeqCst);
        for _ in 0..writes {
            if scene.vcpus.asked.load(Ordering::SeqCst) & me != 0 {
                ways = 0;
                scene.vcpus.asked.fetch_and(!me, Ordering::SeqCst);
            }
            let page = random() % PAGES;
            if ways >> page & 1 == 0 {
                assert!(scene.memory.write_unreported(scene.page(page), number));
                ways |= 1 << page;
            }
            let byte = page * PAGE_SIZE + random() % PAGE_SIZE;
            scene.ram.bytes()[byte as usize].store(random() as u8, Ordering::Relaxed);
        }
        scene.vcpus.in_guest.fetch_and(!me, Ordering::SeqCst);
    }

    fn dice(mut state: u64) -> impl FnMut() -> u64 {
        move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state >> 20
        }
    }

    fn device(scene: &Scene, writes: u64, random: &mut impl FnMut() -> u64) {
        for _ in 0..writes {
            let at = [HERE, THERE][(random() % 2) as usize] + random() % BYTES;
            scene.memory.write(at, &[random() as u8]).unwrap();
        }
    }

    /// Rests and looks while `running` counts writers; gives what it has seen last.
    fn look(scene: &Scene, running: &AtomicU32) -> Vec<u8> {
        let (mut seen, mut rests) = (vec![0; BYTES as usize], false);
        loop {
            let last = running.load(Ordering::SeqCst) == 0;
            if !rests || scene.told() != 0 {
                rests = scene.holds(0..PAGES);
                scene.ram.read(0, &mut seen).unwrap();
            } else if last {
                return seen;
            }
        }
    }

    #[test]
    fn whoever_rests_has_seen_everything_or_is_told() {
        let scene = Scene::new();
        for round in 1..=2000u64 {
            let (start, running) = (Barrier::new(4), AtomicU32::new(3));
            let seen = thread::scope(|scope| {
                for number in 0..3u32 {
                    let (scene, start, running) = (&scene, &start, &running);
                    scope.spawn(move || {
                        let mut random = dice(8 * round + u64::from(number));
                        start.wait();
                        (0..random() % 2000).for_each(|_| std::hint::spin_loop());
                        let writes = random() % 6;
                        match number {
                            2 => device(scene, writes, &mut random),
                            _ => vcpu(scene, number, writes, &mut random),
                        }
                        running.fetch_sub(1, Ordering::SeqCst);
                    });
                }
                start.wait();
                look(&scene, &running)
            });
            let mut now = vec![0; BYTES as usize];
            scene.ram.read(0, &mut now).unwrap();
            assert!(seen == now, "round {round}: nobody told of the last write");
        }
    }
}
