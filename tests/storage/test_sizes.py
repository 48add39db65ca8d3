"""Sizes as people write them."""

import pytest

from innkeeper.errors import ConfigError
from innkeeper.storage import parse_size


@pytest.mark.parametrize(
    ("text", "size"), [("0", 0), ("1k", 1024), ("1.5G", 3 << 29), ("7E", 7 << 60), ("3MiB", 3 << 20), ("64b", 64)]
)
def test_suffixes_are_powers_of_1024(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "G", "-1", "1X", "0x10", "1 G", "1e3", "8E", "1.0001", "٣"])
def test_what_is_no_size_is_refused_with_what_was_written(text: str) -> None:
    with pytest.raises(ConfigError, match="size"):
        parse_size(text)
