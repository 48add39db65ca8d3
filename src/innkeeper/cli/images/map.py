"""`inn image map`: where each part of a disk is."""

import argparse
from typing import TYPE_CHECKING

from innkeeper.cli.images import common
from innkeeper.cli.status import Status
from innkeeper.storage import image_map, parse_size

if TYPE_CHECKING:
    from innkeeper._core import ImageMapRow


def register(parser: argparse.ArgumentParser) -> None:
    parser.description = "Say where each part of a disk is. For people only the parts that have data are listed"
    common.image_format(parser)
    common.output(parser)
    parser.add_argument("--start-offset", default="0", metavar="SIZE", help="begin there (default: %(default)s)")
    parser.add_argument("--max-length", metavar="SIZE", help="look at so much; by default at all of it")
    common.share(parser)
    common.image(parser)


def execute(arguments: argparse.Namespace) -> int:
    rows = image_map(
        arguments.image,
        arguments.format,
        start=parse_size(arguments.start_offset, "start offset"),
        length=None if arguments.max_length is None else parse_size(arguments.max_length, "maximal length"),
        share=arguments.share,
    )
    if arguments.output == "json":
        common.print_json([{name: value for name, value in row.items() if name != "filename"} for row in rows])
        return Status.DONE
    print(f"{'Offset':16}{'Length':16}{'Mapped to':16}File")
    for row in rows:
        if row["data"]:
            print(line(row))
    return Status.DONE


def line(row: "ImageMapRow") -> str:
    place = f"{row['offset']:#x}" if "offset" in row else "compressed"
    return f"{row['start']:<#16x}{row['length']:<#16x}{place:16}{row.get('filename', '')}".rstrip()
