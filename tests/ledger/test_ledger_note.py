"""bulkhead.ledger.note: signed notes, checkpoints, cosignatures."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.errors import IntegrityError
from bulkhead.ledger.note import (
    NOTE_MAX,
    SIGNATURES_MAX,
    Checkpoint,
    Note,
    NoteSignature,
    NoteSigner,
    SignatureType,
    VerifierKey,
    add_signatures,
    cosign,
    parse_checkpoint,
    parse_note,
    parse_verifier_key,
    sign_checkpoint,
    verify_checkpoint,
    verify_cosignature,
    verify_note,
)

ORIGIN = "bulkhead.example/stnet"
LOG = NoteSigner(ORIGIN, Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
WITNESS = NoteSigner(
    "partner.example/w1", Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33))), SignatureType.COSIGNATURE
)
HEAD = Checkpoint(ORIGIN, 7, bytes(range(32)))
# The example of the tlog-cosignature document; the keys behind it are not published.
EXAMPLE = (
    "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
    "— example.com/behind-the-sofa "
    "Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
    "— witness.example.com/w1 "
    "jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n"
).encode()
# A verifier key that Go's note package publishes as its example, and the note beside it.
GO_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_NOTE = (
    "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n\n"
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
).encode()


def test_a_note_published_elsewhere_verifies_under_its_published_key() -> None:
    key = parse_verifier_key(GO_KEY)
    verify_note(parse_note(GO_NOTE), key)
    assert str(key) == GO_KEY
    with pytest.raises(IntegrityError, match="does not verify"):
        verify_note(parse_note(GO_NOTE.replace(b"answer", b"Answer")), key)


def test_the_standards_example_parses_and_is_written_back_byte_for_byte() -> None:
    note = parse_note(EXAMPLE)
    assert note.encode() == EXAMPLE
    checkpoint = parse_checkpoint(note.text)
    assert (checkpoint.origin, checkpoint.size) == ("example.com/behind-the-sofa", 20852163)
    assert checkpoint.text() == note.text
    assert int.from_bytes(note.signatures[1].blob[:8], "big") == 1679315147


def test_a_signed_checkpoint_verifies_for_its_origin_and_key_only() -> None:
    note = parse_note(sign_checkpoint(HEAD, LOG).encode())
    assert verify_checkpoint(note, ORIGIN, LOG.verifier) == HEAD
    with pytest.raises(IntegrityError, match="is of the log"):
        verify_checkpoint(note, "bulkhead.example/kddi", LOG.verifier)
    with pytest.raises(IntegrityError, match="no signature by"):
        verify_checkpoint(note, ORIGIN, VerifierKey(ORIGIN, WITNESS.verifier.public))


def test_a_cosignature_verifies_and_gives_its_time() -> None:
    note = sign_checkpoint(HEAD, LOG)
    cosigned = parse_note(add_signatures(note, [cosign(note, WITNESS, time=1_700_000_000)]).encode())
    assert verify_cosignature(cosigned, WITNESS.verifier) == 1_700_000_000
    assert verify_checkpoint(cosigned, ORIGIN, LOG.verifier) == HEAD


def test_a_cosignature_of_another_time_or_text_is_refused() -> None:
    note = sign_checkpoint(HEAD, LOG)
    line = cosign(note, WITNESS, time=1_700_000_000)
    later = NoteSignature(line.name, line.key_id, (1_700_000_001).to_bytes(8, "big") + line.blob[8:])
    with pytest.raises(IntegrityError, match="does not verify"):
        verify_cosignature(add_signatures(note, [later]), WITNESS.verifier)
    other = sign_checkpoint(Checkpoint(ORIGIN, 8, bytes(32)), LOG)
    with pytest.raises(IntegrityError, match="does not verify"):
        verify_cosignature(add_signatures(other, [line]), WITNESS.verifier)
    with pytest.raises(IntegrityError, match="malformed"):
        verify_cosignature(add_signatures(note, [NoteSignature(line.name, line.key_id, b"short")]), WITNESS.verifier)


def test_a_signature_by_an_unknown_key_is_ignored() -> None:
    note = sign_checkpoint(HEAD, LOG)
    strangers = [NoteSignature(ORIGIN, 1, bytes(64)), NoteSignature("other.example", LOG.verifier.key_id, bytes(64))]
    assert verify_checkpoint(add_signatures(note, strangers), ORIGIN, LOG.verifier) == HEAD


def test_a_second_signature_by_a_known_key_that_fails_spoils_the_note() -> None:
    note = sign_checkpoint(HEAD, LOG)
    bad = NoteSignature(ORIGIN, LOG.verifier.key_id, bytes(64))
    with pytest.raises(IntegrityError, match="does not verify"):
        verify_checkpoint(add_signatures(note, [bad]), ORIGIN, LOG.verifier)


def test_a_log_key_and_a_witness_key_of_the_same_bytes_have_different_ids() -> None:
    public = LOG.verifier.public
    assert VerifierKey("a", public).key_id != VerifierKey("a", public, SignatureType.COSIGNATURE).key_id


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"text\n",
        b"text\n\n",
        EXAMPLE[:-1],
        EXAMPLE + b"\n",
        EXAMPLE.replace(b"\n", b"\r\n"),
        EXAMPLE.replace("— w".encode(), b"- w"),
        EXAMPLE.replace(b"witness.example.com/w1 ", b"witness+1 "),
        EXAMPLE.replace(b"witness.example.com/w1 ", "a\u00a0b ".encode()),
        EXAMPLE.replace(b"nA==\n", b"nA=\n"),
        EXAMPLE.replace(b"nA==\n", b"nB==\n"),
        EXAMPLE.replace(b"nA==\n", b"nA== \n"),
        b"\xff" + EXAMPLE,
        EXAMPLE[: EXAMPLE.index("—".encode())] + "— a AAAAAA==\n".encode(),
    ],
)
def test_a_malformed_note_is_refused(data: bytes) -> None:
    with pytest.raises(IntegrityError):
        parse_note(data)


@pytest.mark.parametrize(
    "text",
    [
        "a\n1\n",
        "a\n01\n" + "A" * 43 + "=\n",
        "a\n+1\n" + "A" * 43 + "=\n",
        "a\n\u0661\n" + "A" * 43 + "=\n",
        "a\n9223372036854775808\n" + "A" * 43 + "=\n",
        "a\n1\n" + "A" * 43 + "=",
        "a\n1\n" + "A" * 44 + "\n",
        "\n1\n" + "A" * 43 + "=\n",
        "a\n1\n" + "A" * 43 + "=\n\n",
        "a" * 256 + "\n1\n" + "A" * 43 + "=\n",
    ],
)
def test_a_malformed_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(IntegrityError):
        parse_checkpoint(text)


def test_the_largest_size_and_an_extension_line_are_accepted() -> None:
    text = f"a\n{2**63 - 1}\n" + "A" * 43 + "=\nextension\n"
    checkpoint = parse_checkpoint(text)
    assert (checkpoint.size, checkpoint.extensions, checkpoint.text()) == (2**63 - 1, ("extension",), text)


def test_limits_of_a_note_hold_at_the_limit_and_one_past_it() -> None:
    lines = tuple(NoteSignature(f"w{i}", i, b"x") for i in range(SIGNATURES_MAX + 1))
    assert len(parse_note(Note("t\n", lines[:-1]).encode()).signatures) == SIGNATURES_MAX
    with pytest.raises(IntegrityError, match="signatures"):
        parse_note(Note("t\n", lines).encode())
    room = NOTE_MAX - len(Note("\n", lines[:1]).encode())
    parse_note(Note("t" * room + "\n", lines[:1]).encode())
    with pytest.raises(IntegrityError, match="bytes"):
        parse_note(Note("t" * (room + 1) + "\n", lines[:1]).encode())


@pytest.mark.parametrize(
    "text",
    ["", "a+b+c", GO_KEY.replace("c74f", "c74e"), GO_KEY.replace("+AR", "+BR"), GO_KEY[:-4], "PeterNeumann+c74f20a3+"],
)
def test_a_malformed_verifier_key_is_refused(text: str) -> None:
    with pytest.raises(IntegrityError):
        parse_verifier_key(text)


@given(st.binary(max_size=300) | st.text(alphabet="a—\n =+AB/1", max_size=120).map(str.encode))
def test_random_bytes_raise_only_integrity_errors(data: bytes) -> None:
    try:
        note = parse_note(data)
        assert note.encode() == data
        parse_checkpoint(note.text)
    except IntegrityError:
        pass


@given(st.integers(0, len(EXAMPLE) * 8 - 1))
def test_a_turned_bit_in_a_signed_checkpoint_is_found(bit: int) -> None:
    data = bytearray(sign_checkpoint(HEAD, LOG).encode())
    bit %= len(data) * 8
    data[bit // 8] ^= 1 << bit % 8
    with pytest.raises(IntegrityError):
        verify_checkpoint(parse_note(bytes(data)), ORIGIN, LOG.verifier)


def test_keys_of_the_wrong_type_are_our_bug() -> None:
    note = sign_checkpoint(HEAD, LOG)
    with pytest.raises(ValueError, match="witness"):
        verify_note(note, WITNESS.verifier)
    with pytest.raises(ValueError, match="log"):
        verify_cosignature(note, LOG.verifier)
    with pytest.raises(ValueError, match="witness"):
        cosign(note, LOG, time=1)
