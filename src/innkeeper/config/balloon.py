"""A balloon, by which a guest gives memory back: `on`, or `memory=MIB,deflate_on_oom=yes`."""

from innkeeper.config.keyvalue import KeyValues
from innkeeper.records import dataclass

MEMORY_MIB_LIMIT = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class BalloonConfig:
    """Free pages go back by themselves. `memory_mib` is what shall be left to the guest from the start."""

    memory_mib: int | None = None
    deflate_on_oom: bool = True

    @classmethod
    def parse(cls, text: str) -> "BalloonConfig | None":
        """Reads the command line's form; None for `none`.

        >>> BalloonConfig.parse("memory=256").memory_mib
        256
        """
        if text == "none":
            return None
        if text in ("on", "virtio"):
            return cls()
        pairs = KeyValues("--balloon", text)
        config = cls(
            memory_mib=pairs.whole("memory", 1, MEMORY_MIB_LIMIT),
            deflate_on_oom=pairs.flag("deflate_on_oom") is not False,
        )
        pairs.finish()
        return config
