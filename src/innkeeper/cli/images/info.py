"""`inn image info`: qemu-img's words, for people and as JSON."""

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from innkeeper.cli.images import common
from innkeeper.cli.images.snapshot import table
from innkeeper.cli.status import Status
from innkeeper.storage import backing_chain, describe_size, info

if TYPE_CHECKING:
    from innkeeper._core import ImageInfo


def register(parser: argparse.ArgumentParser) -> None:
    parser.description = "Say what a disk image is: format, sizes, backing file, snapshots"
    common.image_format(parser)
    common.output(parser)
    parser.add_argument("--backing-chain", action="store_true", help="and each image that it is backed by")
    common.share(parser)
    common.image(parser)


def execute(arguments: argparse.Namespace) -> int:
    if arguments.backing_chain:
        chain = backing_chain(arguments.image, arguments.format, share=arguments.share)
    else:
        chain = [info(arguments.image, arguments.format, share=arguments.share)]
    if arguments.output == "json":
        common.print_json(chain if arguments.backing_chain else chain[0])
    else:
        print("\n\n".join("\n".join(lines(each)) for each in chain))
    return Status.DONE


def lines(of: "ImageInfo") -> Iterator[str]:
    yield f"image: {of['filename']}"
    yield f"file format: {of['format']}"
    yield f"virtual size: {describe_size(of['virtual-size'])} ({of['virtual-size']} bytes)"
    yield f"disk size: {describe_size(of['actual-size'])}"
    if of["dirty-flag"]:
        yield "cleanly shut down: no"
    if "cluster-size" in of:
        yield f"cluster_size: {of['cluster-size']}"
    if "backing-filename" in of:
        name, full = of["backing-filename"], of["full-backing-filename"]
        yield f"backing file: {name}" + (f" (actual path: {full})" if name != full else "")
    if "backing-filename-format" in of:
        yield f"backing file format: {of['backing-filename-format']}"
    if "snapshots" in of:
        yield "Snapshot list:"
        yield from table(of["snapshots"])
    if "format-specific" in of:
        yield "Format specific information:"
        for name, value in of["format-specific"]["data"].items():
            yield f"    {name.replace('-', ' ')}: {spelled(value)}"


def spelled(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
