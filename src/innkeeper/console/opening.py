"""Which console a configuration means."""

from innkeeper.config import ConsoleConfig, ConsoleKind
from innkeeper.console.base import Console
from innkeeper.console.memory import MemoryConsole
from innkeeper.console.plain import FileConsole, NoConsole
from innkeeper.console.pty import PtyConsole
from innkeeper.console.stdio import StdioConsole
from innkeeper.console.unix import UnixConsole


def open_console(config: ConsoleConfig) -> Console:
    """The console that `config` describes. Raises `HostError` if the host does not give it."""
    match config.kind, config.path:
        case ConsoleKind.STDIO, None:
            return StdioConsole()
        case ConsoleKind.NONE, None:
            return NoConsole()
        case ConsoleKind.PTY, None:
            return PtyConsole()
        case ConsoleKind.MEMORY, None:
            return MemoryConsole()
        case ConsoleKind.FILE, path if path is not None:
            return FileConsole(path, append=config.append)
        case ConsoleKind.UNIX, path if path is not None:
            return UnixConsole(path)
        case kind, path:
            raise AssertionError(f"a console of kind {kind} with path {path} passed validation")
