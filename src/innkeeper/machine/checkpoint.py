"""The part of a `Machine` that keeps what it is at one moment, memory and disks together, and runs on.

Memory, processors and devices go into a file, as when it is saved; once that is complete, and before the machine goes on, its disks
are given snapshots within their images, or move onto overlays. If they cannot, the file is removed again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from innkeeper.config import MachineConfig
from innkeeper.errors import ConfigError, HostError, ImageError
from innkeeper.machine.asked import absolute, text, texts
from innkeeper.machine.control import BadRequest, Command
from innkeeper.machine.figures import image_of
from innkeeper.machine.live import Changeable
from innkeeper.machine.savable import Savable, occupied
from innkeeper.machine.saving import Wish


class Checkpointed(Changeable, Savable):
    """What it uses is its machine's."""

    def checkpoint_commands(self) -> dict[str, Command]:
        """For the control socket."""
        return {"checkpoint": self._asked_for_checkpoint, "forget-snapshot": self._asked_to_forget}

    def save_as(self, wish: Wish) -> int:
        """As `Savable.save_as`. What is plugged in and pulled out meanwhile comes after it."""
        if self._saving is not None:
            raise occupied(wish.path)
        with self.live.held(ends=wish.ends):
            return super().save_as(wish)

    def checkpoint(
        self, file: Path, name: str, *, inside: list[str], overlays: Mapping[str, str] | None = None, end: bool = False
    ) -> None:
        """Keeps the machine in `file`; disks get the snapshot `name` `inside` their images, or move onto `overlays`.

        It runs on, unless it is to `end`. Raises `InnkeeperError`; then it runs on as if nothing had been.
        """

        def keep_disks() -> None:
            if overlays:
                self.live.lay_overlays_held(overlays)
            if inside:
                self.snapshot("create", name, inside)

        self.save_as(Wish(file, ends=end, then=keep_disks))

    def snapshot(self, action: Literal["create", "delete"], name: str, disks: Sequence[str]) -> None:
        """Makes or forgets a snapshot within the images of disks: in all at one moment, or none. Raises `InnkeeperError`."""
        from innkeeper import _core

        for target in disks:
            self.live.jobs.check_idle(target)
        images = [image_of(self.live.disk(target)) for target in disks]
        if None in images:
            raise ConfigError(f"drive {disks[images.index(None)]} is empty, so no snapshot can be in it")
        try:
            _core.snapshot_disks(images, action, name)
        except OSError as error:
            raise HostError(error.strerror or str(error)) from error
        except ValueError as error:
            raise ImageError(str(error)) from error

    @property
    def config_now(self) -> MachineConfig:
        """The configuration with the devices that it has now: what it is restored by, once it was saved.

        Raises `HostError` unless it runs.
        """
        return self.live.present().within(self.config)

    def _asked_for_checkpoint(self, asked: Mapping[str, Any]) -> object:
        overlays = texts(asked, "overlays") if asked.get("overlays") else None
        self.checkpoint(
            absolute(asked, "file"),
            text(asked, "name"),
            inside=targets_of(asked),
            overlays=overlays,
            end=bool(asked.get("end")),
        )
        return None

    def _asked_to_forget(self, asked: Mapping[str, Any]) -> object:
        self.snapshot("delete", text(asked, "name"), targets_of(asked))
        return None


def targets_of(asked: Mapping[str, Any]) -> list[str]:
    """Raises `BadRequest` unless they are texts."""
    found = asked.get("disks")
    if not isinstance(found, list) or not all(isinstance(target, str) for target in found):
        raise BadRequest(f"disks is {found!r}; it must be a list of targets")
    return found
