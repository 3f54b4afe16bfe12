"""A record is sealed anew from any version that is there, in its place, and from nothing else."""

import struct

import pytest

from bulkhead.errors import IntegrityError
from bulkhead.identifiers import TenantId
from bulkhead.records.credential import ALL_SCOPES, State, StretchParameters
from bulkhead.records.halves import AuthHalf, Place
from bulkhead.records.keyfile import KeySet, NamedKey
from bulkhead.records.record import HEADER_BYTES, NONCE_BYTES, Kind, read_header
from bulkhead.records.reseal import Act, Resealer

TENANT = TenantId("stnet")
KEYS = KeySet(tuple(NamedKey("auth", version, bytes([version] * 32)) for version in (1, 2, 3)))
BID = bytes(range(16))
HALF = AuthHalf(ALL_SCOPES, State.ACTIVE, bytes(16), StretchParameters(), bytes(32))
PLACE = Place(TENANT, BID, 7)
RECORDS = {version: HALF.seal(PLACE, version, KEYS.get("auth", version)) for version in (1, 2, 3)}


def resealer(keys: KeySet = KEYS, tenant: TenantId = TENANT) -> Resealer:
    return Resealer(Kind.AUTH_HALF, tenant, keys, "auth", 3)


def fails(act: Act, record: bytes, row: bytes = BID, number: int = 7) -> None:
    with pytest.raises((IntegrityError, ValueError, struct.error)):
        act(record, row, number)


def test_every_older_version_is_sealed_anew_as_long_as_it_was_and_the_new_one_stays() -> None:
    reseal = resealer().resealing()
    for version in (1, 2, 1):  # one after the other, as they lie
        again = reseal(RECORDS[version], BID, 7)
        assert len(again) == len(RECORDS[version])
        assert read_header(again, Kind.AUTH_HALF).key_version == 3
        assert AuthHalf.open(again, PLACE, KEYS.get("auth", 3)) == HALF
        assert resealer().checking()(again, BID, 7)
    assert reseal(RECORDS[3], BID, 7) is RECORDS[3]


def test_no_two_records_have_the_same_nonce() -> None:
    reseal = resealer().resealing()
    made = [reseal(RECORDS[1], BID, 7)[HEADER_BYTES : HEADER_BYTES + NONCE_BYTES] for _ in range(600)]
    assert len({*made}) == 600


def test_any_changed_bit_length_or_place_is_neither_sealed_anew_nor_passed() -> None:
    for act, version in ((resealer().resealing(), 1), (resealer().checking(), 3)):
        record = RECORDS[version]
        assert act(record, BID, 7)
        for at in range(len(record)):
            fails(act, record[:at] + bytes((record[at] ^ 128,)) + record[at + 1 :])
        for cut in (0, 6, 7, 18, 19, 34, len(record) - 1):
            fails(act, record[:cut])
        for row, number in ((BID, 8), (bytes(16), 7), (BID[:15], 7), (BID + b"\0", 7), (BID, -1), (BID, 1 << 32)):
            fails(act, record, row, number)


def test_a_record_of_another_tenant_or_under_a_key_that_is_gone_fails() -> None:
    fails(resealer(tenant=TenantId("other")).resealing(), RECORDS[1])
    fails(resealer(tenant=TenantId("other")).checking(), RECORDS[3])
    fails(resealer(KeySet(KEYS.keys[1:])).resealing(), RECORDS[1])


def test_a_record_under_an_older_key_does_not_pass_the_verification() -> None:
    fails(resealer().checking(), RECORDS[2])
