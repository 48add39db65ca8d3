"""Where guest and host reach each other by vsock."""

from pathlib import Path

import pytest

from innkeeper.config import VsockConfig
from innkeeper.errors import ConfigError


def test_address_and_path() -> None:
    assert VsockConfig.parse("cid=5,path=/run/vm") == VsockConfig(cid=5, path=Path("/run/vm"))
    assert VsockConfig.parse("path=/run/vm").cid == 3


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("cid=3", "path=FILE"),
        ("cid=2,path=/run/vm", "between 3 and 4294967294"),
        ("cid=4294967295,path=/run/vm", "between 3 and 4294967294"),
        ("path=/" + "x" * 96, "at most 96 bytes"),
        ("path=/run/vm,port=1", "unknown key 'port'"),
    ],
)
def test_what_cannot_be_is_told(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        VsockConfig.parse(text)
