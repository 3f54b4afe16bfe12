"""A page: up to 256 summaries of an account under one key, so that a listing opens one record and not 256.

A page is written anew with each version under the same key, and two sessions may try the same version at once, so the
nonce is random and never made from the version. A page key seals one page's versions only (hundreds, where random
nonces are good for 2**32), so AES-GCM serves: AES-GCM-SIV opens a full page 10 times slower.
"""

import struct
from dataclasses import dataclass, field

from bulkhead.errors import IntegrityError
from bulkhead.identifiers import AccountId
from bulkhead.records.derive import u32
from bulkhead.records.record import Kind, open_, seal

PAGE_ENTRIES_MAX = 256
PAGE_BYTES_MAX = 8 << 20  # octets of all summaries

_COUNT = struct.Struct(">H")


@dataclass(frozen=True, slots=True)
class Page:
    """Summaries by index; an empty one is dead. Raises ValueError over 256 entries or 8 MiB."""

    entries: tuple[bytes, ...] = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.entries) > PAGE_ENTRIES_MAX or sum(map(len, self.entries)) > PAGE_BYTES_MAX:
            raise ValueError("a page has at most 256 summaries and 8 MiB")

    def encode(self) -> bytes:
        """count u16 | end of each summary u32 | summaries"""
        ends, at = [], 0
        for entry in self.entries:
            at += len(entry)
            ends.append(at)
        return b"".join((struct.pack(f">H{len(ends)}I", len(ends), *ends), *self.entries))

    @classmethod
    def decode(cls, body: bytes) -> "Page":
        """The page of `encode`'s bytes. Raises IntegrityError."""
        if len(body) < 2:
            raise IntegrityError("PAGE record: the layout inside is not known")
        (count,) = _COUNT.unpack_from(body)
        data = 2 + 4 * count
        if count > PAGE_ENTRIES_MAX or len(body) < data or len(body) - data > PAGE_BYTES_MAX:
            raise IntegrityError("PAGE record: the layout inside is not known")
        entries, start = [], 0
        for end in struct.unpack_from(f">{count}I", body, 2):
            if end < start:
                raise IntegrityError("PAGE record: the layout inside is not known")
            entries.append(body[data + start : data + end])
            start = end
        if data + start != len(body):
            raise IntegrityError("PAGE record: the layout inside is not known")
        return cls(tuple(entries))

    def seal(
        self,
        page_key: bytes,
        generation: int,
        account: AccountId,
        number: int,
        version: int,
        *,
        nonce: bytes | None = None,
    ) -> bytes:
        """The record of this page's `version`; page_key is that of the page's number."""
        fields = (account, u32(number), u32(version))
        return seal(Kind.PAGE, generation, page_key, self.encode(), fields, nonce=nonce)

    @classmethod
    def open(cls, page_key: bytes, account: AccountId, number: int, version: int, record: bytes) -> "Page":
        """The page. Raises IntegrityError, also for another version of the same page."""
        return cls.decode(open_(record, Kind.PAGE, page_key, (account, u32(number), u32(version))))
