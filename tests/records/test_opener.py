"""The opener of many records gives and refuses exactly what opening each alone does."""

import pytest

from bulkhead.errors import IntegrityError
from bulkhead.identifiers import TenantId
from bulkhead.records.credential import ALL_SCOPES, State, StretchParameters
from bulkhead.records.halves import AuthHalf, Legacy, Place
from bulkhead.records.keyfile import KeySet, NamedKey
from bulkhead.records.opener import Opener
from bulkhead.records.record import Kind, open_

TENANT = TenantId("stnet")
KEYS = KeySet((NamedKey("auth", 1, bytes(32)), NamedKey("auth", 2, bytes([1] * 32)), NamedKey("index", 3, bytes(32))))
BID = bytes(range(16))
HALF = AuthHalf(ALL_SCOPES, State.ACTIVE, bytes(16), StretchParameters(), bytes(32), Legacy("SSHA", b"salt"))
RECORD = HALF.seal(Place(TENANT, BID, 7), 2, KEYS.get("auth", 2))


def test_it_gives_the_plaintext_and_the_key_version() -> None:
    body, version = Opener(Kind.AUTH_HALF, TENANT, KEYS, "auth").open(RECORD, BID, 7)
    assert (body, version) == (
        open_(RECORD, Kind.AUTH_HALF, KEYS.get("auth", 2), Place(TENANT, BID, 7).fields()), 2
    )  # fmt: skip
    assert AuthHalf.decode(body) == HALF
    assert HALF.scheme == "argon2id(m=19456,t=2,p=1)(SSHA)"


def test_any_changed_bit_place_or_kind_fails_closed_before_and_after_the_key_was_used() -> None:
    opener = Opener(Kind.AUTH_HALF, TENANT, KEYS, "auth")
    for _ in range(2):
        for at in range(len(RECORD)):
            changed = RECORD[:at] + bytes((RECORD[at] ^ 1,)) + RECORD[at + 1 :]
            with pytest.raises(IntegrityError):
                opener.open(changed, BID, 7)
        for cut in (0, 6, 7, 19, 34, len(RECORD) - 1):
            with pytest.raises(IntegrityError):
                opener.open(RECORD[:cut], BID, 7)
        for row, number in ((BID, 8), (bytes(16), 7), (BID[:5], 7)):
            with pytest.raises(IntegrityError):
                opener.open(RECORD, row, number)
        with pytest.raises(IntegrityError):
            Opener(Kind.AUTH_HALF, TenantId("other"), KEYS, "auth").open(RECORD, BID, 7)
        opener.open(RECORD, BID, 7)


def test_halves_of_one_sort_differ_in_nothing_that_is_counted() -> None:
    def sort(half: AuthHalf) -> bytes:
        record = half.seal(Place(TENANT, BID, 1), 1, bytes(32))
        return AuthHalf.sort_of(open_(record, Kind.AUTH_HALF, bytes(32), Place(TENANT, BID, 1).fields()))

    alike = AuthHalf(ALL_SCOPES, State.ACTIVE, b"s" * 16, StretchParameters(), b"h" * 32, Legacy("SSHA", b"other"))
    assert sort(alike) == sort(HALF)
    for other in (
        AuthHalf(ALL_SCOPES, State.SUSPENDED, bytes(16), StretchParameters(), bytes(32), Legacy("SSHA", b"salt")),
        AuthHalf(ALL_SCOPES, State.ACTIVE, bytes(16), StretchParameters(), bytes(32), Legacy("MD5", b"salt")),
        AuthHalf(ALL_SCOPES, State.ACTIVE, bytes(16), StretchParameters(8), bytes(32), Legacy("SSHA", b"salt")),
        AuthHalf(ALL_SCOPES, State.ACTIVE, bytes(16), None, bytes(32)),
    ):
        assert sort(other) != sort(HALF)
    for body in (b"", bytes(61), bytes(61) + b"\x05", bytes(61) + b"\x00\x00x"):
        with pytest.raises((IndexError, ValueError)):
            AuthHalf.sort_of(body)
