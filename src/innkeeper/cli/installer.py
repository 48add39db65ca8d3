"""`inn image installer`: a disc of Debian's installer with all that a small Debian is made of, for installing without a network."""

import argparse
from pathlib import Path
from typing import Any

from innkeeper.cli.progress import ProgressBar
from innkeeper.errors import ConfigError


def register(parser: argparse.ArgumentParser) -> None:
    parser.description = "Make an ISO image that installs a small Debian without a network, and print its path. Needs xorriso, and no privileges."
    parser.add_argument("output", type=Path, metavar="ISO", help="the image to be made; it must not exist")
    parser.add_argument("--suite", default="bookworm", help="the Debian release (default: %(default)s)")
    parser.add_argument(
        "--kernel",
        default="linux-image-cloud-amd64",
        metavar="PACKAGE",
        help="what is installed (default: %(default)s)",
    )
    parser.add_argument(
        "--package", action="append", default=[], metavar="NAME", help="one more package on it; repeat it"
    )
    parser.add_argument(
        "--preseed", type=Path, metavar="FILE", help="answers: the disc then installs without a question"
    )
    parser.add_argument("--json", action="store_true", help="print the path and size as JSON")
    parser.set_defaults(build=installer)


def installer(arguments: argparse.Namespace) -> tuple[Path, dict[str, Any]]:
    from innkeeper.image.installer import InstallerRecipe, build_installer

    try:
        answers = arguments.preseed.read_text() if arguments.preseed is not None else None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"cannot read the answers {arguments.preseed}: {getattr(error, 'strerror', 0) or 'no text'}"
        ) from error
    recipe = InstallerRecipe(
        suite=arguments.suite, kernel=arguments.kernel, packages=tuple(arguments.package), preseed=answers
    )
    with ProgressBar(arguments.output.name) as bar:
        path = build_installer(recipe, arguments.output, bar)
    return path, {"size": path.stat().st_size}
