"""Where the memory of machines is kept that have snapshots with it: beside their definitions, a file for each snapshot."""

from pathlib import Path
from uuid import UUID, uuid5

from innkeeper.folders import state_folder


def folder() -> Path:
    found = state_folder() / "snapshots"
    found.mkdir(mode=0o700, exist_ok=True)
    return found


def memory_file(domain: UUID, name: str) -> Path:
    """A snapshot's: the same whenever it is asked for, whatever the name has in it."""
    return folder() / f"{domain}.{uuid5(domain, name)}"


def memory_files(domain: UUID) -> list[Path]:
    """All that are there, of one machine."""
    return sorted(folder().glob(f"{domain}.*"))
