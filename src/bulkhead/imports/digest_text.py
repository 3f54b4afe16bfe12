"""What an export says of a password: `{SCHEME}digest`, a digest of crypt(3), Django or the PHC, or clear text. PURE.

Sources: RFC 2307 section 5.3 (`{scheme}`), Dovecot's page of password schemes, Drepper's SHA-crypt, the PHC string
format (Argon2, PBKDF2), Django's `hasher$...`. No message here shows anything of what was read.
"""

import base64
import binascii
import re
from dataclasses import dataclass, field

from bulkhead.errors import PeerError
from bulkhead.records.credential import PASSWORD_MAX
from bulkhead.records.legacy import HASHES, Recipe, Scheme
from bulkhead.records.legacy_text import read_bcrypt64, read_md5_crypt64, read_sha256_crypt64, read_sha512_crypt64

DIGEST_TEXT_MAX = 1024  # characters
ROUNDS_DEFAULT = 5000  # of SHA-crypt, where none are written


@dataclass(frozen=True, slots=True)
class ImportedPassword:
    """A digest and how it was made; or, without recipe, the clear text."""

    octets: bytes = field(repr=False)
    recipe: Recipe | None = None


_RESET = "this account needs a new password"
_CHALLENGE = "is a challenge's secret: whoever holds it can log in with it; " + _RESET
_SCRAM = "is a SCRAM verifier: whoever holds it can pose as the server, and after one login seen as the user; " + _RESET
_REFUSED = {
    "SCRAM-SHA-1": _SCRAM, "SCRAM-SHA-256": _SCRAM, "SCRAM-SHA-512": _SCRAM, "SCRAM": _SCRAM,
    "CRAM-MD5": _CHALLENGE, "HMAC-MD5": _CHALLENGE, "DIGEST-MD5": _CHALLENGE, "NTLM": _CHALLENGE,
    "LANMAN": _CHALLENGE, "LM": _CHALLENGE, "RPA": _CHALLENGE, "OTP": _CHALLENGE, "SKEY": _CHALLENGE,
    "DES-CRYPT": "reads eight octets of the password only; " + _RESET,
}  # fmt: skip
_CLEAR = {"PLAIN", "CLEAR", "CLEARTEXT"}
_HASHED = {
    "SHA": Scheme.SHA1, "SHA1": Scheme.SHA1, "SHA256": Scheme.SHA256, "SHA512": Scheme.SHA512,
    "LDAP-MD5": Scheme.MD5, "PLAIN-MD5": Scheme.MD5,
}  # fmt: skip
_SALTED = {"SSHA": Scheme.SHA1, "SSHA256": Scheme.SHA256, "SSHA512": Scheme.SHA512, "SMD5": Scheme.MD5}
_SIZES = {Scheme.MD5: 16, Scheme.SHA1: 20, Scheme.SHA256: 32, Scheme.SHA512: 64}
_STARTS = {
    "MD5-CRYPT": ("$1$",), "SHA256-CRYPT": ("$5$",), "SHA512-CRYPT": ("$6$",),
    "BLF-CRYPT": ("$2a$", "$2b$", "$2y$"), "BCRYPT": ("$2a$", "$2b$", "$2y$"),
    "ARGON2I": ("$argon2i$",), "ARGON2ID": ("$argon2id$",), "ARGON2": ("$argon2i$", "$argon2id$"),
    "CRYPT": ("$",), "PBKDF2-SHA256": ("$pbkdf2-sha256$",), "PBKDF2-SHA512": ("$pbkdf2-sha512$",),
}  # fmt: skip
_BRACES = re.compile(r"\{([A-Za-z0-9][A-Za-z0-9-]{0,31})(?:\.(HEX|B64|BASE64))?\}", re.IGNORECASE)
_KNOWN_START = re.compile(r"\$(1|5|6|7|y|gy|sha1|apr1|2[abxy]?|argon2[a-z]*|pbkdf2(-sha\d+)?|scrypt)\$")
_DJANGO = re.compile(r"(pbkdf2_sha\d+|argon2|bcrypt|bcrypt_sha256|scrypt|md5)\$")
_MD5_CRYPT = re.compile(r"\$1\$([!-#%-~]{0,8})\$([./0-9A-Za-z]{22})")
_SHA_CRYPT = re.compile(r"\$([56])\$(?:rounds=([0-9]{1,9})\$)?([!-#%-~]{0,16})\$([./0-9A-Za-z]{43}|[./0-9A-Za-z]{86})")
_BCRYPT = re.compile(r"\$2[aby]\$([0-9]{2})\$([./0-9A-Za-z]{22})([./0-9A-Za-z]{31})")
_ARGON2 = re.compile(
    r"\$(argon2id?)\$v=19\$m=([0-9]{1,9}),t=([0-9]{1,9}),p=([0-9]{1,3})\$([A-Za-z0-9+/]{1,172})\$([A-Za-z0-9+/]{1,86})"
)
_PBKDF2 = re.compile(
    r"\$pbkdf2(?:-(sha1|sha256|sha512))?\$(?:i=)?([0-9]{1,9})\$([A-Za-z0-9+/.]{1,172})=*\$([A-Za-z0-9+/.]{1,88})=*"
)
_PBKDF2_DOVECOT = re.compile(r"\$1\$([!-#%-~]{1,128})\$([0-9]{1,9})\$([0-9a-fA-F]{40})")
_PBKDF2_DJANGO = re.compile(r"pbkdf2_(sha1|sha256|sha512)\$([0-9]{1,9})\$([!-#%-~]{1,128})\$([A-Za-z0-9+/]{1,88}=*)")
_PBKDF2_SCHEMES = {
    None: Scheme.PBKDF2_SHA1, "sha1": Scheme.PBKDF2_SHA1, "sha256": Scheme.PBKDF2_SHA256,
    "sha512": Scheme.PBKDF2_SHA512,
}  # fmt: skip


