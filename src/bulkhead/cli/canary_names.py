"""Names for canaries, drawn from the names that a tenant has: pieces of different real ones, put together anew. PURE.

A list of names of our own would be known to whoever reads this. A name of a thousand others' pieces is one more of the
same kind: the same separators, the same share of digits, the same lengths.
"""

import random
import re
from collections.abc import Sequence

_PIECES = re.compile(r"([^._-]*?)(\d*)(?:([._-])(.*))?")
_FAMILY = (
    "sato", "suzuki", "takahashi", "tanaka", "watanabe", "ito", "yamamoto", "nakamura", "kobayashi", "kato", "yoshida",
    "yamada", "sasaki", "yamaguchi", "matsumoto", "inoue", "kimura", "hayashi", "shimizu", "saito", "mori", "abe",
)  # fmt: skip
_GIVEN = (
    "hiroshi", "takashi", "kenji", "yuki", "haruto", "sota", "ren", "yuto", "minato", "akira", "makoto", "satoshi",
    "hanako", "yoko", "keiko", "akiko", "yumi", "sakura", "aoi", "hina", "mei", "rin", "emi", "naomi", "kaori",
)  # fmt: skip
FEW = 40  # names below which pieces are too few to hide among
LENGTH_MAX = 60


def draw_name(draw: random.Random, real: Sequence[str]) -> str:
    """One local part like the real ones, and perhaps one of them: who calls draws again. real: local parts."""
    names = real if len(real) >= FEW else [*real, *(_ordinary(draw) for _ in range(FEW))]
    shape, other = _split(draw.choice(names)), _split(draw.choice(names))
    first, digits, separator, rest = shape
    stem = other[0] or first
    if separator:
        tail = draw.choice(names)
        rest = _split(tail)[3] or rest
        return _other_digits(draw, f"{stem}{digits}{separator}{rest}")[:LENGTH_MAX]
    if not digits:
        digits = other[1]
    if not digits and stem in real:  # a bare name that somebody has: people then take a number
        digits = str(draw.randrange(2, 100))
    return _other_digits(draw, stem + digits)[:LENGTH_MAX]


def _ordinary(draw: random.Random) -> str:
    given, family = draw.choice(_GIVEN), draw.choice(_FAMILY)
    number = draw.choice(("", "", str(draw.randrange(1, 100)), str(draw.randrange(1950, 2012))))
    return (
        draw.choice((f"{given}.{family}", f"{family}.{given}", f"{given[0]}{family}", given, f"{given}_{family}"))
        + number
    )


def _split(name: str) -> tuple[str, str, str, str]:
    """Stem, digits, separator, rest."""
    found = _PIECES.fullmatch(name)
    if found is None:
        return name, "", "", ""
    return found[1], found[2], found[3] or "", found[4] or ""


def _other_digits(draw: random.Random, name: str) -> str:
    """Other digits of the same number; a year stays one."""

    def change(found: re.Match[str]) -> str:
        digits = found[0]
        if len(digits) == 4 and digits[:2] in ("19", "20"):
            return str(draw.randrange(1950, 2013))
        return "".join(draw.choice("123456789" if place == 0 else "0123456789") for place in range(len(digits)))

    return re.sub(r"\d+", change, name)
