"""`inn image`: what each kind makes or does is in a module of its own, loaded only when it is named.

Kernels and initramfs are in `small_guests`, whole disks in `rootfs`, installers in `installer`, disk images in `images`.
"""

import argparse
import json
from functools import partial
from importlib import import_module
from typing import cast

from innkeeper.cli import images
from innkeeper.cli.parser import Parser
from innkeeper.cli.status import Status

GUESTS = {
    "kernel": ("fetch a Debian kernel; prints its path", "small_guests", "register_kernel"),
    "rootfs": ("make a bootable Debian disk; prints its path", "rootfs", "register"),
    "installer": ("make a disc that installs Debian without a network; prints its path", "installer", "register"),
    "initramfs": ("build an initramfs; prints its path", "small_guests", "register_initramfs"),
}


def register(parser: argparse.ArgumentParser) -> None:
    kinds = parser.add_subparsers(metavar="KIND", required=True)
    for name, (summary, module, function) in GUESTS.items():
        kind = cast("Parser", kinds.add_parser(name, help=summary, allow_abbrev=False))
        kind.later = partial(load, kind, module, function)
    for name, summary in images.TOOLS.items():
        kind = cast("Parser", kinds.add_parser(name, help=summary, allow_abbrev=False))
        kind.later = partial(images.register, kind, name)


def load(parser: argparse.ArgumentParser, module: str, function: str) -> None:
    getattr(import_module(f"innkeeper.cli.{module}"), function)(parser)


def execute(arguments: argparse.Namespace) -> int:
    if "tool" in arguments:
        return cast("images.Tool", arguments.tool).execute(arguments)
    path, facts = arguments.build(arguments)
    print(json.dumps({"path": str(path), **facts}, indent=2) if arguments.json else path)
    return Status.DONE
