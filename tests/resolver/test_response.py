"""What resolver believes: the answer to its very question, and of it only the alias chain."""

import struct
import sys

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.resolver.dns_server import answer_to

from bulkhead.errors import PeerError
from bulkhead.resolver.response import (
    NEGATIVE_TTL_MAX,
    RESPONSE_MAX,
    TTL_MAX,
    Answer,
    Truncated,
    Type,
    Verdict,
    question,
    read_response,
)

NAME = dns.name.from_text("far.example.")
ID = 0x1234
QUERY = dns.message.from_wire(question(NAME, Type.MX, ID))
GOOD = answer_to(QUERY, "far.example. 300 IN MX 10 MX.far.example.").to_wire()


def read(data: bytes, wanted: Type = Type.MX) -> Answer:
    return read_response(data, NAME, wanted, ID)


def test_an_answer_gives_its_records_in_lower_case() -> None:
    assert read(GOOD) == Answer(Verdict.FOUND, ((10, "mx.far.example"),), 300)


def test_the_question_asks_for_recursion_and_offers_1232_octets() -> None:
    assert QUERY.flags & dns.flags.RD
    assert (QUERY.edns, QUERY.payload, QUERY.id) == (0, 1232, ID)


def test_the_case_of_the_name_does_not_matter() -> None:
    assert read(GOOD.replace(b"\x03far\x07example", b"\x03FAR\x07eXample", 1)).verdict is Verdict.FOUND


@pytest.mark.parametrize("identity", [0, ID - 1, ID ^ 0x8000])
def test_another_identity_is_not_believed(identity: int) -> None:
    with pytest.raises(PeerError):
        read(identity.to_bytes(2, "big") + GOOD[2:])


def test_a_query_sent_back_is_no_answer() -> None:
    with pytest.raises(PeerError):
        read(QUERY.to_wire())


@pytest.mark.parametrize(
    ("name", "wanted"), [("near.example.", Type.MX), ("far.example.", Type.A), ("x.far.example.", Type.MX)]
)
def test_an_answer_to_another_question_is_not_believed(name: str, wanted: Type) -> None:
    other = dns.message.from_wire(question(dns.name.from_text(name), wanted, ID))
    with pytest.raises(PeerError):
        read(answer_to(other, "far.example. 300 IN MX 10 evil.example.").to_wire())


def test_records_of_other_names_and_additional_addresses_are_not_taken() -> None:
    response = answer_to(
        QUERY, "other.example. 300 IN MX 10 evil.example.", "far.example. 300 IN MX 10 mx.far.example."
    )
    response.additional.append(dns.rrset.from_text("mx.far.example.", 300, "IN", "A", "192.0.2.66"))
    assert read(response.to_wire()).records == ((10, "mx.far.example"),)


def test_an_alias_chain_is_followed_within_the_answer() -> None:
    response = answer_to(
        QUERY, "far.example. 50 IN CNAME b.example.", "b.example. 20 IN CNAME c.example.",
        "c.example. 900 IN MX 5 mx.c.example.",
    )  # fmt: skip
    assert read(response.to_wire()) == Answer(Verdict.FOUND, ((5, "mx.c.example"),), 20)


def test_an_alias_whose_target_the_server_left_out_is_to_be_asked_for() -> None:
    answer = read(answer_to(QUERY, "far.example. 50 IN CNAME b.example.").to_wire())
    assert (answer.alias, answer.records) == ("b.example", ())


def test_an_alias_loop_is_a_failure() -> None:
    response = answer_to(QUERY, "far.example. 50 IN CNAME b.example.", "b.example. 50 IN CNAME far.example.")
    assert read(response.to_wire()).verdict is Verdict.FAILED


@pytest.mark.parametrize(("aliases", "verdict"), [(8, Verdict.FOUND), (9, Verdict.FAILED)])
def test_eight_aliases_are_followed_and_nine_are_not(aliases: int, verdict: Verdict) -> None:
    names = ["far.example.", *(f"n{number}.example." for number in range(aliases))]
    chain = [f"{names[at]} 60 IN CNAME {names[at + 1]}" for at in range(aliases)]
    assert read(answer_to(QUERY, *chain, f"{names[-1]} 60 IN MX 1 mx.example.").to_wire()).verdict is verdict


