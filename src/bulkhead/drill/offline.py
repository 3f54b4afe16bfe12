"""A list of usual passwords tried offline against stolen memory, with all that its thief could make of each.

Source of what is made: docs/credentials.md. Times are those of cheap stretching: at today's cost every guess is 8 ms.
"""

import hmac
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from bulkhead.drill.bare_cell import BareCell, Person
from bulkhead.records.credential import MAIN_PASSWORD, Stretched
from bulkhead.records.derive import u32
from bulkhead.records.halves import tight_tag
from bulkhead.records.stretch import stretch

_HEAD = 8  # octets by which a form is looked up
_PAGE = 4096
_TEXT = re.compile(rb"[ -~]{8,}")
_EMPTY = bytes(_PAGE)


@dataclass(frozen=True, slots=True)
class Guess:
    """One word for one account, and what it becomes."""

    person: Person
    word: bytes = field(repr=False)
    made: Stretched = field(repr=False)


def words_in(dump: bytes, words: Iterable[bytes]) -> set[bytes]:
    """Which words of the list stand in a dump, as text. words: of at least eight octets."""
    heads: dict[bytes, list[bytes]] = {}
    for word in words:
        heads.setdefault(word[:_HEAD], []).append(word)
    found: set[bytes] = set()
    for text in set(_TEXT.findall(dump)):
        for start in range(len(text) - _HEAD + 1):
            for word in heads.get(text[start : start + _HEAD], ()):
                if text.startswith(word, start):
                    found.add(word)
    return found


def forms_in(dump: bytes, forms: Iterable[bytes]) -> set[bytes]:
    """Which of these stand anywhere in a dump. forms: of at least eight octets, no head of them all zeros."""
    heads: dict[bytes, list[bytes]] = {}
    for form in forms:
        heads.setdefault(form[:_HEAD], []).append(form)
    found: set[bytes] = set()
    for page in range(0, len(dump), _PAGE):
        part = dump[page : page + _PAGE + _HEAD - 1]
        if part.startswith(_EMPTY):
            continue
        for start in range(len(part) - _HEAD + 1):
            if part[start : start + _HEAD] in heads:
                here = page + start
                found |= {form for form in heads[part[start : start + _HEAD]] if dump.startswith(form, here)}
    return found


def guesses(cell: BareCell, people: Sequence[Person], words: Sequence[bytes]) -> Iterator[Guess]:
    """Every word for every account, with the salts that auth has."""
    for person in people:
        half = cell.auth.rows.find(person.account, MAIN_PASSWORD)
        for word in words:
            yield Guess(person, word, stretch(word, half.salt, half.parameters))


def cached_form(cache_key: bytes, guess: Guess) -> bytes:
    """The x of a cached login, which auth makes with the key of its cache."""
    what = bytes(8) + guess.person.account + u32(MAIN_PASSWORD) + guess.word
    return hmac.digest(cache_key, what, "sha256")


def confirmed_together(cell: BareCell, tried: Iterable[Guess]) -> set[Person]:
    """Whose password the thief of both has: auth's salts, keyring's tags and the key that they are made with."""
    keys, database = cell.keyring.keys, cell.keyring.logins._database
    found: set[Person] = set()
    tags: dict[bytes, set[bytes]] = {}
    for guess in tried:
        account = guess.person.account
        if account not in tags:
            bid = keys.bid(account, MAIN_PASSWORD)
            rows = database.read("SELECT g, record FROM half WHERE bid = ?", (bid,))
            tags[account] = {keys.open_half(record, bid, g).tag for g, record in rows}
        if tight_tag(keys.tight, guess.made.tight) in tags[account]:
            found.add(guess.person)
    return found
