"""Identifiers and their one parser each. Standard library only.

Ids are 16 random bytes, never made from an address; as text a prefix and lower-case base32
(RFC 4648 section 6, no padding): `acc_` + 26 characters. A TenantId is an immutable slug.
Addresses follow RFC 5321 section 4.1.2, widened by the dotted local parts that Japanese carriers gave out
(`foo..bar@docomo.ne.jp`, `foo.@ezweb.ne.jp`), which are quoted on the wire.
"""

import base64
import re
import secrets
from dataclasses import dataclass
from functools import lru_cache
from typing import NewType
from unicodedata import normalize

from bulkhead.errors import PeerError
from bulkhead.idna import to_ascii

TenantId = NewType("TenantId", str)
AccountId = NewType("AccountId", bytes)
MailboxId = NewType("MailboxId", bytes)
EmailId = NewType("EmailId", bytes)
QueueId = NewType("QueueId", bytes)
RequestId = NewType("RequestId", bytes)
DomainName = NewType("DomainName", str)
LocalPart = NewType("LocalPart", str)
Uid = NewType("Uid", int)
ModSeq = NewType("ModSeq", int)

ID_BYTES = 16
TENANT_MAX = 32
LOCAL_PART_MAX = 64  # octets, RFC 5321 section 4.5.3.1.1
DOMAIN_MAX = 255  # octets, RFC 5321 section 4.5.3.1.2
ADDRESS_MAX = 254  # octets, RFC 5321 section 4.5.3.1.3 (path of 256 less the brackets)

_TENANT = re.compile(r"[a-z][a-z0-9-]{0,30}[a-z0-9]|[a-z]")
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]+")
_DOT_STRING = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_QUOTED = re.compile(r'"((?:[^"\\\x00-\x1f\x7f]|\\[\x20-\x7e])*)"')


def new_id() -> bytes:
    """16 random bytes for any of the id types."""
    return secrets.token_bytes(ID_BYTES)


def format_id(prefix: str, value: bytes) -> str:
    """`prefix` + `_` + 26 characters of base32. Raises ValueError unless value has 16 bytes."""
    if len(value) != ID_BYTES:
        raise ValueError("an id has 16 bytes")
    return f"{prefix}_{base64.b32encode(value).decode('ascii').rstrip('=').lower()}"


def parse_id(prefix: str, text: str) -> bytes:
    """The 16 bytes of format_id's text. Raises PeerError on any other text."""
    head, underscore, body = text.partition("_")
    if head != prefix or not underscore or len(body) != 26:
        raise PeerError(f"not an id of the form {prefix}_...")
    try:
        value = base64.b32decode(body.upper() + "======")
    except ValueError:
        raise PeerError(f"not an id of the form {prefix}_...") from None
    if format_id(prefix, value) != text:
        raise PeerError(f"not an id of the form {prefix}_...")
    return value


def parse_tenant_id(text: str) -> TenantId:
    """A tenant's slug: a-z, 0-9 and inner hyphens, from a letter, at most 32. Raises PeerError."""
    if len(text) > TENANT_MAX or not _TENANT.fullmatch(text):
        raise PeerError("a tenant id is 1 to 32 of a-z, 0-9 and inner '-', beginning with a letter")
    return TenantId(text)


@lru_cache(maxsize=1024)  # mail names few domains again and again; what is refused is not kept
def parse_domain(text: str) -> DomainName:
    """A domain name as lower-case A-labels without a trailing dot (RFC 5321 section 4.1.2). Raises PeerError.

    U-labels are encoded (RFC 5891 section 4); address literals are refused.
    """
    if not text.isascii():
        if len(text) > DOMAIN_MAX:
            raise PeerError("domain name is not valid")
        text = to_ascii(text)
    name = text.lower().removesuffix(".")
    if not name or len(name) > DOMAIN_MAX or not all(_LABEL.fullmatch(label) for label in name.split(".")):
        raise PeerError("domain name is not valid")
    return DomainName(name)


@dataclass(frozen=True, slots=True)
class Address:
    """An address with its local part unquoted, as written (case kept)."""

    local_part: LocalPart
    domain: DomainName

    @property
    def key(self) -> str:
        """The form by which the directory finds it: case folded, unquoted, composed (NFC; RFC 6531 section 3.1)."""
        if self.local_part.isascii():
            return f"{self.local_part.lower()}@{self.domain}"
        return f"{normalize('NFC', normalize('NFC', self.local_part).lower())}@{self.domain}"

    def __str__(self) -> str:
        """The wire form: the local part is quoted unless it is a Dot-string (RFC 5321 section 4.1.2)."""
        if _DOT_STRING.fullmatch(self.local_part) or not self.local_part.isascii():
            return f"{self.local_part}@{self.domain}"
        quoted = self.local_part.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{quoted}"@{self.domain}'


def parse_address(text: str) -> Address:
    """The address in `text`: Dot-string, Quoted-string, or atoms with misplaced dots. Raises PeerError.

    At most 254 octets, local part at most 64 (RFC 5321 section 4.5.3.1).
    """
    local, at, domain = text.rpartition("@")
    if not at or not local or len(text.encode()) > ADDRESS_MAX:
        raise PeerError("address is not valid")
    quoted = _QUOTED.fullmatch(local)
    if quoted:
        local = re.sub(r"\\(.)", r"\1", quoted[1])
    elif local.isascii():
        if not _ATOMS.fullmatch(local):
            raise PeerError("address is not valid")
    elif any(c.isspace() or not c.isprintable() or c in '()<>[]:;@\\,"' for c in local):
        raise PeerError("address is not valid")
    if not local or len(local.encode()) > LOCAL_PART_MAX:
        raise PeerError("local part is not valid")
    return Address(LocalPart(local), parse_domain(domain))
