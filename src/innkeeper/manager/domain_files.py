"""What a machine has on the host: the files that are its own, and the lines that lead to it."""

import os
import socket
from collections.abc import Sequence
from pathlib import Path

from innkeeper.config import DiskDevice
from innkeeper.config.targets import targets
from innkeeper.errors import ConfigError, HostError
from innkeeper.manager.domain_xml import read_xml
from innkeeper.manager.snapshots.places import memory_files
from innkeeper.manager.store import Row, Store
from innkeeper.manager.wire import Descriptor


def files_of(row: Row, *, storage: bool, disks: Sequence[str] = (), nvram: bool) -> list[Path]:
    """What goes with a machine that is forgotten: what snapshots keep of its memory, which nobody would find any more; with
    `storage` the files of all disks that it may write to; or of `disks`, by their targets or files. Raises `ConfigError`.
    """
    machine = read_xml(row.xml).machine
    files: list[Path | None] = [*memory_files(row.uuid)]
    if storage:
        files += [disk.path for disk in machine.disks if disk.device is DiskDevice.DISK and not disk.readonly]
    known = dict(zip(targets(machine.disks), machine.disks, strict=True))
    for name in disks:
        found = [disk.path for target, disk in known.items() if name in (target, str(disk.path))]
        if not found:
            raise ConfigError(f"machine {row.name} has no disk {name}; it has {', '.join(known) or 'none at all'}")
        if found[0] is None:
            raise ConfigError(f"drive {name} of machine {row.name} has nothing in it whose file could go")
        files.append(found[0])
    if nvram and machine.firmware is not None:
        files.append(machine.firmware.vars)
    return [file for file in files if file is not None]


def remove_debris() -> tuple[list[str], dict[str, str]]:
    """Removes the files of machines that are forgotten, also if a manager before this one was killed while it did.

    Tells which, and of those that are still there why.
    """
    removed, failed = [], {}
    with Store() as store:
        for path in store.debris():
            try:
                if path.is_file():
                    path.unlink()
                    removed.append(str(path))
            except OSError as error:
                failed[str(path)] = error.strerror or str(error)
            store.forget_debris(path)
    return removed, failed


def open_line(path: str, name: str) -> Descriptor:
    """A machine's socket or pseudo-terminal. Raises `HostError`."""
    try:
        if not Path(path).is_socket():
            return Descriptor(os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
        with socket.socket(socket.AF_UNIX) as line:
            line.connect(path)
            return Descriptor(line.detach())
    except OSError as error:
        raise HostError(f"cannot reach {path} of {name}: {error.strerror}") from error
