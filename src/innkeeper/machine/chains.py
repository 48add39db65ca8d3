"""Which images of a disk's chain are meant: by their paths, or counted from the one in use."""

import re
from collections.abc import Sequence
from pathlib import Path

from innkeeper.errors import ConfigError

INDEXED = re.compile(r"(?P<target>[^\[\]]+)\[(?P<depth>[0-9]{1,4})\]")


def between(chain: Sequence[Path], top: str | None, base: str | None, target: str, *, shallow: bool) -> tuple[int, int]:
    """Which images of a chain are committed: from the first, to the last. Raises `ConfigError`."""
    above = depth_of(chain, top, target) if top is not None else 0
    if shallow and base is not None:
        raise ConfigError("--shallow is about the image directly below, and --base names one; give one of both")
    below = above + 1 if shallow else depth_of(chain, base, target) if base is not None else len(chain) - 1
    if not above < below < len(chain):
        raise ConfigError(f"nothing lies below {chain[above]} of disk {target} that it could be committed to")
    return above, below


def depth_of(chain: Sequence[Path], word: str, target: str) -> int:
    """Where an image is in a chain, by its path or as in `vda[1]`.

    >>> depth_of([Path("/a"), Path("/b")], "vda[1]", "vda")
    1
    """
    indexed = INDEXED.fullmatch(word)
    if indexed is not None and indexed["target"] == target and int(indexed["depth"]) < len(chain):
        return int(indexed["depth"])
    wanted = Path(word).resolve()
    for depth, path in enumerate(chain):
        if path.resolve() == wanted:
            return depth
    raise ConfigError(f"disk {target} has no image {word} in its chain; it has {', '.join(map(str, chain))}")
