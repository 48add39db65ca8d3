"""What the command asks of the manager that will run the machine: whose pools, files and folders these are is the manager's to say.

A path on the command line is one of the folder that the command was given in; the manager works elsewhere, and gets whole paths.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from innkeeper.cli.installing.going import tell_removed
from innkeeper.cli.machines import common
from innkeeper.config import DiskConfig
from innkeeper.config.plain import from_plain, to_plain
from innkeeper.errors import ConfigError
from innkeeper.manager.installation.media import Location
from innkeeper.manager.installation.order import Wanted

if TYPE_CHECKING:
    from innkeeper.manager.service import Manager

FILE, FOLDER, NOTHING = "file", "folder", "nothing"


class Host:
    """The manager, reached when something is asked for the first time."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._arguments = arguments
        self._reached: Manager | None = None

    @property
    def manager(self) -> Manager:
        if self._reached is None:
            self._reached = common.manager(self._arguments)
            if self._arguments.print_xml is None:  # which changes nothing; else what is left is not in the way
                tell_removed(self._reached.installations.sweep())
        return self._reached

    def kind(self, path: Path) -> str:
        return self.manager.node.kind(str(path))

    def existing(self, path: str | None) -> Path | None:
        """The whole path of a file. Raises `ConfigError` if there is none."""
        if path is None:
            return None
        found = Path(path).absolute()
        if self.kind(found) != FILE:
            raise ConfigError(f"there is no file {path}")
        return found

    def folder(self, name: str) -> Path:
        """Where the files of a machine's first start will be."""
        return Path(self.manager.installations.places(name)["folder"])

    def variables(self, name: str) -> Path:
        """Where a machine keeps its UEFI variables if nobody says where."""
        return Path(self.manager.installations.places(name)["variables"])

    def system(self, location: Location) -> str | None:
        """What is on a medium; None if it does not say."""
        return self.manager.installations.system(to_plain(location))

    def disks(self, name: str, wanted: Sequence[Wanted]) -> tuple[list[DiskConfig], list[DiskConfig]]:
        """As the machine has them, and those that are to be made."""
        if not wanted:
            return [], []
        found = self.manager.installations.disks(name, [to_plain(each) for each in wanted])
        disks, missing = ([from_plain(DiskConfig, disk) for disk in found[key]] for key in ("disks", "missing"))
        return disks, missing


def whole(disk: DiskConfig) -> DiskConfig:
    """With whole paths."""
    path, below = disk.path, disk.backing_store
    return replace(disk, path=path and path.absolute(), backing_store=below and below.absolute())
