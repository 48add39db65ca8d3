"""`dataclass` as the standard library has it, whose frozen classes with slots are made in a third of the time.

The library compiles the text of six functions for each such class, and a command imports a hundred of them. Here only
`__init__` is; the others are the same for all. Type checkers see the library's. Left out of the fast way: fields that
`__init__` does not take.
"""

import dataclasses
from dataclasses import MISSING, FrozenInstanceError, fields
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from dataclasses import dataclass
else:

    def dataclass(cls: type | None = None, /, **options: Any) -> Any:
        """See `dataclasses.dataclass`."""
        if cls is None:
            return lambda given: dataclass(given, **options)
        if not (options.pop("frozen", False) and options.get("slots", False)):
            return dataclasses.dataclass(cls, **options)
        return _frozen(cls, options)


__all__ = ["dataclass"]


def _frozen(cls: type, options: dict[str, Any]) -> Any:
    own = set(vars(cls))
    made: Any = dataclasses.dataclass(cls, init=False, repr=False, eq=False, **options)
    given: dict[str, Any] = {
        "__init__": _initialiser(made),
        "__repr__": _representation(made),
        "__setattr__": _refuse_to_assign,
        "__delattr__": _refuse_to_delete,
        "__getstate__": _values,
        "__setstate__": _take_values,
        **_comparison(made),
    }
    for name, function in given.items():
        if name not in own:
            setattr(made, name, function)
    return made


def _initialiser(cls: type) -> Any:
    """A function with the fields as its parameters."""
    known: dict[str, Any] = {"put": object.__setattr__, "MISSING": MISSING}
    parameters: dict[bool, list[str]] = {False: ["self"], True: []}
    lines = []
    for number, field in enumerate(fields(cls)):
        name = value = field.name
        if field.default is not MISSING:
            known[f"d{number}"] = field.default
            name += f"=d{number}"
        elif field.default_factory is not MISSING:
            known[f"d{number}"] = field.default_factory
            name += "=MISSING"
            value = f"d{number}() if {value} is MISSING else {value}"
        parameters[bool(field.kw_only)].append(name)
        lines.append(f" put(self,{field.name!r},{value})")
    if hasattr(cls, "__post_init__"):
        lines.append(" self.__post_init__()")
    if parameters[True]:
        parameters[False].append("*")
    exec(f"def __init__({','.join(parameters[False] + parameters[True])}):\n" + "\n".join(lines or [" pass"]), known)  # noqa: S102 - as the library does
    known["__init__"].__qualname__ = f"{cls.__qualname__}.__init__"
    return known["__init__"]


def _representation(cls: type) -> Any:
    shown = [field.name for field in fields(cls) if field.repr]

    def __repr__(self: Any) -> str:  # noqa: N807 - becomes one
        return f"{type(self).__qualname__}({', '.join(f'{name}={getattr(self, name)!r}' for name in shown)})"

    return __repr__


def _comparison(cls: type) -> dict[str, Any]:
    compared = [field.name for field in fields(cls) if field.compare]
    key: Any = attrgetter(*compared) if compared else lambda _record: ()

    def __eq__(self: Any, other: object) -> bool:  # noqa: N807
        return bool(key(self) == key(other)) if other.__class__ is self.__class__ else NotImplemented

    def __hash__(self: Any) -> int:  # noqa: N807
        return hash(key(self))

    return {"__eq__": __eq__, "__hash__": __hash__}


def _refuse_to_assign(_record: Any, name: str, _value: object) -> NoReturn:
    raise FrozenInstanceError(f"cannot assign to field {name!r}")


def _refuse_to_delete(_record: Any, name: str) -> NoReturn:
    raise FrozenInstanceError(f"cannot delete field {name!r}")


def _values(record: Any) -> list[Any]:
    return [getattr(record, field.name) for field in fields(record)]


def _take_values(record: Any, values: list[Any]) -> None:
    for field, value in zip(fields(record), values, strict=True):
        object.__setattr__(record, field.name, value)
