"""What a machine has on the host: the files that are its own, and the lines that lead to it."""

import os
import socket
from pathlib import Path

from innkeeper.config import DiskDevice
from innkeeper.errors import HostError
from innkeeper.manager.domain_xml import read_xml
from innkeeper.manager.store import Row
from innkeeper.manager.wire import Descriptor


def files_of(row: Row, *, storage: bool, nvram: bool) -> list[Path]:
    machine = read_xml(row.xml).machine
    files = []
    if storage:
        files += [disk.path for disk in machine.disks if disk.device is DiskDevice.DISK and not disk.readonly]
    if nvram and machine.firmware is not None:
        files.append(machine.firmware.vars)
    return [file for file in files if file is not None]


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
