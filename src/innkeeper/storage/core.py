"""The way to the Rust tools: their errors as ours, and their progress to whoever asked."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from innkeeper.errors import ImageError

# Called a few times a second with the bytes done and to do. What it raises stops the work, and is raised again
# once nothing half-made is left.
Progress = Callable[[int, int], object]


@contextmanager
def explained() -> Iterator[None]:
    """The tools' refusals as `ImageError`, their sentences as they are."""
    try:
        yield
    except ValueError as error:
        raise ImageError(str(error)) from error
    except OSError as error:
        raise ImageError(error.strerror or str(error)) from error
