"""What a new image shall be like: qemu-img's `-o` options, checked before anything is touched.

Left out: encryption, external data files, and `nocow` and `extent_size_hint`, which speak to one file system each.
"""

from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any

from innkeeper.errors import ConfigError
from innkeeper.records import dataclass
from innkeeper.storage.sizes import parse_size

FORMATS = ("raw", "qcow2")
PREALLOCATIONS = ("off", "metadata", "falloc", "full")
COMPRESSIONS = ("zlib", "zstd")
COMPATS = {"0.10": "0.10", "v2": "0.10", "1.1": "1.1", "v3": "1.1"}
SMALLEST_CLUSTER, LARGEST_CLUSTER = 512, 2 << 20
SMALLEST_EXTENDED = 16384


@dataclass(frozen=True, slots=True)
class ImageOptions:
    """How a new image is laid out. All but `preallocation` concerns qcow2 alone."""

    preallocation: str = "off"
    compat: str = "1.1"
    cluster_size: int = 65536
    refcount_bits: int = 16
    lazy_refcounts: bool = False
    compression_type: str = "zlib"
    extended_l2: bool = False
    backing_file: str | None = None
    backing_fmt: str | None = None

    def __post_init__(self) -> None:
        size = self.cluster_size
        one_of("preallocation", self.preallocation, PREALLOCATIONS)
        one_of("compression_type", self.compression_type, COMPRESSIONS)
        if self.backing_fmt is not None:
            one_of("backing_fmt", self.backing_fmt, FORMATS)
        if size & (size - 1) or not SMALLEST_CLUSTER <= size <= LARGEST_CLUSTER:
            raise ConfigError(f"cluster_size {size} is no power of two from {SMALLEST_CLUSTER} to {LARGEST_CLUSTER}")
        if self.refcount_bits not in (1, 2, 4, 8, 16, 32, 64):
            raise ConfigError(f"refcount_bits {self.refcount_bits} is no power of two from 1 to 64")
        if self.compat == "0.10":
            self.check_version_2()
        if self.extended_l2 and size < SMALLEST_EXTENDED:
            raise ConfigError(f"extended_l2 needs a cluster_size of at least {SMALLEST_EXTENDED}, not {size}")
        if self.backing_fmt is not None and self.backing_file is None:
            raise ConfigError(f"backing_fmt {self.backing_fmt} is the format of no backing file; name one with -b")
        if self.backing_file is not None and self.backing_fmt is None:
            raise ConfigError(
                f"the format of backing file {self.backing_file} is not given; say -F raw or -F qcow2: "
                "guessing it would let a guest choose"
            )

    def check_version_2(self) -> None:
        asked = {
            "refcount_bits other than 16": self.refcount_bits != 16,
            "lazy_refcounts": self.lazy_refcounts,
            "compression_type=zstd": self.compression_type != "zlib",
            "extended_l2": self.extended_l2,
        }
        if wrong := [name for name, is_asked in asked.items() if is_asked]:
            raise ConfigError(f"{wrong[0]} needs compat=1.1; compat=0.10 does not have it")


def one_of(name: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise ConfigError(f"{name} {value!r} is none of {', '.join(choices)}")


def switch(name: str, text: str) -> bool:
    if text not in ("on", "off"):
        raise ConfigError(f"{name} {text!r} is neither on nor off")
    return text == "on"


def number(name: str, text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise ConfigError(f"{name} {text!r} is no number")
    return int(text)


def compat(name: str, text: str) -> str:
    one_of(name, text, tuple(COMPATS))
    return COMPATS[text]


def plain(_name: str, text: str) -> str:
    return text


READERS: dict[str, Callable[[str, str], Any]] = {
    "preallocation": plain,
    "compat": compat,
    "cluster_size": lambda name, text: parse_size(text, name),
    "refcount_bits": number,
    "lazy_refcounts": switch,
    "compression_type": plain,
    "extended_l2": switch,
    "backing_file": plain,
    "backing_fmt": plain,
}
MEANINGS = {
    "preallocation": "space taken at once: off, metadata (qcow2's tables), falloc (reserved), full (written)",
    "compat": "qcow2's version: 0.10 (v2) or 1.1 (v3)",
    "cluster_size": "what qcow2 allocates at once: a power of two from 512 to 2M",
    "refcount_bits": "width of a cluster's reference count: 1, 2, 4, 8, 16, 32 or 64",
    "lazy_refcounts": "on: reference counts may be written late, and an image not closed well is repaired when opened",
    "compression_type": "of compressed clusters: zlib or zstd",
    "extended_l2": "on: clusters of 32 subclusters each",
    "backing_file": "the image that this one is an overlay of, as -b",
    "backing_fmt": "its format, as -F",
    "size": "of the disk, instead of the argument",
}
OF_RAW = ("preallocation", "size")


def parse_options(
    image_format: str, texts: Sequence[str], backing: str | None = None, backing_format: str | None = None
) -> tuple[ImageOptions, int | None]:
    """Reads `NAME=VALUE,…` lists; a comma within a value is written twice. Answers the size apart, if there is one.

    `backing` and `backing_format` are what `-b` and `-F` say.
    """
    given = {"backing_file": backing, "backing_fmt": backing_format}
    options: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    size = None
    known = OF_RAW if image_format == "raw" else (*READERS, "size")
    if image_format == "raw" and options:
        raise ConfigError("a raw image cannot have a backing file; make it qcow2 with -f qcow2")
    for word in (word for text in texts for word in split(text)):
        name, equals, value = word.partition("=")
        if name not in known:
            raise ConfigError(f"option {name!r} is none that {image_format} has: {', '.join(known)}")
        if not equals or not value:
            raise ConfigError(f"option {name!r} has no value; write {name}=VALUE")
        if given.get(name) is not None:
            raise ConfigError(f"{name} is given twice: {given[name]} and {value}")
        if name == "size":
            size = parse_size(value)
        else:
            options[name] = READERS[name](name, value)
    return ImageOptions(**options), size


def split(text: str) -> list[str]:
    return [word.replace("\0", ",") for word in text.replace(",,", "\0").split(",")]


def as_arguments(options: ImageOptions) -> dict[str, Any]:
    """For `innkeeper._core`."""
    return {field.name: getattr(options, field.name) for field in fields(options)}
