"""The verbs of `inn image` that work on disk images: one file each, with qemu-img's words and options."""

import argparse
from importlib import import_module
from typing import Protocol, cast

TOOLS = {
    "create": "make a disk image",
    "info": "say what a disk image is",
    "check": "look whether a disk image is consistent, and repair it",
    "convert": "copy a disk into a new image, of another format maybe",
    "resize": "give a disk another size",
    "snapshot": "list, make, go back to or forget snapshots within an image",
    "commit": "write an overlay's changes into what it is backed by",
    "rebase": "back an overlay by another image",
    "map": "say where each part of a disk is",
    "compare": "look whether two disks have the same contents",
}


class Tool(Protocol):
    """What each tool's module has."""

    def register(self, parser: argparse.ArgumentParser) -> None: ...
    def execute(self, arguments: argparse.Namespace) -> int: ...


def register(parser: argparse.ArgumentParser, name: str) -> None:
    """Gives a tool's parser its arguments."""
    tool = cast("Tool", import_module(f"innkeeper.cli.images.{name}"))
    tool.register(parser)
    parser.set_defaults(tool=tool)
