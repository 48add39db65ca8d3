"""Every error that Innkeeper raises on purpose, in one tree.

    InnkeeperError
    ├── ConfigError     a value that cannot be: the thing, the value, the limit
    ├── BootError       a kernel, initrd or image that cannot be started
    ├── HostError       the host refuses or lacks something that was asked for
    │   └── EngineUnavailable  the engine asked for cannot run here
    ├── ImageError      an image cannot be fetched, made, read or changed
    └── EngineError     an engine met something it cannot do; never a guest's mistake

A guest's mistake is not in this tree: guests get what hardware would give them.
Messages are one clear sentence: lower case, no full stop.
"""


class InnkeeperError(Exception):
    """Base of all of them: `except InnkeeperError` is how a program says "anything expected"."""


class ConfigError(InnkeeperError):
    """A value in the configuration that cannot be."""


class BootError(InnkeeperError):
    """A kernel, initrd or image that cannot be started."""


class HostError(InnkeeperError):
    """The host refuses or lacks something that was asked for."""


class EngineUnavailable(HostError):  # noqa: N818 - an answer, not a mistake
    """The engine asked for cannot run on this host, or is not there yet."""


class ImageError(InnkeeperError):
    """An image cannot be fetched, made, read or changed."""


class EngineError(InnkeeperError):
    """An engine met something that it cannot do. Never a guest's mistake."""


def refused(error: OSError) -> HostError:
    """What the operating system refuses where nobody has expected that, for whoever asked: a fact of the host, not a bug of ours."""
    why = error.strerror or str(error)
    return HostError(
        f"cannot use {error.filename}: {why}" if error.filename is not None else f"the host refuses: {why}"
    )
