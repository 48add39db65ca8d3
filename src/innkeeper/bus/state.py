"""A device's state as plain values: what is saved with a machine, and how it is taken on again.

A device says once which of its attributes are state and what each may be (`Fields`). A state is foreign input: everything
is checked before anything changes, and what cannot be is a `ValueError` that names its place.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

from innkeeper.records import dataclass

Plain = Any
"""None, bool, int, str, bytes, or a list or dict (by str) of these."""
State = dict[str, Plain]


@runtime_checkable
class Stateful(Protocol):
    """A device that can be saved."""

    def state(self) -> State:
        """What it is in the middle of. The vCPUs stand still, and it is paused if it can be."""
        ...

    def restore(self, state: State, /) -> None:
        """Takes a state on, in place of that of power-on, and drives its line accordingly.

        Raises `ValueError` if it cannot be.
        """
        ...


@runtime_checkable
class Pausable(Protocol):
    """A device that works by itself: with threads of its own."""

    def pause(self) -> None:
        """Returns once it touches no memory and raises no interrupt any more. What it has begun is finished."""
        ...

    def go_on(self) -> None: ...


class Stateless:
    """A device that remembers nothing."""

    def state(self) -> State:
        return {}

    def restore(self, state: State, /) -> None:
        Fields().check(state)


@dataclass(frozen=True, slots=True)
class Kind:
    """What a field may be: how its value is written down, and read again."""

    save: Callable[[Any], Plain]
    load: Callable[[Plain], Any]


def number(most: int, *, least: int = 0) -> Kind:
    """A number from `least` to `most`."""

    def load(value: Plain) -> int:
        if type(value) is not int or not least <= value <= most:
            raise ValueError(f"it is {shown(value)}; it must be a number from {least} to {most}")
        return value

    return Kind(int, load)


def boolean() -> Kind:
    def load(value: Plain) -> bool:
        if type(value) is not bool:
            raise ValueError(f"it is {shown(value)}; it must be true or false")
        return value

    return Kind(bool, load)


def data(size: int | None = None, *, most: int | None = None, into: Callable[[bytes], Any] = bytes) -> Kind:
    """Bytes: just `size`, or up to `most`."""

    def load(value: Plain) -> Any:
        if type(value) is not bytes or (size is not None and len(value) != size) or len(value) > (most or len(value)):
            wanted = f"{size} bytes" if size is not None else f"at most {most} bytes"
            raise ValueError(f"it is {shown(value)}; it must be {wanted}")
        return into(value)

    return Kind(bytes, load)


def optional(kind: Kind) -> Kind:
    return Kind(
        lambda value: None if value is None else kind.save(value),
        lambda value: None if value is None else kind.load(value),
    )


def sequence(kind: Kind, most: int, into: Callable[[list[Any]], Any] = list) -> Kind:
    """Values of one kind, up to `most` of them."""

    def load(value: Plain) -> Any:
        if type(value) is not list or len(value) > most:
            raise ValueError(f"it is {shown(value)}; it must be a list of at most {most}")
        return into([kind.load(each) for each in value])

    return Kind(lambda values: [kind.save(each) for each in values], load)


def queue(kind: Kind, most: int, *, bounded: bool = False) -> Kind:
    """The same as a `deque`; a `bounded` one never holds more."""
    return sequence(kind, most, lambda values: deque(values, maxlen=most if bounded else None))


def group(*kinds: Kind, into: Callable[[tuple[Any, ...]], Any] = tuple) -> Kind:
    """A value of each kind."""

    def load(value: Plain) -> Any:
        if type(value) is not list or len(value) != len(kinds):
            raise ValueError(f"it is {shown(value)}; it must be a list of {len(kinds)}")
        return into(tuple(kind.load(each) for kind, each in zip(kinds, value, strict=True)))

    return Kind(lambda values: [kind.save(each) for kind, each in zip(kinds, values, strict=True)], load)


class Fields:
    """The state of a device, each field with the attribute of the same name behind an underscore."""

    def __init__(self, **kinds: Kind) -> None:
        self._kinds = kinds

    def of(self, device: object) -> State:
        return {name: kind.save(getattr(device, "_" + name)) for name, kind in self._kinds.items()}

    def put(self, device: object, state: State) -> None:
        """All or nothing. Raises `ValueError`."""
        for name, value in self.check(state).items():
            setattr(device, "_" + name, value)

    def check(self, state: Plain) -> dict[str, Any]:
        """The values by name. Raises `ValueError` that says what is wrong with which."""
        if type(state) is not dict or state.keys() != self._kinds.keys():
            raise ValueError(f"it has the fields {shown(state)}; it must have {', '.join(self._kinds) or 'none'}")
        loaded = {}
        for name, kind in self._kinds.items():
            try:
                loaded[name] = kind.load(state[name])
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
        return loaded


def shown(value: Plain) -> str:
    """A foreign value, in few words."""
    if isinstance(value, bytes | list):
        return f"{len(value)} {'bytes' if isinstance(value, bytes) else 'values'}"
    text = ", ".join(map(str, value)) if isinstance(value, dict) else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


BYTE = number(0xFF)
FLAG = boolean()
ANYTHING = Kind(lambda value: value, lambda value: value)
"""Plain already, and checked by somebody else."""
