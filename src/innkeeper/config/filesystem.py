"""A folder that the guest may use, in virt-install's words: `source=DIR,target=TAG,readonly=yes`."""

from pathlib import Path

from innkeeper.config.keyvalue import KeyValues
from innkeeper.errors import ConfigError
from innkeeper.records import dataclass

TAG_LIMIT = 31  # bytes: what Linux's and others' drivers are sure to keep


@dataclass(frozen=True, slots=True, kw_only=True)
class FilesystemConfig:
    """The guest mounts `target` as 9p and sees what is in `source`, and nothing outside of it."""

    source: Path
    target: str
    readonly: bool = False

    def __post_init__(self) -> None:
        length = len(self.target.encode())
        if not 1 <= length <= TAG_LIMIT or not self.target.isprintable():
            raise ConfigError(f"filesystem target is {self.target!r}; it must be 1 to {TAG_LIMIT} printable bytes")

    @classmethod
    def parse(cls, text: str) -> "FilesystemConfig":
        """Reads the command line's form.

        >>> FilesystemConfig.parse("source=/srv/files,target=files,readonly=yes").readonly
        True
        """
        pairs = KeyValues("--filesystem", text)
        source, target = pairs.text("source"), pairs.text("target")
        readonly = bool(pairs.flag("readonly"))
        pairs.finish()
        if not source:
            raise ConfigError("--filesystem has no source; say which folder, as in source=DIR")
        if not target:
            raise ConfigError("--filesystem has no target; say by which tag the guest mounts it, as in target=TAG")
        return cls(source=Path(source), target=target, readonly=readonly)
