"""Kernel modules: what a module needs, read from the module itself.

A package's modules come without `modules.dep`, which a host's `depmod` would make at installation; so
the `.modinfo` section of each ELF object is read (ELF-64 specification, version 1.5). Left out: module
aliases, and soft dependencies other than `pre:`.
"""

import gzip
import lzma
import struct
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

from innkeeper.errors import ImageError

SUFFIXES = (".ko", ".ko.xz", ".ko.gz", ".ko.zst")
ELF64_LITTLE_ENDIAN = b"\x7fELF\x02\x01"
SECTION_HEADER = struct.Struct("<IIQQQQIIQQ")  # name type flags address offset size link info align entry-size


class ModuleTree:
    """The modules of one kernel: its /lib/modules/RELEASE directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._paths = {module_name(path): path for path in sorted(directory.rglob("*.ko*")) if is_module(path)}
        builtin = directory / "modules.builtin"
        lines = builtin.read_text().splitlines() if builtin.is_file() else []
        self._builtin = {module_name(Path(line)) for line in lines}

    def closure(self, names: Iterable[str]) -> list[tuple[str, Path]]:
        """The modules `names` and all they need as (name, file), in an order in which they can be loaded.

        What is built into the kernel needs no loading and is left out.
        """
        ordered: dict[str, Path] = {}
        pending: set[str] = set()

        def visit(name: str, wanted_by: str) -> None:
            if name in ordered or name in self._builtin or name in pending:
                return
            if name not in self._paths:
                raise ImageError(f"no module {name}{wanted_by} in {self._directory}")
            pending.add(name)
            elf = read_module(self._paths[name])
            for needed in needs(elf):
                visit(needed, f", which {name} needs,")
            for wished in soft_needs(elf):
                if wished in self._paths:  # else it is an alias, or missing, which a soft dependency may be
                    visit(wished, f", which {name} would like,")
            ordered[name] = self._paths[name]

        for name in names:
            visit(normalised(name), "")
        return list(ordered.items())

    def relative(self, path: Path) -> str:
        """The module's place below /lib/modules/RELEASE once it is stored uncompressed."""
        relative = path.relative_to(self._directory)
        return relative.with_name(relative.name.split(".ko")[0] + ".ko").as_posix()


def dependency_file(tree: ModuleTree, modules: list[tuple[str, Path]]) -> str:
    """A `modules.dep` for exactly these modules: each with all it needs, nearest first."""
    lines = []
    for name, path in modules:
        needed = [other for other_name, other in reversed(tree.closure([name])) if other_name != name]
        lines.append(" ".join([tree.relative(path) + ":", *(tree.relative(other) for other in needed)]))
    return "".join(line + "\n" for line in lines)


def read_module(path: Path) -> bytes:
    """The module's ELF object, uncompressed."""
    data = path.read_bytes()
    match path.suffix:
        case ".xz":
            return lzma.decompress(data)
        case ".gz":
            return gzip.decompress(data)
        case ".zst":
            return unzstd(path)
        case _:
            return data


def unzstd(path: Path) -> bytes:
    try:
        return subprocess.run(["zstd", "-dcq", str(path)], capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise ImageError(f"cannot decompress {path} with zstd: {error}") from error


def needs(elf: bytes) -> list[str]:
    """The names of the modules that must be loaded before this one."""
    names: list[str] = []
    for key, value in module_information(elf):
        if key == "depends":
            names += [name for name in value.split(",") if name]
    return [normalised(name) for name in names]


def soft_needs(elf: bytes) -> list[str]:
    """The names of the modules that should be loaded before this one where there are such."""
    values = [value for key, value in module_information(elf) if key == "softdep" and value.startswith("pre:")]
    names = [name for value in values for name in value.removeprefix("pre:").partition("post:")[0].split()]
    return [normalised(name) for name in names]


def module_information(elf: bytes) -> Iterator[tuple[str, str]]:
    """The `key=value` strings of the section .modinfo."""
    for field in section(elf, b".modinfo").split(b"\0"):
        key, equals, value = field.decode("utf-8", "replace").partition("=")
        if equals:
            yield key, value


def section(elf: bytes, name: bytes) -> bytes:
    """The contents of an ELF-64 section; empty if there is none of that name."""
    try:
        if not elf.startswith(ELF64_LITTLE_ENDIAN):
            raise ImageError("a module is not a 64-bit little-endian ELF object")
        (table,) = struct.unpack_from("<Q", elf, 0x28)
        entry_size, count, names_index = struct.unpack_from("<HHH", elf, 0x3A)
        headers = [SECTION_HEADER.unpack_from(elf, table + index * entry_size) for index in range(count)]
        names_offset, names_size = headers[names_index][4:6]
    except (struct.error, IndexError) as error:
        raise ImageError("a module is a truncated ELF object") from error
    names = elf[names_offset : names_offset + names_size]
    for header in headers:
        if names[header[0] :].split(b"\0", 1)[0] == name:
            return elf[header[4] : header[4] + header[5]]
    return b""


def is_module(path: Path) -> bool:
    return path.name.endswith(SUFFIXES)


def module_name(path: Path) -> str:
    return normalised(path.name.split(".ko")[0])


def normalised(name: str) -> str:
    """The kernel treats - and _ in module names as the same."""
    return name.strip().replace("-", "_")