def parse_password(text: str, *, clear: bool) -> ImportedPassword:
    """The password of one account. Raises PeerError, which shows nothing of it.

    clear: whether what has no scheme and looks like no digest is clear text; else it is refused.
    """
    if not text:
        raise PeerError("has no password; " + _RESET)
    try:
        return _parse(text, clear=clear)
    except PeerError:
        raise
    except ValueError as error:  # of Recipe: bounds alone
        raise PeerError(f"has a digest that is not taken: {error}; {_RESET}") from None


def clear_text(octets: bytes) -> ImportedPassword:
    """A password as it is typed. Raises PeerError for none, for more than 1,024 octets, and for NUL."""
    if not 0 < len(octets) <= PASSWORD_MAX:
        raise PeerError(f"has a password that is not 1 to {PASSWORD_MAX} octets")
    if b"\0" in octets:
        raise PeerError("has a password with NUL in it, which no protocol can carry")
    return ImportedPassword(octets)


def _typed(text: str) -> ImportedPassword:
    """Clear text; octets that were no UTF-8 come back as they were."""
    try:
        return clear_text(text.encode("utf-8", "surrogateescape"))
    except UnicodeEncodeError:
        raise PeerError("has a password with half a character in it") from None


def _parse(text: str, *, clear: bool) -> ImportedPassword:
    if text.startswith("{"):
        braces = _BRACES.match(text)
        if braces is None:
            raise PeerError("has a password that begins with { and names no scheme; write {PLAIN} before clear text")
        return _by_scheme(braces[1].upper(), (braces[2] or "").upper(), text[braces.end() :])
    if _KNOWN_START.match(text) or (not clear and text.startswith("$")):
        return _by_start(text)
    if _DJANGO.match(text) and not clear:
        return _django(text)
    if clear:
        return _typed(text)
    raise PeerError("has a password that names no scheme; this dialect has digests only")


def _by_scheme(scheme: str, encoding: str, rest: str) -> ImportedPassword:
    if scheme in _CLEAR:
        return _typed(rest)
    if scheme in _REFUSED:
        raise PeerError(f"has a password of scheme {scheme}, which {_REFUSED[scheme]}")
    if len(rest) > DIGEST_TEXT_MAX:
        raise PeerError(f"has a digest of more than {DIGEST_TEXT_MAX} characters")
    if scheme == "MD5":  # Dovecot's word for MD5-CRYPT, and others' for an unsalted one
        scheme = "MD5-CRYPT" if rest.startswith("$1$") else "PLAIN-MD5"
    if scheme in _HASHED:
        return _hashed(_HASHED[scheme], rest, encoding, salted=False)
    if scheme in _SALTED:
        return _hashed(_SALTED[scheme], rest, encoding, salted=True)
    if encoding:
        raise PeerError(f"has a password of scheme {scheme}, which is never written in {encoding}")
    if scheme == "PBKDF2":
        return _pbkdf2(rest)
    if scheme not in _STARTS:
        raise PeerError(f"has a password of a scheme that is not known, {scheme}; {_RESET}")
    if not rest.startswith(_STARTS[scheme]):
        if scheme == "CRYPT":
            raise PeerError(f"has a password of scheme CRYPT, which {_REFUSED['DES-CRYPT']}")
        raise PeerError(f"has a password of scheme {scheme} that is not written as one")
    return _by_start(rest)


