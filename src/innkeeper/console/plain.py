"""Consoles that only take: `none` and `file:PATH`."""

import os
from pathlib import Path

from innkeeper.console.base import Leave, Receive
from innkeeper.console.input import write_all
from innkeeper.console.output import Output
from innkeeper.errors import HostError


class NoConsole:
    """Nobody listens and nobody types."""

    def start(self, receive: Receive, leave: Leave) -> None: ...
    def write(self, data: bytes, /) -> None: ...
    def close(self) -> None: ...


class FileConsole:
    """A file that holds what the guest sent, from the start of this run; or with `append` behind what was there."""

    def __init__(self, path: Path, *, append: bool = False) -> None:
        how = os.O_APPEND if append else os.O_TRUNC
        try:
            self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | how | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise HostError(f"cannot write the console to {path}: {error.strerror}") from error
        self._output = Output(lambda data: write_all(self._descriptor, data))
        self._closed = False

    def start(self, receive: Receive, leave: Leave) -> None:
        """A file does not type."""

    def write(self, data: bytes, /) -> None:
        self._output.write(data)

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._output.close()
            os.close(self._descriptor)
