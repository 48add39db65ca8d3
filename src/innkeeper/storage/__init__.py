"""The host's side of disks: images, their formats and options, and how people write sizes.

What runs is in `crates/innkeeper-block`: the disks that machines read and write, and the tools' work.
"""

from innkeeper.storage.core import Progress
from innkeeper.storage.images import (
    Conversion,
    apply_snapshot,
    backing_chain,
    check,
    commit,
    compare,
    convert,
    create,
    create_snapshot,
    delete_snapshot,
    image_map,
    info,
    probe,
    rebase,
    resize,
    snapshots,
)
from innkeeper.storage.options import FORMATS, PREALLOCATIONS, ImageOptions, parse_options
from innkeeper.storage.sizes import describe_size, parse_size

__all__ = [
    "FORMATS",
    "PREALLOCATIONS",
    "Conversion",
    "ImageOptions",
    "Progress",
    "apply_snapshot",
    "backing_chain",
    "check",
    "commit",
    "compare",
    "convert",
    "create",
    "create_snapshot",
    "delete_snapshot",
    "describe_size",
    "image_map",
    "info",
    "parse_options",
    "parse_size",
    "probe",
    "rebase",
    "resize",
    "snapshots",
]
