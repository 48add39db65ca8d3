"""Where the guest's serial console goes on the host: `stdio`, `none`, `file:PATH`, `pty`, `unix:PATH`."""

from enum import StrEnum
from pathlib import Path

from innkeeper.errors import ConfigError
from innkeeper.records import dataclass


class ConsoleKind(StrEnum):
    """The host side of a serial console."""

    STDIO = "stdio"
    NONE = "none"
    FILE = "file"
    PTY = "pty"
    UNIX = "unix"
    MEMORY = "memory"  # for programs: `innkeeper.console.MemoryConsole`


KINDS_WITH_PATH = (ConsoleKind.FILE, ConsoleKind.UNIX)
FORMS = "stdio, none, file:PATH, pty or unix:PATH"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleConfig:
    """One console. `path` is given exactly for the kinds `file` and `unix`."""

    kind: ConsoleKind = ConsoleKind.STDIO
    path: Path | None = None
    append: bool = False  # a file keeps what earlier runs said

    def __post_init__(self) -> None:
        needs_path = self.kind in KINDS_WITH_PATH
        if needs_path and self.path is None:
            raise ConfigError(f"console {self.kind} needs a path, as in {self.kind}:PATH")
        if not needs_path and self.path is not None:
            raise ConfigError(f"console {self.kind} takes no path; got {self.path}")
        if self.append and self.kind is not ConsoleKind.FILE:
            raise ConfigError(f"console {self.kind} has append; only a file is added to")

    @classmethod
    def parse(cls, text: str) -> "ConsoleConfig":
        """Reads the command line's form of a console.

        >>> ConsoleConfig.parse("file:/tmp/serial.log").path
        PosixPath('/tmp/serial.log')
        """
        name, colon, path = text.partition(":")
        spoken = {kind.value for kind in ConsoleKind} - {ConsoleKind.MEMORY}
        if name not in spoken or (colon and not path):
            raise ConfigError(f"console is {text!r}; it must be {FORMS}")
        return cls(kind=ConsoleKind(name), path=Path(path) if path else None)
