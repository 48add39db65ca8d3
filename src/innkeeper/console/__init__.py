"""The host side of a serial console: where its bytes go and come from."""

from typing import TYPE_CHECKING

from innkeeper.lazy import lazily

if TYPE_CHECKING:
    from innkeeper.console.base import Console
    from innkeeper.console.memory import MemoryConsole
    from innkeeper.console.opening import open_console
    from innkeeper.console.raw import raw_terminal

__all__ = ["Console", "MemoryConsole", "open_console", "raw_terminal"]

__getattr__ = lazily(
    __name__,
    {
        "Console": "innkeeper.console.base",
        "MemoryConsole": "innkeeper.console.memory",
        "open_console": "innkeeper.console.opening",
        "raw_terminal": "innkeeper.console.raw",
    },
)
