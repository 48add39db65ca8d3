"""Hardware addresses that a machine keeps from one start to the next."""

from collections.abc import Iterable

PREFIX = bytes([0x52, 0x54, 0x00])  # locally administered; what libvirt gives QEMU's guests


def stable_mac(identity: Iterable[str], index: int) -> bytes:
    """The address of the machine's card number `index`: the same for the same `identity`.

    >>> stable_mac(["a machine"], 0).hex(":")
    '52:54:00:f4:5e:78'
    """
    import hashlib  # with all of OpenSSL

    digest = hashlib.sha256()
    for part in [*identity, str(index)]:
        digest.update(len(part).to_bytes(8, "little") + part.encode())
    return PREFIX + digest.digest()[:3]
