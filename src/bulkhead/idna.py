"""Host names in other scripts as DNS has them: IDNA 2008, from Python's own character tables. Standard library only.

A label is made to lower case, full-width and half-width forms ordinary, and composed (RFC 5895 section 2), its code
points are checked (RFC 5892 sections 2 and 3, appendix A; RFC 5893 section 2), and it is encoded (RFC 5891 section 4).
Python's own codec is IDNA 2003: it turns `straße` into `strasse`, which is another's domain, and passes symbols.
"""

import re
import unicodedata
from typing import Final

from bulkhead.errors import PeerError

_PVALID: Final = frozenset("ßς۽۾་〇")  # RFC 5892 section 2.6
_DISALLOWED: Final = frozenset("ـߺ〮〯〱〲〳〴〵〻")
_IGNORABLE: Final = re.compile(  # RFC 5892 sections 2.3 and 2.4
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u20d0-\u20ff\u3164\ufe00-\ufe0f\uffa0"
    "\U0001d100-\U0001d24f\U000e0100-\U000e01ef]"
)
_OLD_HANGUL: Final = re.compile("[\u1100-\u11ff\ua960-\ua97c\ud7b0-\ud7fb]")
_LETTER_DIGIT: Final = frozenset({"Ll", "Lu", "Lo", "Nd", "Lm", "Mn", "Mc"})
_DIGITS: Final = re.compile("[\u0660-\u0669]"), re.compile("[\u06f0-\u06f9]")
_JAPANESE: Final = ("HIRAGANA", "KATAKANA", "CJK", "IDEOGRAPHIC")
_DOTS: Final = re.compile("[.\u3002\uff0e\uff61]")  # RFC 5895 section 2


def to_ascii(name: str) -> str:
    """The name with every label that is not US-ASCII as an A-label; others as they are. Raises PeerError."""
    return ".".join(label if label.isascii() else _a_label(label) for label in _DOTS.split(name))


def _a_label(label: str) -> str:
    """Raises PeerError on a label that no registry may give out."""
    label = "".join(_narrow(character).lower() for character in label)  # each alone: Σ is σ at the end of a word too
    label = unicodedata.normalize("NFC", label)
    if label.isascii():
        return label
    joined = label.startswith("-") or label.endswith("-") or label[2:4] == "--"
    if joined or unicodedata.category(label[0]).startswith("M"):
        raise PeerError("domain name is not valid")
    if not all(_is_valid(label, at) for at in range(len(label))) or not _reads_one_way(label):
        raise PeerError("domain name is not valid")
    encoded = "xn--" + label.encode("punycode").decode("ascii")
    if len(encoded) > 63:
        raise PeerError("domain name is not valid")
    return encoded


def _narrow(character: str) -> str:
    """Full-width and half-width forms as the ordinary character."""
    kind, _, point = unicodedata.decomposition(character).partition(" ")
    return chr(int(point, 16)) if kind in ("<wide>", "<narrow>") else character


def _is_valid(label: str, at: int) -> bool:
    """RFC 5892 section 3, in its order."""
    character = label[at]
    if character in _PVALID:
        return True
    if character in _DISALLOWED:
        return False
    context = _in_context(label, at)
    if context is not None:
        return context
    if unicodedata.category(character) == "Cn" or _IGNORABLE.match(character) or _OLD_HANGUL.match(character):
        return False
    if character.isascii():
        return character == "-" or character.islower() or character.isdigit()
    normal = unicodedata.normalize
    if normal("NFKC", normal("NFKC", character).casefold()) != character:
        return False
    return unicodedata.category(character) in _LETTER_DIGIT


def _in_context(label: str, at: int) -> bool | None:
    """Whether a character that is valid in some places may stand here (RFC 5892 appendix A); None for any other."""
    character, before, after = label[at], label[at - 1 : at], label[at + 1 : at + 2]
    if character in "\u200c\u200d":  # joiners: after a virama only; the rule by joining types needs tables
        return bool(before) and unicodedata.combining(before) == 9
    if character == "\u00b7":
        return before == after == "l"
    if character == "\u0375":
        return _script(after) == "GREEK"
    if character in "\u05f3\u05f4":
        return _script(before) == "HEBREW"
    if character == "\u30fb":
        return any(_script(other) in _JAPANESE for other in label if other != character)
    for one, other in (_DIGITS, _DIGITS[::-1]):
        if one.match(character):
            return not other.search(label)
    return None


def _script(character: str) -> str:
    """The first word of a character's name, which is its script for those asked about."""
    return unicodedata.name(character, "").split(" ")[0] if character else ""


def _reads_one_way(label: str) -> bool:
    """The Bidi rule for a label with right-to-left characters (RFC 5893 section 2)."""
    kinds = [unicodedata.bidirectional(character) for character in label]
    if not {"R", "AL", "AN"} & set(kinds):
        return True
    while kinds[-1] == "NSM":
        kinds.pop()
    if kinds[0] in ("R", "AL"):
        allowed = {"R", "AL", "AN", "EN", "ES", "CS", "ET", "ON", "BN", "NSM"}
        return set(kinds) <= allowed and kinds[-1] in ("R", "AL", "EN", "AN") and not {"EN", "AN"} <= set(kinds)
    allowed = {"L", "EN", "ES", "CS", "ET", "ON", "BN", "NSM"}
    return kinds[0] == "L" and set(kinds) <= allowed and kinds[-1] in ("L", "EN")
