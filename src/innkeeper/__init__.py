"""Innkeeper: a hypervisor for x86-64 machines, Python outside and Rust inside.

The rooms and what each may import are drawn in `docs/architecture.md`.
"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("innkeeper")
except PackageNotFoundError:  # run straight from the source tree, never installed
    __version__ = "0+source"

__all__ = ["__version__"]
