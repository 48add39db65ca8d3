"""Frozen dataclasses made fast: they do what the library's do."""

import copy
import dataclasses
import pickle
from dataclasses import FrozenInstanceError, field
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from innkeeper import records

MAKERS: tuple[Any, ...] = (dataclasses.dataclass, records.dataclass)


def make(maker: Any) -> Any:
    """One class by each of them."""

    @maker(frozen=True, slots=True)
    class Point:
        """A point."""

        SCALE: ClassVar[int] = 10
        x: int
        y: int = 2
        names: list[str] = field(default_factory=list, compare=False)
        secret: str = field(default="", repr=False, kw_only=True)

        def __post_init__(self) -> None:
            if self.x < 0:
                raise ValueError("left of everything")

    return Point


Theirs, Ours = make(dataclasses.dataclass), make(records.dataclass)


@records.dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    a: int
    b: str = "b"


@records.dataclass(frozen=True, slots=True, kw_only=True)
class Derived(Base):
    c: tuple[int, ...] = ()

    def __repr__(self) -> str:
        return "of its own"


numbers = st.integers(0, 3)
arguments = st.tuples(
    st.one_of(st.tuples(numbers), st.tuples(numbers, numbers), st.tuples(numbers, numbers, st.lists(st.text()))),
    st.one_of(st.just({}), st.builds(lambda text: {"secret": text}, st.sampled_from(("", "a")))),
)


@given(arguments, arguments)
def test_they_are_made_compared_and_shown_as_the_librarys(one: Any, other: Any) -> None:
    (theirs, ours), (their_other, our_other) = (
        [kind(*positional, **named) for kind in (Theirs, Ours)] for positional, named in (one, other)
    )
    assert repr(ours) == repr(theirs)
    assert (ours == our_other) == (theirs == their_other)
    assert ours != theirs
    assert hash(ours) == hash(theirs)
    assert dataclasses.asdict(ours) == dataclasses.asdict(theirs)


@pytest.mark.parametrize("wrong", [(), (1, 2, [], ""), (-1,)])
def test_they_refuse_what_the_librarys_refuse(wrong: tuple[Any, ...]) -> None:
    said = []
    for kind in (Theirs, Ours):
        with pytest.raises((TypeError, ValueError)) as caught:
            kind(*wrong)
        said.append((caught.type, str(caught.value)))
    assert said[0] == said[1]


@pytest.mark.parametrize("maker", MAKERS)
def test_nothing_in_them_changes(maker: Any) -> None:
    kind = make(maker)
    point = kind(1)
    with pytest.raises(FrozenInstanceError, match="cannot assign to field 'x'"):
        point.x = 2
    with pytest.raises(FrozenInstanceError, match="cannot delete field 'x'"):
        del point.x
    assert not hasattr(point, "__dict__")
    assert point.names is not kind(1).names
    assert dataclasses.replace(point, y=5) == kind(1, 5)
    assert (kind.__match_args__, kind.SCALE, kind.__doc__) == (("x", "y", "names"), 10, "A point.")


def test_they_are_copied_and_inherited() -> None:
    derived = Derived(a=1, c=(2,))
    for same in (copy.copy(derived), copy.deepcopy(derived), pickle.loads(pickle.dumps(derived))):
        assert same == derived
        assert same is not derived
    assert repr(derived) == "of its own"
    assert Base(a=1) != derived
    assert [one.name for one in dataclasses.fields(Derived)] == ["a", "b", "c"]


def test_what_is_not_frozen_is_the_librarys() -> None:
    @records.dataclass(slots=True)
    class Open:
        value: int = 0

    thing = Open()
    thing.value = 3
    assert repr(thing).endswith("Open(value=3)")
