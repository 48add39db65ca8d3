"""The files of one machine's process, by the machine's name."""

from pathlib import Path

from innkeeper.folders import runtime_folder, state_folder

CONSOLE = "console"


def console_of(name: str) -> Path:
    """The socket of a running machine's serial console."""
    return runtime_folder() / name / CONSOLE


def log_of(name: str) -> Path:
    """What the process of a machine said, and why it ended."""
    return state_folder() / f"{name}.log"
