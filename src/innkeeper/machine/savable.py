"""The part of a `Machine` that saves it to a file, and begins with what such a file holds."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from innkeeper.config import MachineConfig
from innkeeper.errors import HostError
from innkeeper.firmware import KernelImage
from innkeeper.machine.builder import Assembly, Parts, load
from innkeeper.machine.control import BadRequest, Command
from innkeeper.machine.run_loop import BoardRun
from innkeeper.machine.saving import GuestBusy, Progress, Save, restore
from innkeeper.machine.state_file import SavedMachine

ATTEMPTS, PAUSE_S = 100, 0.02  # while the guest is busy with what only it can end


class Savable:
    """What it uses is its machine's."""

    config: MachineConfig
    _lock: threading.Lock
    _parts: Parts | None
    _assembly: Assembly | None
    _run: BoardRun
    _saving: Progress | None = None
    description: Mapping[str, Any] = {}
    """What its owner wants to be written beside it when it is saved, in plain values."""
    not_saved: str | None = None
    """What keeps it from being saved, in words that follow `a machine with`."""
    restores: Path | None = None
    """A file that a machine of this configuration was saved to: it begins with that."""
    consumes = False
    """The file that it begins with is removed once it has, before its guest runs."""

    def save(self, path: Path) -> None:
        """Writes the whole machine to a file, and ends it.

        Returns when the file is complete. Raises `InnkeeperError` if it cannot be; then the machine runs on.
        """
        for _ in range(ATTEMPTS):
            with suppress(GuestBusy):
                return self._try_to_save(path)
            time.sleep(PAUSE_S)
        return self._try_to_save(path)

    def _try_to_save(self, path: Path) -> None:
        with self._lock:
            if self._parts is None or self._assembly is None:
                raise HostError(f"cannot save to {path}: the machine does not run")
            if self.not_saved is not None:
                raise HostError(f"cannot save a machine with {self.not_saved}")
            save = Save(self.config, self._parts, self._assembly, path, self.description)
            if not self._run.pause(save):
                raise HostError(f"cannot save to {path}: the machine is suspended, being saved, asleep or ending")
            self._saving = save.progress  # and not all that it holds on to
        try:
            save.wait()
        finally:
            self._saving = None

    def save_progress(self) -> tuple[int, int] | None:
        """Bytes written and to be written, while it is being saved."""
        saving = self._saving
        return None if saving is None else (saving.done, saving.total)

    def save_commands(self) -> dict[str, Command]:
        """For the control socket."""
        return {"save": self._asked_to_save, "save-progress": lambda _asked: self.save_progress()}

    def _asked_to_save(self, asked: Mapping[str, Any]) -> object:
        file = asked.get("file")
        if not isinstance(file, str) or not file.startswith("/") or "\0" in file:
            raise BadRequest("file must be an absolute path")
        self.save(Path(file))
        return None

    def _fill(self, kernel: KernelImage | None, parts: Parts, assembly: Assembly) -> None:
        """Memory, devices and processors as they are to begin: as saved, or else as after power-on."""
        path, self.restores = self.restores, None  # a reset starts over
        if path is None:
            load(self.config, kernel, parts, assembly)
            return
        with SavedMachine(path) as saved:
            restore(saved, self.config, parts, assembly, consume=self.consumes)
