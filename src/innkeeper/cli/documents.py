"""Files that verbs read whole because they describe something: text, and not more of it than any description has."""

import sys
from pathlib import Path

from innkeeper.errors import ConfigError

LIMIT = 1 << 20  # characters, as of a machine's XML
STDIN = "-"


def read(file: Path | str, *, stdin: bool = False) -> str:
    """With `stdin`, `-` means that. Raises `ConfigError`; a device or a pipe without an end is no description either."""
    try:
        if stdin and str(file) == STDIN:
            text = sys.stdin.read(LIMIT + 1)
        else:
            with Path(file).open(encoding="utf-8") as opened:
                text = opened.read(LIMIT + 1)
    except OSError as error:
        raise ConfigError(f"cannot read {str(file)[:200]!r}: {error.strerror}") from error
    except ValueError as error:  # bytes that are no UTF-8, or a NUL in the name
        raise ConfigError(f"cannot read {str(file)[:200]!r}: no text") from error
    if len(text) > LIMIT:
        raise ConfigError(f"{file} has more than {LIMIT} characters; that describes nothing")
    return text
