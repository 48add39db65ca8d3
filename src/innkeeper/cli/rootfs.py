"""`inn image rootfs`: a bootable Debian disk, made without root out of Debian's packages."""

import argparse
import secrets
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from innkeeper.cli.progress import ProgressBar
from innkeeper.cli.words import say
from innkeeper.config import KeyValues
from innkeeper.errors import ConfigError
from innkeeper.image.rootfs import RootfsRecipe, build_rootfs
from innkeeper.storage import FORMATS, Conversion, convert

SEED_FILES = ("user-data", "meta-data", "network-config", "vendor-data")


def register(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Make a disk image with a Debian system that boots by BIOS and UEFI, with consoles on the screen and on the "
        "serial port, and print its path. Needs mmdebstrap, and no privileges."
    )
    parser.add_argument("output", type=Path, metavar="DISK", help="the image to be made; it must not exist")
    parser.add_argument("--format", choices=FORMATS, default="raw", help="of the image (default: %(default)s)")
    parser.add_argument("--size", type=float, default=4.0, metavar="GIB", help="of the disk (default: %(default)s)")
    parser.add_argument("--suite", default="bookworm", help="the Debian release (default: %(default)s)")
    parser.add_argument(
        "--kernel", default="linux-image-cloud-amd64", metavar="PACKAGE", help="its kernel (default: %(default)s)"
    )
    parser.add_argument("--package", action="append", default=[], metavar="NAME", help="one more package; repeat it")
    parser.add_argument("--hostname", default="innkeeper", help="(default: %(default)s)")
    parser.add_argument("--root-password", metavar="TEXT", help="by default one is made up and printed on stderr")
    parser.add_argument(
        "--ssh-key", type=Path, action="append", default=[], metavar="FILE", help="a public key that may log in as root"
    )
    parser.add_argument(
        "--cloud-init",
        nargs="?",
        const="",
        metavar="user-data=FILE,…",
        help="install cloud-init with a NoCloud seed of these files: " + ", ".join(SEED_FILES),
    )
    parser.add_argument("--json", action="store_true", help="print the path and size as JSON")
    parser.set_defaults(build=rootfs)


def rootfs(arguments: argparse.Namespace) -> tuple[Path, dict[str, Any]]:
    password = arguments.root_password
    if password is None:
        password = secrets.token_urlsafe(9)
        say(f"root's password: {password}", file=sys.stderr)
    recipe = RootfsRecipe(
        password=password,
        suite=arguments.suite,
        kernel=arguments.kernel,
        packages=tuple(arguments.package),
        hostname=arguments.hostname,
        size_gib=arguments.size,
        ssh_keys=tuple(read(key, "SSH key") for key in arguments.ssh_key),
        cloud_init=None if arguments.cloud_init is None else read_seed(arguments.cloud_init, arguments.hostname),
    )
    with ProgressBar(arguments.output.name) as bar:
        path = build_rootfs(recipe, arguments.output, bar, finish=packed(arguments.format))
    return path, {"size": path.stat().st_size}


def packed(image_format: str) -> Callable[[Path], Path]:
    """What makes the image one of this format, beside the raw one."""

    def finish(raw: Path) -> Path:
        if image_format == "raw":
            return raw
        target = raw.with_suffix(f".{image_format}")
        convert(raw, target, Conversion(source_format="raw", image_format=image_format))
        raw.unlink()
        return target

    return finish


def read_seed(text: str, hostname: str) -> dict[str, str]:
    """The files of a NoCloud seed; those that cloud-init insists on are there in any case."""
    pairs = KeyValues("--cloud-init", text)
    named = {name: pairs.text(name) for name in SEED_FILES}
    pairs.finish()
    given = {name: read(Path(path), name) for name, path in named.items() if path is not None}
    return {
        "user-data": "#cloud-config\n",
        "meta-data": f"instance-id: {hostname}\nlocal-hostname: {hostname}\n",
        **given,
    }


def read(path: Path, what: str) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not text"
        raise ConfigError(f"cannot read {what} {path}: {reason}") from error
