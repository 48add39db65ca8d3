"""The mark of methods that the manager's clients may call."""

from collections.abc import Callable
from typing import Any, TypeVar

MARK = "_innkeeper_served"
M = TypeVar("M", bound=Callable[..., Any])


def served(method: M) -> M:
    """Lets clients call a method of a service."""
    setattr(method, MARK, True)
    return method


def is_served(found: object) -> bool:
    return callable(found) and getattr(found, MARK, False) is True
