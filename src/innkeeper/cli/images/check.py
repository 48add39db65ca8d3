"""`inn image check`, with qemu-img's exit statuses."""

import argparse
from enum import IntEnum
from typing import TYPE_CHECKING

from innkeeper.cli.images import common
from innkeeper.cli.words import complain, say
from innkeeper.errors import ImageError
from innkeeper.storage import check, probe

if TYPE_CHECKING:
    from innkeeper._core import ImageCheck

SHOWN = 1000


class Result(IntEnum):
    """What the exit status says."""

    CLEAN = 0
    FAILED = 1
    CORRUPT = 2
    LEAKS = 3
    NO_CHECKS = 63


def register(parser: argparse.ArgumentParser) -> None:
    parser.description = "Look whether a disk image is consistent, and repair it if asked"
    parser.epilog = (
        "Exit status: 0 consistent, 1 could not be checked, 2 corrupt, 3 space is lost but no data, "
        "63 the format has nothing to check"
    )
    common.image_format(parser)
    common.output(parser)
    parser.add_argument(
        "-r", dest="repair", choices=("leaks", "all"), help="give lost space back, or repair everything that can be"
    )
    common.share(parser)
    common.progress(parser)
    common.image(parser)


def execute(arguments: argparse.Namespace) -> int:
    try:
        if (arguments.format or probe(arguments.image)) == "raw":
            complain(f"{arguments.image}: a raw image has nothing to check")
            return Result.NO_CHECKS
        with common.Bar("check", arguments) as bar:
            found = check(
                arguments.image, arguments.format, repair=arguments.repair, share=arguments.share, progress=bar
            )
    except ImageError as error:
        complain(str(error))
        return Result.FAILED
    if arguments.output == "json":
        common.print_json({name: value for name, value in found.items() if name != "findings"})
    elif not arguments.quiet:
        describe(found)
    if found.get("corruptions"):
        return Result.CORRUPT
    return Result.LEAKS if found.get("leaks") else Result.CLEAN


def describe(found: "ImageCheck") -> None:
    findings = found["findings"]
    for line in findings[:SHOWN]:
        print(line)
    if len(findings) > SHOWN:
        say(f"and {len(findings) - SHOWN} more")
    fixed_leaks, fixed = found.get("leaks-fixed", 0), found.get("corruptions-fixed", 0)
    if fixed_leaks or fixed:
        say(f"repaired: {fixed} errors and {fixed_leaks} lost clusters")
    corruptions, leaks = found.get("corruptions", 0), found.get("leaks", 0)
    if corruptions:
        say(f"{corruptions} errors: data may be corrupt, and writing may make it worse; repair it with -r all")
    if leaks:
        say(f"{leaks} lost clusters: they take space and harm nothing; -r leaks gives it back")
    if not corruptions and not leaks:
        say("no errors were found on the image")
    allocated, total = found.get("allocated-clusters", 0), found["total-clusters"]
    if allocated and total:
        fragmented = found.get("fragmented-clusters", 0) / allocated
        packed = found.get("compressed-clusters", 0) / allocated
        share = f"{allocated} of {total} clusters allocated ({allocated / total:.2%})"
        say(f"{share}, {fragmented:.2%} fragmented, {packed:.2%} compressed")
    say(f"the image ends at offset {found['image-end-offset']}")
