"""Folder names and keywords: sealed under the account's metadata key, found by a keyed tag.

`store` sees the tag and the sealed name. The tag is bound to the name, so `store` cannot answer a look-up with another
name.
"""

import hmac
from dataclasses import dataclass
from enum import Enum

from bulkhead.errors import IntegrityError
from bulkhead.identifiers import AccountId
from bulkhead.records.derive import derive, join_fields, require_key
from bulkhead.records.record import Kind, open_, seal

NAME_MAX = 1024  # octets of UTF-8
TAG_BYTES = 16


class NameKind(Enum):
    """What is named."""

    FOLDER = Kind.FOLDER_NAME
    KEYWORD = Kind.KEYWORD


@dataclass(frozen=True, slots=True)
class SealedName:
    """What `store` keeps of a name."""

    tag: bytes
    record: bytes


def name_tag(metadata_key: bytes, account: AccountId, kind: NameKind, name: str) -> bytes:
    """The 16 bytes by which a name is found; the caller has brought the name into its one form (case of INBOX, NFC).

    Raises ValueError for a name that is empty or over 1,024 octets.
    """
    raw = name.encode()
    if not 0 < len(raw) <= NAME_MAX:
        raise ValueError("a name has 1 to 1,024 octets")
    lookup_key = derive(require_key(metadata_key), "name-lookup")
    return hmac.digest(lookup_key, join_fields((bytes((kind.value,)), account, raw)), "sha256")[:TAG_BYTES]


def seal_name(
    metadata_key: bytes,
    generation: int,
    account: AccountId,
    kind: NameKind,
    name: str,
    *,
    nonce: bytes | None = None,
) -> SealedName:
    """The name's tag and record. Raises ValueError as `name_tag`."""
    tag = name_tag(metadata_key, account, kind, name)
    name_key = derive(metadata_key, "name")
    return SealedName(tag, seal(kind.value, generation, name_key, name.encode(), (account, tag), nonce=nonce))


def open_name(metadata_key: bytes, account: AccountId, kind: NameKind, sealed: SealedName) -> str:
    """The name. Raises IntegrityError, also where the tag is another name's."""
    name_key = derive(require_key(metadata_key), "name")
    try:
        return open_(sealed.record, kind.value, name_key, (account, sealed.tag)).decode()
    except UnicodeDecodeError:
        raise IntegrityError(f"{kind.value.name} record: the name is not UTF-8") from None
