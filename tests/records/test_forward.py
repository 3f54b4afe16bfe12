"""Statements that let mail go on, and return paths: what is not exactly directory's own is nobody's."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.errors import IntegrityError
from bulkhead.identifiers import AccountId, QueueId, TenantId
from bulkhead.records.forward import DAY_MS, RETURN_DAYS, Forward, ReturnPaths, public_key, signing_key

KEY, KDDI, NOW = bytes(range(32)), TenantId("kddi"), 1_800_000_000_000
ACCOUNT = AccountId(b"a" * 16)
SAID = Forward(KDDI, ACCOUNT, QueueId(b"q" * 16), "x@far.example", "fwd-y@kddi.example", NOW)
STATEMENT = SAID.sign(signing_key(KEY, KDDI))
PINNED = Ed25519PublicKey.from_public_bytes(public_key(KEY, KDDI))
RETURNS = ReturnPaths(KEY, KDDI)
LOCAL_PART = RETURNS.make(ACCOUNT, "kddi.example", NOW).partition("@")[0]


def test_a_statement_says_what_was_signed() -> None:
    assert Forward.verify(STATEMENT, PINNED, KDDI) == SAID


@pytest.mark.parametrize("at", range(len(STATEMENT)))
def test_no_octet_of_a_statement_can_be_changed(at: int) -> None:
    with pytest.raises(IntegrityError):
        Forward.verify(STATEMENT[:at] + bytes([STATEMENT[at] ^ 1]) + STATEMENT[at + 1 :], PINNED, KDDI)


@pytest.mark.parametrize("key", [signing_key(bytes(32), KDDI), signing_key(KEY, TenantId("jcom"))])
def test_a_statement_under_another_key_is_refused(key: object) -> None:
    with pytest.raises(IntegrityError):
        Forward.verify(SAID.sign(key), PINNED, KDDI)  # type: ignore[arg-type]  # the parameter above


def test_a_statement_of_another_tenant_is_refused_even_under_the_same_key() -> None:
    with pytest.raises(IntegrityError):
        Forward.verify(STATEMENT, PINNED, TenantId("jcom"))


def test_a_statement_too_long_is_not_made() -> None:
    with pytest.raises(ValueError, match="too long"):
        Forward(KDDI, ACCOUNT, SAID.id, "x" * 990, "", NOW).sign(signing_key(KEY, KDDI))


@given(st.binary(max_size=1200))
def test_octets_at_random_let_nothing_go(octets: bytes) -> None:
    with pytest.raises(IntegrityError):
        Forward.verify(octets, PINNED, KDDI)


@given(st.binary(max_size=300))
def test_what_is_read_before_the_signature_is_checked_raises_one_error_alone(fields: bytes) -> None:
    try:
        Forward.read(fields + bytes(64))
    except IntegrityError:
        pass


def test_a_return_path_fits_a_local_part_and_is_found_in_any_case() -> None:
    assert len(LOCAL_PART) <= 64
    assert RETURNS.read(LOCAL_PART.upper(), "kddi.example", NOW) == ACCOUNT


@pytest.mark.parametrize(("days", "found"), [(RETURN_DAYS, ACCOUNT), (RETURN_DAYS + 1, None), (-1, None)])
def test_a_return_path_takes_bounces_for_its_days(days: int, found: object) -> None:
    assert RETURNS.read(LOCAL_PART, "kddi.example", NOW + days * DAY_MS) == found


def test_a_return_path_is_good_for_its_domain_and_tenant_alone() -> None:
    assert RETURNS.read(LOCAL_PART, "other.example", NOW) is None
    assert ReturnPaths(KEY, TenantId("jcom")).read(LOCAL_PART, "kddi.example", NOW) is None
    assert ReturnPaths(bytes(32), KDDI).read(LOCAL_PART, "kddi.example", NOW) is None


@pytest.mark.parametrize("at", range(4, len(LOCAL_PART) - 1))
def test_no_character_of_a_return_path_can_be_changed(at: int) -> None:
    other = "b" if LOCAL_PART[at] == "a" else "a"
    assert RETURNS.read(LOCAL_PART[:at] + other + LOCAL_PART[at + 1 :], "kddi.example", NOW) is None


@given(st.text(max_size=70))
def test_a_local_part_at_random_is_no_return_path(text: str) -> None:
    assert RETURNS.read(text, "kddi.example", NOW) is None
    assert RETURNS.read("fwd-" + text, "kddi.example", NOW) is None
