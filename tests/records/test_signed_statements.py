"""Orders and rosters: one form, one hash, and every changed octet refused under a name."""

import base64
import hashlib
import json
import struct
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st

from bulkhead.drill.officers import People
from bulkhead.errors import ConfigError, IntegrityError, Refused
from bulkhead.holder.order_check import Known, check_order
from bulkhead.holder.orders import approvals_of
from bulkhead.records.canonical import decode_statement, encode_statement
from bulkhead.records.officer_file import OfficerPrivateKey, open_officer_key, seal_officer_key
from bulkhead.records.order import Quorum, decode_order, order_hash
from bulkhead.records.roster import decode_roster, roster_hash
from bulkhead.records.signed_file import OrderFile, RosterFile, read_order_file, read_roster_file

VECTORS = Path(__file__).parents[1] / "vectors" / "orders" / "v1"
PEOPLE = People()
PEOPLE.use(PEOPLE.roster())
KNOWN = Known(decode_roster(PEOPLE.octets), PEOPLE.hash)
PASSPHRASE = b"six words and not only one"


def now() -> int:
    return int(time.time() * 1000)


def check(data: bytes, approvals: object, executor: str = "auth") -> None:
    check_order(data, approvals, KNOWN, tenant="stnet", executor=executor, now=now())  # type: ignore[arg-type]


def refusal_of(data: bytes, approvals: object) -> str:
    try:
        check(data, approvals)
    except (Refused, IntegrityError) as error:
        return error.code
    return ""


@pytest.mark.parametrize("by", ["ada", "ada/passkey", "sec/passkey"])
def test_every_changed_octet_of_an_order_or_of_its_signature_is_refused_by_name(by: str) -> None:
    data = PEOPLE.order("stop-logins", {"until": now() + 60_000}).encode()
    approvals = approvals_of(PEOPLE.by(data, by))
    check(data, approvals)
    for place in range(len(data)):
        for bit in (0x01, 0x80):
            changed = data[:place] + bytes([data[place] ^ bit]) + data[place + 1 :]
            assert refusal_of(changed, approvals) not in ("", "error", "refused", "integrity"), (place, changed)
    (one,) = PEOPLE.by(data, by)
    for name in ("signature", "client_data", "authenticator_data", "key"):
        octets = getattr(one, name)
        for place in range(len(octets)):
            value = octets[:place] + bytes([octets[place] ^ 1]) + octets[place + 1 :]
            fields = {field: getattr(one, field) for field in one.__struct_fields__} | {name: value}
            assert refusal_of(data, approvals_of([type(one)(**fields)])), (name, place)


def test_every_changed_octet_of_a_roster_or_of_its_signatures_is_refused_by_name() -> None:
    data, roots = PEOPLE.octets, PEOPLE.roots
    signatures = [(one.root, one.signature) for one in PEOPLE.sign(data)]
    roots.check(data, signatures)

    def refusal(changed: bytes, by: list[tuple[bytes, bytes]]) -> str:
        try:
            decode_roster(changed)
            roots.check(changed, by)
        except (Refused, IntegrityError) as error:
            return error.code
        return ""

    for place in range(len(data)):
        changed = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
        assert refusal(changed, signatures) not in ("", "error", "refused", "integrity"), place
    for number, (root, signature) in enumerate(signatures):
        for place in range(64):
            wrong = signature[:place] + bytes([signature[place] ^ 1]) + signature[place + 1 :]
            assert refusal(data, [*signatures[:number], (root, wrong), *signatures[number + 1 :]]) == "bad-signature"


@given(st.binary(max_size=300))
@settings(max_examples=200, deadline=None)
def test_random_octets_are_no_order_and_no_roster(data: bytes) -> None:
    for decode in (decode_order, decode_roster):
        with pytest.raises(IntegrityError):
            decode(data)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(st.characters(codec="utf-8")),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.from_regex(r"[a-z]{1,5}", fullmatch=True), inner)
        ),
        max_leaves=6,
    )
)
@settings(max_examples=100, deadline=None)
def test_a_statement_has_one_form(value: object) -> None:
    try:
        data = encode_statement({"a": value})
    except ValueError:
        return  # too deep
    assert decode_statement(data, 1 << 20, "it") == {"a": value}
    with pytest.raises(IntegrityError):
        decode_statement(data + b" ", 1 << 20, "it")


def test_a_roster_raises_a_quorum_and_lowers_none() -> None:
    quorum = Quorum(partner=2, operator=1)
    assert quorum.stricter({"partner": 1, "operator": 3}) == Quorum(partner=2, operator=3)
    assert str(quorum) == "2 of partner AND 1 of operator"


def test_files_of_orders_and_rosters_come_back_as_they_were_written() -> None:
    data = PEOPLE.order("stop-logins").encode()
    file = OrderFile(data)
    for approval in approvals_of(PEOPLE.by(data, "ada", "sec/passkey", "ada")):
        file = file.with_approval(approval)
    assert len(file.approvals) == 2  # the same key once
    assert read_order_file(file.render()) == file
    roster = RosterFile(PEOPLE.octets)
    for one in PEOPLE.sign(PEOPLE.octets):
        roster = roster.with_signature((one.root, one.signature))
    assert read_roster_file(roster.render()) == roster
    for text in ("", "{}", "[]", roster.render(), file.render().replace("order/1", "order/2"), "[" * 100_000):
        with pytest.raises(IntegrityError):
            read_order_file(text)


def test_an_officers_key_opens_by_its_passphrase_alone_and_unchanged() -> None:
    key = OfficerPrivateKey("ada", "partner-admin", Ed25519PrivateKey.generate())
    text = seal_officer_key(key, PASSPHRASE)
    assert open_officer_key(text, PASSPHRASE).public == key.public
    assert key.private_key.private_bytes_raw().hex() not in text
    assert base64.b64encode(key.private_key.private_bytes_raw()).decode() not in text
    for changed, passphrase in (
        (text, PASSPHRASE + b"."),
        (text.replace("ada", "eve"), PASSPHRASE),
        (text.replace("partner-admin", "partner-root"), PASSPHRASE),
        (text.replace('"passes": 3', '"passes": 2'), PASSPHRASE),
        ("{}", PASSPHRASE),
    ):
        with pytest.raises(IntegrityError):
            open_officer_key(changed, passphrase)
    with pytest.raises(ConfigError):
        seal_officer_key(key, b"short")


def test_a_reader_from_the_documents_alone_verifies_the_vectors() -> None:
    """docs/formats.md, read with json, hashlib and Ed25519: what was signed once is for ever read so."""
    for name in ("roster", "order"):
        vector = json.loads((VECTORS / f"{name}.json").read_text())
        statement = vector["statement"].encode()
        again = json.dumps(json.loads(statement), ensure_ascii=False, sort_keys=True, separators=(",", ":"))
        assert statement == again.encode()
        label = f"bulkhead/v1/{name}".encode()
        octets = struct.pack(">H", len(label)) + label + statement
        assert hashlib.sha256(octets).hexdigest() == vector["sha256"]
        for public, signature in vector["signatures"]:
            Ed25519PublicKey.from_public_bytes(bytes.fromhex(public)).verify(bytes.fromhex(signature), octets)
    assert roster_hash(json.loads((VECTORS / "roster.json").read_text())["statement"].encode())
    order = json.loads((VECTORS / "order.json").read_text())
    assert order_hash(order["statement"].encode()).hex() == order["sha256"]
