"""The part of a `Machine` that saves it to a file, and begins with what such a file holds."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from innkeeper.config import MachineConfig
from innkeeper.errors import HostError
from innkeeper.firmware import KernelImage
from innkeeper.machine.asked import absolute
from innkeeper.machine.backplane import Layout
from innkeeper.machine.builder import Assembly, Parts, load
from innkeeper.machine.control import BadRequest, Command
from innkeeper.machine.likeness import layout_of
from innkeeper.machine.run_loop import BoardRun
from innkeeper.machine.saving import GuestBusy, How, Progress, Save, Wish, restore
from innkeeper.machine.state_file import SavedMachine
from innkeeper.machine.suspending import Suspension

ATTEMPTS, PAUSE_S = 100, 0.02  # while the guest is busy with what only it can end


def occupied(path: Path) -> HostError:
    return HostError(f"cannot save to {path}: the machine is being saved, asleep, ending, or about to go on")


class Savable:
    """What it uses is its machine's."""

    config: MachineConfig
    _lock: threading.Lock
    _parts: Parts | None
    _assembly: Assembly | None
    _run: BoardRun
    _suspension: Suspension | None
    _saving: Progress | None = None
    description: Callable[[], Mapping[str, Any]] | None = None
    """What its owner wants to be written beside it when it is saved, in plain values."""
    not_saved: str | None = None
    """What keeps it from being saved, in words that follow `a machine with`."""
    restores: Path | None = None
    """A file that a machine of this configuration was saved to: it begins with that."""
    consumes = False
    """The file that it begins with is removed once it has, before its guest runs."""
    vouched = False
    """Somebody has put back what was on its disks when it was saved."""

    relocated = False
    """Disks that have other paths than when it was saved are the same ones: its user says so."""
    bypasses_cache = False
    """The file that it begins with does not stay in the host's cache."""

    def save(self, path: Path, *, about: Mapping[str, Any] | None = None, bypass_cache: bool = False) -> int:
        """Writes the whole machine to a file, with its description and what is said `about` it, and ends it.

        With `paused` in the description it was suspended. Returns when the file is complete, how many bytes of memory are in it. Raises `InnkeeperError` if it cannot be; then the machine runs on.
        """
        return self.save_as(Wish(path, about=about or {}, bypass_cache=bypass_cache))

    def save_as(self, wish: Wish) -> int:
        """The same in all ways that there are."""
        for _ in range(ATTEMPTS):
            with suppress(GuestBusy):
                return self._try_to_save(wish)
            time.sleep(PAUSE_S)
        return self._try_to_save(wish)

    def _try_to_save(self, wish: Wish) -> int:
        path = wish.path
        with self._lock:
            if self._parts is None or self._assembly is None:
                raise HostError(f"cannot save to {path}: the machine does not run")
            if self.not_saved is not None:
                raise HostError(f"cannot save a machine with {self.not_saved}")
            if busy := self.busy_disks():
                raise HostError(
                    f"cannot save a machine with a block job of disk {busy[0]}; wait for its end, or abort it"
                )
            suspension = self._suspension if self._suspension is not None and self._suspension.stands else None
            save = Save(self.config, self._parts, self._assembly, wish, self._described, still=suspension is not None)
            if not (self._run.pause(save) if suspension is None else suspension.errand(save)):
                raise occupied(path)
            self._saving = save.progress  # and not all that it holds on to
        try:
            save.wait()
        finally:
            self._saving = None
        return save.progress.total

    def _described(self) -> Mapping[str, Any]:
        """Asked while it stands still, so that it is of what is saved."""
        return self.description() if self.description is not None else {}

    def busy_disks(self) -> list[str]:
        raise NotImplementedError

    def save_progress(self) -> tuple[int, int, int] | None:
        """Bytes written and to be written, and for how many milliseconds, while it is being saved."""
        saving = self._saving
        if saving is None:
            return None
        return saving.done, saving.total, int((time.monotonic() - saving.begun) * 1000)

    def abort_save(self) -> None:
        """The machine goes on instead. Raises `HostError` unless it is being saved."""
        saving = self._saving
        if saving is None:
            raise HostError("the machine is not being saved")
        saving.aborted = True

    def save_commands(self) -> dict[str, Command]:
        """For the control socket."""
        return {
            "save": self._asked_to_save,
            "save-progress": lambda _asked: self.save_progress(),
            "save-abort": lambda _asked: self.abort_save(),
            "describe": lambda _asked: dict(self.description()) if self.description is not None else None,
        }

    def _asked_to_save(self, asked: Mapping[str, Any]) -> object:
        file = absolute(asked, "file")
        about = asked.get("about", {})
        if not isinstance(about, dict):
            raise BadRequest("about must be a JSON object")
        return self.save(file, about=about, bypass_cache=bool(asked.get("bypass_cache")))

    def _saved_layout(self) -> Layout | None:
        """Of the machine that it begins as, if there is one: its devices belong into the same slots. Raises `InnkeeperError`."""
        if self.restores is None:
            return None
        with SavedMachine(self.restores) as saved:
            return layout_of(saved)

    def _fill(self, kernel: KernelImage | None, parts: Parts, assembly: Assembly) -> None:
        """Memory, devices and processors as they are to begin: as saved, or else as after power-on."""
        path, self.restores = self.restores, None  # a reset starts over
        if path is None:
            load(self.config, kernel, parts, assembly)
            return
        with SavedMachine(path) as saved:
            how = How(
                consume=self.consumes,
                vouched=self.vouched,
                relocated=self.relocated,
                bypass_cache=self.bypasses_cache,
            )
            restore(saved, self.config, parts, assembly, how)
