"""`inn image convert`."""

import argparse
from pathlib import Path

from innkeeper.cli.images import common
from innkeeper.cli.status import Status
from innkeeper.errors import ConfigError
from innkeeper.storage import FORMATS, Conversion, convert, parse_size

MOST_THREADS = 64


def register(parser: argparse.ArgumentParser) -> None:
    parser.description = "Copy a disk into a new image, which has its name only when it is whole"
    parser.add_argument("-f", dest="format", choices=FORMATS, help="the source's format; by default it is probed")
    parser.add_argument(
        "-O", dest="target_format", choices=FORMATS, default="raw", help="the new image's format (default: %(default)s)"
    )
    common.options(parser)
    parser.add_argument("-c", dest="compress", action="store_true", help="compress its clusters (qcow2)")
    parser.add_argument(
        "-B", dest="backing", metavar="FILE", help="back the new image by FILE, which has what the source's backing has"
    )
    parser.add_argument("-F", dest="backing_format", choices=FORMATS, help="the format of FILE")
    parser.add_argument("-l", dest="snapshot", metavar="NAME", help="the disk as this internal snapshot kept it")
    sparse = "so many zeroes in a row are left out; 0: write everything (default: %(default)s)"
    parser.add_argument("-S", dest="sparse", default="4k", metavar="SIZE", help=sparse)
    parser.add_argument(
        "-m",
        dest="threads",
        type=int,
        metavar="N",
        help="threads (default: one for each processor, 8 to 16 to compress, else 2 to 4)",
    )
    common.share(parser)
    common.progress(parser)
    parser.add_argument("source", type=Path, nargs="?", metavar="SOURCE", help="the image to copy")
    parser.add_argument("target", type=Path, nargs="?", metavar="TARGET", help="the file to make, or a block device")


def execute(arguments: argparse.Namespace) -> int:
    if common.options_help(arguments.target_format, arguments.options):
        return Status.DONE
    if arguments.source is None or arguments.target is None:
        raise ConfigError("two images are needed: the one to copy and the one to make")
    if arguments.threads is not None and not 1 <= arguments.threads <= MOST_THREADS:
        raise ConfigError(f"-m {arguments.threads} threads; from 1 to {MOST_THREADS} can work")
    options, size = common.read_options(arguments, arguments.target_format)
    if size is not None:
        raise ConfigError("the size of a converted disk is its source's; resize it afterwards")
    how = Conversion(
        image_format=arguments.target_format,
        source_format=arguments.format,
        options=options,
        compress=arguments.compress,
        sparse_size=parse_size(arguments.sparse, "sparse size"),
        snapshot=snapshot_name(arguments.snapshot),
        threads=arguments.threads,
        share=arguments.share,
    )
    with common.Bar("convert", arguments) as bar:
        convert(arguments.source, arguments.target, how, bar)
    return Status.DONE


def snapshot_name(text: str | None) -> str | None:
    """A name or id, also in qemu-img's longer form.

    >>> snapshot_name("snapshot.name=before")
    'before'
    """
    if text is None:
        return None
    for prefix in ("snapshot.id=", "snapshot.name="):
        if text.startswith(prefix):
            return text.removeprefix(prefix)
    return text
