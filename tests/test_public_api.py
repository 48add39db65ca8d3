"""The names that the package promises."""

import subprocess
import sys

import pytest

import innkeeper

NAMES = [
    "BootError",
    "ConfigError",
    "ConsoleConfig",
    "ConsoleKind",
    "EngineChoice",
    "EngineError",
    "EngineUnavailable",
    "HostError",
    "ImageError",
    "InnkeeperError",
    "Machine",
    "MachineConfig",
    "MemoryConsole",
    "Outcome",
    "OutcomeKind",
    "__version__",
]


def test_the_public_names_are_these() -> None:
    assert innkeeper.__all__ == NAMES
    assert all(getattr(innkeeper, name) is not None for name in NAMES)


def test_a_name_that_does_not_exist_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Hypervisor'"):
        innkeeper.Hypervisor  # noqa: B018


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = "import sys, innkeeper; print(*(name for name in sys.modules if name.startswith('innkeeper')))"

    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()

    assert sorted(loaded) == ["innkeeper", "innkeeper.errors", "innkeeper.lazy"]


def test_every_error_is_in_the_tree_and_in_its_drawing() -> None:
    from innkeeper import errors

    classes = [value for value in vars(errors).values() if isinstance(value, type)]

    assert all(issubclass(value, errors.InnkeeperError) for value in classes)
    assert all(value.__name__ in str(errors.__doc__) for value in classes)
