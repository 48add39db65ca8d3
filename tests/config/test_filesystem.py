"""Which folder a guest may use, and by which name."""

from pathlib import Path

import pytest

from innkeeper.config import FilesystemConfig, MachineConfig
from innkeeper.errors import ConfigError


def test_virt_installs_words() -> None:
    parsed = FilesystemConfig.parse("source=/srv/a,target=files,readonly=yes")
    assert parsed == FilesystemConfig(source=Path("/srv/a"), target="files", readonly=True)
    assert not FilesystemConfig.parse("source=/srv/a,target=files").readonly


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("target=files", "source=DIR"),
        ("source=/srv", "target=TAG"),
        ("source=/srv,target=" + "x" * 32, "1 to 31 printable bytes"),
        ("source=/srv,target=a,accessmode=squash", "unknown key 'accessmode'"),
    ],
)
def test_what_is_missing_or_unknown_is_told(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        FilesystemConfig.parse(text)


def test_tags_are_unique() -> None:
    one = FilesystemConfig(source=Path("/srv"), target="files")
    with pytest.raises(ConfigError, match="a name of its own"):
        MachineConfig(kernel=Path("k"), filesystems=(one, one))
