"""What many bindings claim is what each one's fields say, also where one is unlike those before it."""

import pytest

from bulkhead.errors import IntegrityError
from bulkhead.identifiers import AccountId
from bulkhead.records.derive import join_fields
from bulkhead.records.mailbox import Claims
from bulkhead.records.record import Kind, Suite, encode_header
from bulkhead.records.signed import read_fields

ACCOUNTS = [AccountId(bytes([number]) * 16) for number in range(4)]


def binding(account: bytes, generation: int = 1, version: int = 1, tenant: bytes = b"stnet", key: int = 32) -> bytes:
    fields = (tenant, account, generation.to_bytes(4, "big"), b"k" * key)
    return encode_header(Kind.BINDING, Suite.ED25519, version) + join_fields(fields) + b"s" * 64


def test_claims_are_the_fields_of_each_binding_whatever_came_before() -> None:
    claims = Claims()
    records = [binding(account) for account in ACCOUNTS] + [
        binding(ACCOUNTS[0], 7), binding(ACCOUNTS[1], version=2), binding(ACCOUNTS[2]),
        binding(ACCOUNTS[3], tenant=b"other"), binding(ACCOUNTS[0]), binding(b"short"), binding(ACCOUNTS[1], key=31),
    ]  # fmt: skip
    for record in (*records, *reversed(records)):
        assert claims.read(record) == read_fields(record, Kind.BINDING, 4)[1][:3]


def test_a_changed_octet_or_length_reads_as_alone_or_fails_closed() -> None:
    record = binding(ACCOUNTS[0])
    changed = [record[:at] + bytes((record[at] ^ 1,)) + record[at + 1 :] for at in range(len(record))]
    for other in [*changed, record[:-1], record + b"\0", b"", record[:6]]:
        claims = Claims()
        claims.read(record)
        try:
            expected = read_fields(other, Kind.BINDING, 4)[1][:3]
        except IntegrityError:
            with pytest.raises(IntegrityError):
                claims.read(other)
        else:
            assert claims.read(other) == expected
