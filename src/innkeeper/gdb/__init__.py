"""gdb's remote serial protocol: a debugger outside looks into a guest and stops it where it likes.

Left out: non-stop mode, tracepoints, several processes, files.
"""

from typing import TYPE_CHECKING

from innkeeper.gdb.target import Stopped, Target, Watching, WatchKind
from innkeeper.lazy import lazily

if TYPE_CHECKING:
    from innkeeper.gdb.server import GdbServer

__all__ = ["GdbServer", "Stopped", "Target", "WatchKind", "Watching"]

__getattr__ = lazily(__name__, {"GdbServer": "innkeeper.gdb.server"})
