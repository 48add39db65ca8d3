"""virt-install's `key=value,key=value`, where it has more than one word for a thing."""

import re
from collections.abc import Mapping, Sequence

from innkeeper.config import KeyValues
from innkeeper.errors import ConfigError

SPECIAL = re.compile(r"([\\,\"'])")


def renamed(option: str, text: str, names: Mapping[str, str], positional: Sequence[str] = ()) -> str:
    """The same with the keys of ours. `positional` are the keys of words without one, in their order.

    >>> renamed("--network", "bridge=br0,model.type=e1000", {"model.type": "model"})
    'bridge=br0,model=e1000'
    >>> renamed("--filesystem", "/srv,files", {}, ("source", "target"))
    'source=/srv,target=files'
    """
    if text == "?" or text.startswith("help"):
        raise ConfigError(
            f"{option} lists its keys in the guide to installing, and when it is given one that it does not know"
        )
    left, words = list(positional), []
    for word in KeyValues(option, "x=").words(text):
        key, equals, value = word.partition("=")
        if not equals and left:
            key, value = left.pop(0), word
        elif not equals:
            words.append(quoted(word))
            continue
        words.append(f"{names.get(key, key)}={quoted(value)}")
    return ",".join(words)


def quoted(value: str) -> str:
    """So that commas and quotes stay what they are."""
    return SPECIAL.sub(r"\\\1", value)


def taken(option: str, text: str, *keys: str, first: str | None = None) -> dict[str, str]:
    """The pairs of an option that has just these keys."""
    pairs = KeyValues(option, text, first=first)
    found = {key: value for key in keys if (value := pairs.text(key)) is not None}
    pairs.finish()
    return found
