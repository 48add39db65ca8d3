"""A guest's screen in the terminal of `inn run`: characters as characters, pictures in half blocks."""

from innkeeper.display.terminal.screen import TerminalScreen

__all__ = ["TerminalScreen"]
