"""How crypt(3) writes octets as text, read back: four alphabets' worth of habit. PURE.

MD5-crypt and SHA-crypt take the octets in an order of their own, three at a time, the lowest six bits first; bcrypt
goes straight through, the highest first.
"""

_CRYPT = {ord(c): v for v, c in enumerate("./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")}
_BCRYPT_ALPHABET = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_BCRYPT = {ord(c): v for v, c in enumerate(_BCRYPT_ALPHABET)}
_MD5_ORDER = (0, 6, 12, 1, 7, 13, 2, 8, 14, 3, 9, 15, 4, 10, 5, 11)


def _turning(start: tuple[int, int, int], rows: int, step: int) -> tuple[int, ...]:
    """Rows of three that turn: each begins with the (step + 1)-th of the one before, and goes one octet on."""
    order: list[int] = []
    row = start
    for _ in range(rows):
        order += row
        row = (row[step] + 1, row[(step + 1) % 3] + 1, row[(step + 2) % 3] + 1)
    return tuple(order)


_SHA256_ORDER = (*_turning((0, 10, 20), 10, 2), 31, 30)
_SHA512_ORDER = (*_turning((0, 21, 42), 21, 1), 63)


def read_md5_crypt64(text: str) -> bytes:
    """16 octets of 22 characters. Raises KeyError for another character, ValueError for another length."""
    return _read(text, _MD5_ORDER)


def read_sha256_crypt64(text: str) -> bytes:
    """32 octets of 43 characters."""
    return _read(text, _SHA256_ORDER)


def read_sha512_crypt64(text: str) -> bytes:
    """64 octets of 86 characters."""
    return _read(text, _SHA512_ORDER)


def read_bcrypt64(text: str) -> bytes:
    """The octets of bcrypt's base 64; bits that are left over are dropped."""
    value = 0
    for character in text:
        value = value << 6 | _BCRYPT[ord(character)]
    octets = len(text) * 6 // 8
    return (value >> (len(text) * 6 - octets * 8)).to_bytes(octets, "big")


def write_bcrypt64(octets: bytes) -> str:
    """bcrypt's base 64, as short as it goes."""
    characters = -(-len(octets) * 8 // 6)
    value = int.from_bytes(octets, "big") << (characters * 6 - len(octets) * 8)
    return "".join(_BCRYPT_ALPHABET[value >> 6 * (characters - 1 - i) & 63] for i in range(characters))


def _read(text: str, order: tuple[int, ...]) -> bytes:
    if len(text) != -(-len(order) * 8 // 6):
        raise ValueError("characters of a digest that do not fit its octets")
    octets = bytearray(len(order))
    for first in range(0, len(order), 3):
        places = order[first : first + 3]
        characters = text[first * 4 // 3 : first * 4 // 3 + len(places) + 1]
        value = sum(_CRYPT[ord(c)] << 6 * i for i, c in enumerate(characters))
        for place, octet in zip(places, (value & (1 << 8 * len(places)) - 1).to_bytes(len(places), "big"), strict=True):
            octets[place] = octet
    return bytes(octets)