def _hashed(scheme: Scheme, text: str, encoding: str, *, salted: bool) -> ImportedPassword:
    size = _SIZES[scheme]
    is_hex = encoding == "HEX" or (not encoding and not salted and len(text) == 2 * size)
    octets = _hex(text) if is_hex else _base64(text)
    if len(octets) < size or (len(octets) > size) != salted:
        raise PeerError(f"has a digest of {HASHES[scheme]} whose length does not fit")
    return ImportedPassword(octets[:size], Recipe(scheme, octets[size:]))


def _by_start(text: str) -> ImportedPassword:
    """By what stands between its first dollar signs."""
    if found := _SHA_CRYPT.fullmatch(text):
        kind, rounds, salt, digest = found.groups()
        if (kind == "5") != (len(digest) == 43):
            raise PeerError("has a digest of SHA-crypt whose length does not fit")
        scheme, read = (
            (Scheme.SHA256_CRYPT, read_sha256_crypt64) if kind == "5" else (Scheme.SHA512_CRYPT, read_sha512_crypt64)
        )
        return ImportedPassword(read(digest), Recipe(scheme, salt.encode(), int(rounds or ROUNDS_DEFAULT)))
    if found := _BCRYPT.fullmatch(text):
        cost, salt, digest = found.groups()
        return ImportedPassword(read_bcrypt64(digest), Recipe(Scheme.BCRYPT, read_bcrypt64(salt), int(cost)))
    if found := _MD5_CRYPT.fullmatch(text):
        return ImportedPassword(read_md5_crypt64(found[2]), Recipe(Scheme.MD5_CRYPT, found[1].encode()))
    if found := _ARGON2.fullmatch(text):
        scheme, kib, passes, lanes = Scheme(found[1]), int(found[2]), int(found[3]), int(found[4])
        digest = _base64(found[6])
        return ImportedPassword(digest, Recipe(scheme, _base64(found[5]), passes, len(digest), kib, lanes))
    if text.startswith(("$pbkdf2-", "$pbkdf2$")):
        return _pbkdf2(text)
    raise PeerError("has a digest of a kind that is not taken, or not whole; " + _RESET)


def _pbkdf2(text: str) -> ImportedPassword:
    if found := _PBKDF2_DOVECOT.fullmatch(text):
        digest = _hex(found[3])
        return ImportedPassword(digest, Recipe(Scheme.PBKDF2_SHA1, found[1].encode(), int(found[2]), len(digest)))
    if found := _PBKDF2.fullmatch(text):
        digest, salt = _base64(found[4].replace(".", "+")), _base64(found[3].replace(".", "+"))
        return ImportedPassword(digest, Recipe(_PBKDF2_SCHEMES[found[1]], salt, int(found[2]), len(digest)))
    return _django(text)


def _django(text: str) -> ImportedPassword:
    if found := _PBKDF2_DJANGO.fullmatch(text):
        digest = _base64(found[4])
        return ImportedPassword(
            digest, Recipe(_PBKDF2_SCHEMES[found[1]], found[3].encode(), int(found[2]), len(digest))
        )
    for name in ("argon2", "bcrypt$"):
        if text.startswith(name + "$"):
            return _by_start(text[len(name) :])
    raise PeerError("has a digest of a kind that is not taken, or not whole; " + _RESET)


def _hex(text: str) -> bytes:
    try:
        return binascii.unhexlify(text)
    except ValueError:
        raise PeerError("has a digest that is not hexadecimal") from None


def _base64(text: str) -> bytes:
    """Padding may be missing. Raises PeerError."""
    bare = text.rstrip("=")
    try:
        return base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True)
    except ValueError:
        raise PeerError("has a digest that is not base 64") from None
