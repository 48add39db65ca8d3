"""Which machine a word means: a name, a UUID, or the number of a running machine's process, which is its id (virsh.1)."""

from innkeeper.errors import ConfigError
from innkeeper.machine.names import process_of, running
from innkeeper.manager.store import Row, Store


def row_of(word: str) -> Row:
    """A machine that is kept. Raises `ConfigError` if there is none."""
    with Store() as store:
        try:
            return store.get(word)
        except ConfigError:
            name = with_process(word, running())
            if name is None:
                raise
            return store.get(name)


def find(word: str) -> tuple[str, bool]:
    """The name of a machine that runs or is kept, and whether it runs. Raises `ConfigError` if there is none."""
    active = running()
    if word in active:
        return word, True
    try:
        with Store() as store:
            name = store.get(word).name
    except ConfigError:
        found = with_process(word, active)
        if found is None:
            raise
        return found, True
    return name, name in active


def with_process(word: str, active: list[str]) -> str | None:
    if not (word.isascii() and word.isdigit()):
        return None
    return next((name for name in active if process_of(name) == int(word)), None)
