"""A cpio archive in the "newc" format: what Linux unpacks as its initramfs.

Spec: Linux Documentation/driver-api/early-userspace/buffer-format.rst. The result depends only on
the entries: owners are root, times are zero, names are sorted, inodes are counted. Left out: hard
links, the checksummed variant, files of 4 GiB and more.
"""

import stat

from innkeeper.errors import ImageError
from innkeeper.records import dataclass

MAGIC = b"070701"
TRAILER = "TRAILER!!!"
SIZE_LIMIT = 1 << 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One member. `mode` holds type and permissions as in `st_mode`; a symlink's data is its target."""

    mode: int
    data: bytes = b""
    device: tuple[int, int] = (0, 0)


class Archive:
    """Collects entries by absolute path and makes missing parent directories as it goes."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}

    def __contains__(self, path: str) -> bool:
        return relative_name(path) in self._entries

    def add_directory(self, path: str, *, permissions: int = 0o755) -> None:
        self._add(path, Entry(mode=stat.S_IFDIR | permissions))

    def add_file(self, path: str, data: bytes, *, permissions: int = 0o644) -> None:
        if len(data) >= SIZE_LIMIT:
            raise ImageError(f"{path} is {len(data)} bytes long; a cpio archive holds files below {SIZE_LIMIT}")
        self._add(path, Entry(mode=stat.S_IFREG | permissions, data=data))

    def add_symlink(self, path: str, target: str) -> None:
        self._add(path, Entry(mode=stat.S_IFLNK | 0o777, data=target.encode()))

    def add_character_device(self, path: str, *, major: int, minor: int, permissions: int = 0o600) -> None:
        self._add(path, Entry(mode=stat.S_IFCHR | permissions, device=(major, minor)))

    def to_bytes(self) -> bytes:
        parts = [
            encode(name, entry, inode=inode) for inode, (name, entry) in enumerate(sorted(self._entries.items()), 1)
        ]
        return b"".join([*parts, encode(TRAILER, Entry(mode=0), inode=0)])

    def _add(self, path: str, entry: Entry) -> None:
        name = relative_name(path)
        parent = name.rpartition("/")[0]
        if parent and parent not in self._entries:
            self.add_directory("/" + parent)
        if parent and not stat.S_ISDIR(self._entries[parent].mode):
            raise ImageError(f"{path} cannot be placed in the archive: /{parent} is not a directory there")
        self._entries[name] = entry


def relative_name(path: str) -> str:
    """The member name of an absolute path: archives hold names relative to the root."""
    parts = [part for part in path.split("/") if part]
    if not path.startswith("/") or not parts or "." in parts or ".." in parts or "\0" in path:
        raise ImageError(f"{path!r} is not a place in an archive; it must be an absolute path without . and ..")
    if parts == [TRAILER]:
        raise ImageError(f"{path!r} is the name that ends a cpio archive and cannot be a file's")
    return "/".join(parts)


def encode(name: str, entry: Entry, *, inode: int) -> bytes:
    encoded_name = name.encode() + b"\0"
    links = 2 if stat.S_ISDIR(entry.mode) else 1
    fields = (
        *(inode, entry.mode, 0, 0, links, 0),  # inode, mode, uid, gid, links, mtime
        *(len(entry.data), 0, 0, *entry.device),  # size, device of the file system, device of the node
        *(len(encoded_name), 0),  # name size, checksum (unused in newc)
    )
    header = MAGIC + b"".join(b"%08X" % field for field in fields)
    return pad4(header + encoded_name) + pad4(entry.data)


def pad4(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
