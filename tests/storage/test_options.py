"""`-o`: what a new image shall be like."""

import pytest

from innkeeper.errors import ConfigError
from innkeeper.storage import ImageOptions, parse_options


def test_options_come_in_lists_and_add_up() -> None:
    options, size = parse_options("qcow2", ["cluster_size=2M,compat=v2", "size=1G"])

    assert options == ImageOptions(cluster_size=2 << 20, compat="0.10")
    assert size == 1 << 30


def test_a_comma_in_a_name_is_written_twice() -> None:
    options, _ = parse_options("qcow2", ["backing_file=a,,b,backing_fmt=raw"])

    assert options.backing_file == "a,b"


@pytest.mark.parametrize(
    ("image_format", "text", "sentence"),
    [
        ("raw", "cluster_size=4k", "option 'cluster_size' is none that raw has"),
        ("qcow2", "cluster_size=100", "cluster_size 100 is no power of two"),
        ("qcow2", "cluster_size=4M", "cluster_size 4194304 is no power of two from 512 to 2097152"),
        ("qcow2", "refcount_bits=3", "refcount_bits 3"),
        ("qcow2", "refcount_bits=x", "refcount_bits 'x' is no number"),
        ("qcow2", "lazy_refcounts=yes", "lazy_refcounts 'yes' is neither on nor off"),
        ("qcow2", "compat=v2,compression_type=zstd", "compression_type=zstd needs compat=1.1"),
        ("qcow2", "compat=v4", "compat 'v4' is none of"),
        ("qcow2", "extended_l2=on,cluster_size=4k", "extended_l2 needs a cluster_size"),
        ("qcow2", "backing_file=base", "the format of backing file base is not given"),
        ("qcow2", "backing_fmt=raw", "backing_fmt raw is the format of no backing file"),
        ("qcow2", "preallocation", "option 'preallocation' has no value"),
        ("qcow2", "colour=red", "option 'colour' is none that qcow2 has"),
    ],
)
def test_what_cannot_be_is_one_sentence(image_format: str, text: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        parse_options(image_format, [text])


def test_the_backing_file_is_named_once() -> None:
    with pytest.raises(ConfigError, match="backing_file is given twice"):
        parse_options("qcow2", ["backing_file=a"], "b", "raw")
