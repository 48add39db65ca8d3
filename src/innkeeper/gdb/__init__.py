"""gdb's remote serial protocol: a debugger outside looks into a guest and stops it where it likes.

Left out: non-stop mode, tracepoints, several processes, files.
"""

from innkeeper.gdb.server import GdbServer
from innkeeper.gdb.target import Stopped, Target, Watching, WatchKind

__all__ = ["GdbServer", "Stopped", "Target", "WatchKind", "Watching"]
