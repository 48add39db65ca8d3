"""`inn image kernel` and `inn image initramfs`: small guests out of Debian's packages."""

import argparse
from pathlib import Path
from typing import Any

from innkeeper.errors import ConfigError
from innkeeper.image import DEFAULT_PACKAGE, InitramfsRecipe, build_initramfs, fetch_kernel


def register_kernel(parser: argparse.ArgumentParser) -> None:
    parser.description = "Fetch a kernel from Debian's packages into the user's cache and print its path."
    parser.add_argument(
        "--package", default=DEFAULT_PACKAGE, help="a kernel's package or a metapackage (default: %(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="print release, version and paths as JSON")
    parser.set_defaults(build=kernel)


def register_initramfs(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Build an initramfs of busybox, kernel modules, your files and your init script, and print its path. "
        "A script gets the kernel's file systems mounted and the modules loaded by: . /etc/innkeeper/setup"
    )
    parser.add_argument("--init", type=Path, metavar="SCRIPT", help="your /init; by default a shell on the console")
    parser.add_argument(
        "--file",
        type=source_and_place,
        action="append",
        default=[],
        metavar="SRC:DST",
        help="a file or directory of the host and its absolute place in the guest",
    )
    parser.add_argument(
        "--module", action="append", default=[], metavar="NAME", help="a kernel module, taken with all it needs"
    )
    parser.add_argument(
        "--package",
        default=DEFAULT_PACKAGE,
        help="the kernel whose modules they are (default: %(default)s)",
    )
    parser.add_argument("--busybox", type=Path, metavar="PATH", help="instead of the one of package busybox-static")
    parser.add_argument("--output", type=Path, metavar="PATH", help="instead of a place in the user's cache")
    parser.add_argument("--json", action="store_true", help="print the path and size as JSON")
    parser.set_defaults(build=initramfs)


def source_and_place(text: str) -> tuple[Path, str]:
    source, colon, place = text.rpartition(":")
    if not colon or not source or not place.startswith("/"):
        raise argparse.ArgumentTypeError(f"{text!r} is not SRC:DST with an absolute DST")
    return Path(source), place


def kernel(arguments: argparse.Namespace) -> tuple[Path, dict[str, Any]]:
    image = fetch_kernel(arguments.package)
    facts = {
        "package": image.package,
        "version": image.version,
        "release": image.release,
        "modules": str(image.modules),
    }
    return image.vmlinuz, facts


def initramfs(arguments: argparse.Namespace) -> tuple[Path, dict[str, Any]]:
    if arguments.output is not None and arguments.output.is_dir():
        raise ConfigError(f"output {arguments.output} is a directory; it must be a file's name")
    recipe = InitramfsRecipe(
        modules=tuple(arguments.module),
        modules_directory=fetch_kernel(arguments.package).modules if arguments.module else None,
        files=tuple(arguments.file),
        init=arguments.init,
        busybox=arguments.busybox,
    )
    path = build_initramfs(recipe, arguments.output)
    return path, {"size": path.stat().st_size}