def test_a_name_that_does_not_exist_is_told_from_one_without_data() -> None:
    soa = ("example. 900 IN SOA ns.example. h.example. 1 2 3 4 120",)
    missing = read(answer_to(QUERY, rcode=dns.rcode.NXDOMAIN, authority=soa).to_wire())
    assert missing == Answer(Verdict.NO_NAME, (), 120)
    assert read(answer_to(QUERY, authority=soa).to_wire()) == Answer(Verdict.NO_DATA, (), 120)


@pytest.mark.parametrize("rcode", [dns.rcode.SERVFAIL, dns.rcode.REFUSED, dns.rcode.FORMERR, dns.rcode.NOTIMP])
def test_any_other_code_is_a_failure(rcode: int) -> None:
    assert read(answer_to(QUERY, rcode=rcode).to_wire()).verdict is Verdict.FAILED


def test_a_referral_is_a_failure_and_not_an_absence() -> None:
    response = answer_to(QUERY, authority=("example. 900 IN NS ns.example.",))
    assert read(response.to_wire()).verdict is Verdict.FAILED


def test_times_to_live_are_bounded() -> None:
    long = read(answer_to(QUERY, "far.example. 999999 IN MX 10 mx.far.example.").to_wire())
    assert long.ttl == TTL_MAX
    soa = ("example. 999999 IN SOA ns.example. h.example. 1 2 3 4 999999",)
    assert read(answer_to(QUERY, authority=soa).to_wire()).ttl == NEGATIVE_TTL_MAX


def test_a_record_of_a_type_that_nobody_asks_for_is_octets_and_imports_nothing() -> None:
    before = set(sys.modules)
    octets = struct.pack(">HHHHHH", 7, 0x8180, 1, 2, 0, 0) + b"\x01a\x00" + struct.pack(">HH", 1, 1)
    octets += b"\xc0\x0c" + struct.pack(">HHIH", 108, 1, 60, 6) + bytes(6)  # EUI48
    octets += b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 60, 4) + bytes((192, 0, 2, 1))
    answer = read_response(octets, dns.name.from_text("a"), Type.A, 7)
    assert len(answer.records) == 1
    assert set(sys.modules) == before


def test_a_truncated_answer_says_so_even_when_it_is_cut_in_a_record() -> None:
    cut = bytearray(GOOD)
    cut[2] |= 0x02
    for data in (bytes(cut), bytes(cut[:-3])):
        with pytest.raises(Truncated):
            read(data)


def test_a_response_over_the_limit_is_refused_unread() -> None:
    assert read(GOOD + bytes(RESPONSE_MAX - len(GOOD))).verdict is Verdict.FOUND
    with pytest.raises(PeerError):
        read(GOOD + bytes(RESPONSE_MAX - len(GOOD) + 1))


def test_five_hundred_records_are_cut_to_the_limit() -> None:
    records = [f"far.example. 60 IN MX {number} mx{number}.far.example." for number in range(500)]
    response = answer_to(QUERY, *records)
    response.answer = [dns.rrset.from_text("far.example.", 60, "IN", "MX", *(r.split("MX ")[1] for r in records))]
    assert len(read(response.to_wire(max_size=65535)).records) == 64


def test_every_cut_of_an_answer_is_refused_or_read() -> None:
    for end in range(len(GOOD)):
        with pytest.raises(PeerError):
            read(GOOD[:end])


@given(st.binary(max_size=200))
def test_random_octets_raise_only_peer_errors(data: bytes) -> None:
    with pytest.raises(PeerError):
        read(data)


@given(st.integers(12, len(GOOD) - 1), st.binary(min_size=1, max_size=8))
def test_a_good_head_with_random_octets_behind_raises_only_peer_errors(at: int, noise: bytes) -> None:
    try:
        read(GOOD[:at] + noise + GOOD[at + len(noise) :])
    except PeerError:
        pass


@given(st.binary(max_size=400), st.integers(0, 40))
def test_random_sections_behind_a_good_question_raise_only_peer_errors(noise: bytes, count: int) -> None:
    head = GOOD[:6] + count.to_bytes(2, "big") + GOOD[8:12]
    end = 12 + len(NAME.to_wire() or b"") + 4
    try:
        read(head + GOOD[12:end] + noise)
    except PeerError:
        pass
