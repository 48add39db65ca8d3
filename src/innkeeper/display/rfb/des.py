"""One block of DES, as VNC's password authentication uses it: an eight-byte key encrypts a sixteen-byte challenge.

Spec: FIPS 46-3; RFC 6143 7.2.2. A cipher of the seventies and eight characters: this keeps a passer-by out, nobody
else, and TLS is there for the rest. Used a few times for each viewer, so plain tables will do.
"""

_INITIAL = [row + 8 * column for row in (57, 59, 61, 63, 56, 58, 60, 62) for column in range(0, -8, -1)]
_FINAL = [_INITIAL.index(bit) for bit in range(64)]
_EXPANSION = [(4 * group + bit - 1) % 32 for group in range(8) for bit in range(6)]
_PERMUTATION = [
    15, 6, 19, 20, 28, 11, 27, 16, 0, 14, 22, 25, 4, 17, 30, 9, 1, 7, 23, 13, 31, 26, 2, 8, 18, 12, 29, 5, 21, 10, 3, 24,
]  # fmt: skip
_KEY_CHOICE = [
    56, 48, 40, 32, 24, 16, 8, 0, 57, 49, 41, 33, 25, 17, 9, 1, 58, 50, 42, 34, 26, 18, 10, 2, 59, 51, 43, 35,
    62, 54, 46, 38, 30, 22, 14, 6, 61, 53, 45, 37, 29, 21, 13, 5, 60, 52, 44, 36, 28, 20, 12, 4, 27, 19, 11, 3,
]  # fmt: skip
_ROUND_CHOICE = [
    13, 16, 10, 23, 0, 4, 2, 27, 14, 5, 20, 9, 22, 18, 11, 3, 25, 7, 15, 6, 26, 19, 12, 1,
    40, 51, 30, 36, 46, 54, 29, 39, 50, 44, 32, 47, 43, 48, 38, 55, 33, 52, 45, 41, 49, 35, 28, 31,
]  # fmt: skip
_SHIFTS = [1, 1, 2, 2, 2, 2, 2, 2, 1, 2, 2, 2, 2, 2, 2, 1]
_BOXES = [  # four rows of sixteen each
    "e4d12fb83a6c59070f74e2d1a6cb953841e8d62bfc973a50fc8249175b3ea06d",
    "f18e6b34972dc05a3d47f28ec01a69b50e7ba4d158c6932fd8a13f42b67c05e9",
    "a09e63f51dc7b428d709346a285ecbf1d6498f30b12c5ae71ad069874fe3b52c",
    "7de3069a1285bc4fd8b56f03472c1ae9a690cb7df13e52843f06a1d8945bc72e",
    "2c417ab6853fd0e9eb2c47d150fa3986421bad78f9c5630eb8c71e2d6f09a453",
    "c1af92680d34e75baf427c9561de0b389ef528c3704a1db6432c95fabe17608d",
    "4b2ef08d3c975a61d0b7491ae35c2f8614bdc37eaf6805926bd814a7950fe23c",
    "d2846fb1a93e50c71fd8a374c56b0e927b419ce206adf35821e74a8dfc90356b",
]


def _bits(data: bytes) -> list[int]:
    return [byte >> (7 - bit) & 1 for byte in data for bit in range(8)]


def _bytes(bits: list[int]) -> bytes:
    return bytes(int("".join(map(str, bits[at : at + 8])), 2) for at in range(0, len(bits), 8))


def _round_keys(key: bytes) -> list[list[int]]:
    bits = [_bits(key)[bit] for bit in _KEY_CHOICE]
    left, right = bits[:28], bits[28:]
    keys = []
    for shift in _SHIFTS:
        left, right = left[shift:] + left[:shift], right[shift:] + right[:shift]
        both = left + right
        keys.append([both[bit] for bit in _ROUND_CHOICE])
    return keys


def _mix(half: list[int], key: list[int]) -> list[int]:
    mixed = [half[bit] ^ key_bit for bit, key_bit in zip(_EXPANSION, key, strict=True)]
    out: list[int] = []
    for number, box in enumerate(_BOXES):
        one, *column, six = mixed[6 * number : 6 * number + 6]
        value = int(box[16 * (2 * one + six) + int("".join(map(str, column)), 2)], 16)
        out += [value >> bit & 1 for bit in (3, 2, 1, 0)]
    return [out[bit] for bit in _PERMUTATION]


def encrypt(key: bytes, block: bytes) -> bytes:
    """Eight bytes under an eight-byte key, whose lowest bits are parity and ignored.

    >>> encrypt(bytes.fromhex("133457799bbcdff1"), bytes.fromhex("0123456789abcdef")).hex()
    '85e813540f0ab405'
    """
    bits = [_bits(block)[bit] for bit in _INITIAL]
    left, right = bits[:32], bits[32:]
    for round_key in _round_keys(key):
        left, right = right, [a ^ b for a, b in zip(left, _mix(right, round_key), strict=True)]
    swapped = right + left
    return _bytes([swapped[bit] for bit in _FINAL])


def answer(password: bytes, challenge: bytes) -> bytes:
    """What a viewer that knows the password makes of a challenge: the key's bytes have their bits turned around."""
    key = bytes(int(f"{byte:08b}"[::-1], 2) for byte in password[:8].ljust(8, b"\0"))
    return b"".join(encrypt(key, challenge[at : at + 8]) for at in range(0, len(challenge), 8))
