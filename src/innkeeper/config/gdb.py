"""Where a debugger may connect: `PORT` on the loopback interface or `unix:PATH`, and `,wait`."""

from pathlib import Path

from innkeeper.errors import ConfigError
from innkeeper.records import dataclass

FORMS = "PORT, unix:PATH, or one of them and ,wait"
PORT_LIMIT = 65535


@dataclass(frozen=True, slots=True, kw_only=True)
class GdbConfig:
    """Exactly one of `port` (0: any that is free) and `path`."""

    port: int | None = None
    path: Path | None = None
    wait: bool = False  # the guest's first instruction waits for a debugger

    def __post_init__(self) -> None:
        if (self.port is None) == (self.path is None):
            raise ConfigError(f"gdb must be given a port or a path; the forms are {FORMS}")

    @classmethod
    def parse(cls, text: str) -> "GdbConfig":
        """Reads the command line's form.

        >>> GdbConfig.parse("1234,wait")
        GdbConfig(port=1234, path=None, wait=True)
        """
        where, comma, word = text.partition(",")
        wait = bool(comma) and word == "wait"
        if comma and not wait:
            raise ConfigError(f"gdb is {text!r}; it must be {FORMS}")
        if where.startswith("unix:") and len(where) > len("unix:"):
            return cls(path=Path(where.removeprefix("unix:")), wait=wait)
        if not (where.isascii() and where.isdigit() and int(where) <= PORT_LIMIT):
            raise ConfigError(f"gdb is {text!r}; it must be {FORMS}")
        return cls(port=int(where), wait=wait)
