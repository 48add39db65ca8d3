"""The part of a `Machine` that saves it to a file, and begins with what such a file holds."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from innkeeper.config import MachineConfig
from innkeeper.errors import HostError
from innkeeper.firmware import KernelImage
from innkeeper.machine.builder import Assembly, Parts, load
from innkeeper.machine.control import BadRequest, Command
from innkeeper.machine.run_loop import BoardRun
from innkeeper.machine.saving import Progress, Save, restore
from innkeeper.machine.state_file import SavedMachine


class Savable:
    """What it uses is its machine's."""

    config: MachineConfig
    _lock: threading.Lock
    _parts: Parts | None
    _assembly: Assembly | None
    _run: BoardRun
    _restores: Path | None
    _saving: Progress | None = None

    def save(self, path: Path, description: Mapping[str, Any] | None = None) -> None:
        """Writes the whole machine to a file, and ends it. `description` is kept with it, in plain values.

        Returns when the file is complete. Raises `InnkeeperError` if it cannot be; then the machine runs on.
        """
        with self._lock:
            if self._parts is None or self._assembly is None:
                raise HostError(f"cannot save to {path}: the machine does not run")
            save = Save(self.config, self._parts, self._assembly, path, description or {})
            if not self._run.pause(save):
                raise HostError(f"cannot save to {path}: the machine is being saved, sleeps or ends")
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
        path, description = asked.get("path"), asked.get("description", {})
        if not isinstance(path, str) or not path.startswith("/") or "\0" in path:
            raise BadRequest("path must be an absolute path")
        if not isinstance(description, dict):
            raise BadRequest("description must be an object")
        self.save(Path(path), description)
        return None

    def _fill(self, kernel: KernelImage | None, parts: Parts, assembly: Assembly) -> None:
        """Memory, devices and processors as they are to begin: as saved, or else as after power-on."""
        path, self._restores = self._restores, None  # a reset starts over
        if path is None:
            load(self.config, kernel, parts, assembly)
            return
        with SavedMachine(path) as saved:
            restore(saved, self.config, parts, assembly)
