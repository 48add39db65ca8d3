//! The frame of a block: its prologue, its exits, and its rarely needed code.

use super::*;

impl Emitter<'_> {
    /// What the block's entry is made to lead to when its bytes have changed.
    pub(super) fn grave(&mut self) -> usize {
        let here = self.cold.here();
        self.cold.mov_imm(R10, self.source.key.rip);
        self.cold.jmp_to(self.translator.cache.thunks.exit_indirect);
        here
    }

    /// Counts executions, where that is wanted; gives the counter.
    pub(super) fn count(&mut self) -> Option<usize> {
        let (counter, address) = self.translator.tracer.as_mut()?.counter();
        trace::count(&mut self.hot, address, self.source.key.rip, self.block);
        Some(counter)
    }

    pub(super) fn prologue(&mut self, flags_live: bool) {
        if self.x87 {
            self.require(field!(x87_loaded), flags_live, |from, back| Cold::LoadX87 { from, back });
        }
        if self.vector {
            self.require(field!(vectors_loaded), flags_live, |from, back| Cold::LoadVectors { from, back });
        }
    }

    pub(super) fn require(&mut self, loaded: usize, flags_live: bool, load: impl Fn(usize, usize) -> Cold) {
        if flags_live {
            put_flags_aside(&mut self.hot);
        }
        self.hot.cmp_byte(gs(loaded), 0);
        let from = self.hot.jcc(cc::E);
        let back = self.hot.here();
        if flags_live {
            take_flags_back(&mut self.hot);
        }
        self.pending.push(load(from, back));
    }

    /// Registers the exit whose jump's displacement ends at `site` (0: it has none to be chained).
    pub(super) fn exit(&mut self, site: usize, target: u64, mode: Mode) -> ExitId {
        let id = (self.translator.cache.exits.len() + self.exits.len()) as ExitId;
        self.exits.push(Exit {
            from: self.block,
            target,
            site: site as u32,
            stub: 0,
            mode,
            warm_vector: self.vector,
            warm_x87: self.x87,
            chained: None,
        });
        if site != 0 {
            self.pending.push(Cold::Stub { exit: id });
        }
        id
    }

    pub(super) fn site(&mut self, instruction: &Instruction, access: Access) -> SiteId {
        let id = (self.translator.cache.sites.len() + self.sites.len()) as SiteId;
        self.sites.push(Site {
            block: self.block,
            offset: (instruction.ip() - self.source.key.rip) as u16,
            length: instruction.len() as u8,
            access,
            size: 0,
            align: 0,
            retry: 0,
            next: 0,
            found: 0,
            single: false,
            run: false,
            op: None,
        });
        id
    }

    pub(super) fn site_mut(&mut self, id: SiteId) -> &mut Site {
        let first = self.translator.cache.sites.len();
        &mut self.sites[id as usize - first]
    }

    /// Where the block's instruction at `rip` begins, if it was translated for `mode`.
    pub(super) fn start_of(&self, rip: u64, mode: Mode) -> Option<usize> {
        let same = |&&(start, found, _): &&(u64, Mode, usize)| start == rip && found == mode;
        self.starts.iter().find(same).map(|&(.., host)| host)
    }

    /// The same for a jump back. Where blocks are counted a loop is a block of its own.
    pub(super) fn loop_start(&self, rip: u64, mode: Mode) -> Option<usize> {
        let counted = self.translator.tracer.is_some() && rip != self.source.key.rip;
        if counted { None } else { self.start_of(rip, mode) }
    }

    /// Resolves the jumps to instructions further down, or makes exits of them.
    pub(super) fn bind_forward(&mut self) {
        for (site, target, mode) in std::mem::take(&mut self.forward) {
            match self.start_of(target, mode) {
                Some(host) => self.hot.patch(site, host),
                None => self.jump_out(site, target, mode),
            }
        }
    }

    /// Has the hot jump `site` leave the block.
    pub(super) fn jump_out(&mut self, site: usize, target: u64, mode: Mode) {
        if self.is_far(target) {
            self.pending.push(Cold::Far { from: site, target, mode, flags: true });
        } else {
            self.exit(site, target, mode);
        }
    }

    pub(super) fn finish_cold(&mut self) {
        let thunks = self.translator.cache.thunks;
        let mut pending: VecDeque<Cold> = std::mem::take(&mut self.pending).into();
        while let Some(work) = pending.pop_front() {
            let here = self.cold.here();
            match work {
                Cold::Slow { from, instruction, what, site } => {
                    from.into_iter().for_each(|from| self.hot.patch(from, here));
                    let mut cold = std::mem::take(&mut self.cold);
                    self.address(&mut cold, &instruction, what);
                    self.cold = cold;
                    self.cold.mov_imm(R11, site.into());
                    self.cold.jmp_to(thunks.slow);
                }
                Cold::Emulate { from, site, flags } => {
                    from.into_iter().for_each(|from| self.hot.patch(from, here));
                    if flags {
                        take_flags_back(&mut self.cold);
                    }
                    self.cold.mov_imm(R11, site.into());
                    self.cold.jmp_to(thunks.emulate);
                }
                Cold::Unpaired { from, view, flags } => {
                    self.hot.patch(from, here);
                    if flags {
                        take_flags_back(&mut self.cold);
                        self.cold.jmp_to(thunks.look_up_keeping[view]);
                    } else {
                        self.cold.jmp_to(thunks.look_up[view]);
                    }
                }
                Cold::Record { from, rip } => {
                    self.hot.patch(from, here);
                    trace::record(&mut self.cold, rip, self.block);
                    self.cold.jmp_to(from);
                }
                Cold::Far { from, target, mode, flags } => {
                    self.hot.patch(from, here);
                    self.far_jump(target, mode, flags);
                }
                Cold::Stub { exit } => {
                    let first = self.translator.cache.exits.len();
                    let record = &mut self.exits[exit as usize - first];
                    record.stub = here as u32;
                    let site = record.site as usize;
                    self.cold.mov_imm(R11, exit.into());
                    self.cold.jmp_to(thunks.exit);
                    if site >= self.cold.start {
                        self.cold.patch(site, here);
                    } else if site != 0 {
                        self.hot.patch(site, here);
                    }
                }
                Cold::LoadVectors { from, back } => {
                    self.hot.patch(from, here);
                    self.cold.call_to(thunks.load_vectors);
                    self.cold.jmp_to(back);
                }
                Cold::LoadX87 { from, back } => {
                    self.hot.patch(from, here);
                    // lea r11, [rip + back]
                    self.cold.raw(&[0x4C, 0x8D, 0x1D, 0, 0, 0, 0]);
                    let end = self.cold.here();
                    self.cold.patch(end, back);
                    self.cold.jmp_to(thunks.load_x87);
                }
            }
            pending.extend(self.pending.drain(..));
        }
    }

    /// Whether a direct branch to `target` may not be chained: a program's, to another page.
    pub(super) fn is_far(&self, target: u64) -> bool {
        // Near a page's end an instruction may go on in the next.
        let crossing = target & (PAGE_SIZE - 1) > PAGE_SIZE - 15;
        self.mode.user() && (crossing || target >> 12 != self.source.key.rip >> 12)
    }

    /// Goes to a far target, in the cold region.
    pub(super) fn far_jump(&mut self, target: u64, mode: Mode, flags: bool) {
        if flags {
            put_flags_aside(&mut self.cold);
        }
        self.cold.mov_imm(R10, target);
        let miss = look_up(&mut self.cold, mode.view(), Target::Constant(target));
        self.cold.load(R10, at(R11, JUMP_CODE));
        if flags {
            take_flags_back(&mut self.cold);
        }
        self.cold.jmp_reg(R10);
        let exit = self.exit(0, target, mode);
        let here = self.cold.here();
        self.cold.patch(miss, here);
        self.leave_far(exit, flags);
    }

    /// Leaves, in the cold region, by an exit that is never chained.
    pub(super) fn leave_far(&mut self, exit: ExitId, flags: bool) {
        if flags {
            take_flags_back(&mut self.cold);
        }
        self.cold.mov_imm(R11, exit.into());
        let thunk = self.translator.cache.thunks.exit;
        self.cold.jmp_to(thunk);
    }

    /// Leaves, in the cold region, because a poll found something, with the branch taken.
    pub(super) fn leave_polled(&mut self, exit: ExitId, flags: bool) {
        if flags {
            take_flags_back(&mut self.cold);
        }
        self.cold.mov_imm(R11, (exit | POLL).into());
        let thunk = self.translator.cache.thunks.exit;
        self.cold.jmp_to(thunk);
    }
}
