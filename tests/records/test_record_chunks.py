"""Bodies in chunks: every size, every split, every range; and no chunk cut, moved, doubled or added."""

import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.records.record_vectors import pattern

from bulkhead.errors import IntegrityError
from bulkhead.records import message
from bulkhead.records.chunks import CHUNK_BYTES, SEALED_CHUNK_BYTES

KEY, ACCOUNT, EMAIL = b"k" * 32, b"a" * 16, b"e" * 16
AT = KEY, ACCOUNT, EMAIL
EDGES = [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES, 2 * CHUNK_BYTES + 1, 3 * CHUNK_BYTES - 1]


def seal(body, *sizes):
    pieces, at = [], 0
    for size in sizes:
        pieces.append(body[at : at + size])
        at += size
    return b"".join(message.seal_body_pieces(*AT, [*pieces, body[at:]]))


@pytest.mark.parametrize("size", EDGES)
def test_sealed_size_is_foretold_and_the_body_comes_back(size):
    body = pattern(size)
    sealed = seal(body)
    assert len(sealed) == message.body_sealed_size(size)
    assert message.open_body(*AT, sealed) == body
    assert b"".join(message.seal_body(*AT, body)) == sealed


@pytest.mark.parametrize("size", [0, 5, CHUNK_BYTES, 2 * CHUNK_BYTES + 7])
@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_bytes_do_not_depend_on_how_the_body_is_split(size, data):
    body = pattern(size)
    cuts = sorted(data.draw(st.lists(st.integers(0, size), max_size=6)))
    sizes = [after - before for before, after in zip([0, *cuts], cuts, strict=False)]
    sealed = seal(body, *sizes)
    assert sealed == seal(body)
    where = sorted(data.draw(st.lists(st.integers(0, len(sealed)), max_size=6)))
    pieces = [sealed[before:after] for before, after in zip([0, *where], [*where, len(sealed)], strict=True)]
    assert b"".join(message.open_body_pieces(*AT, pieces)) == body


def test_a_small_body_opens_at_every_split_of_its_record():
    sealed = seal(b"hello")
    for cut in range(len(sealed) + 1):
        assert b"".join(message.open_body_pieces(*AT, [sealed[:cut], sealed[cut:]])) == b"hello"
    assert b"".join(message.open_body_pieces(*AT, [bytes((byte,)) for byte in sealed])) == b"hello"


@given(
    size=st.one_of(st.sampled_from(EDGES), st.integers(0, 200_000)),
    offset=st.integers(0, 210_000),
    length=st.integers(0, 210_000),
)
@settings(max_examples=150, deadline=None)
def test_a_range_opens_from_its_own_chunks_alone(size, offset, length):
    body = pattern(size)
    sealed = seal(body)
    start, count, first = message.sealed_range(offset, length, size)
    assert first == offset // CHUNK_BYTES
    assert start + count <= len(sealed) or count == 0
    assert count <= (length // CHUNK_BYTES + 2) * SEALED_CHUNK_BYTES
    part = sealed[start : start + count]
    opened = message.open_body_range(*AT, part, offset=offset, length=length, plain_size=size)
    assert opened == body[offset : offset + length]


def test_a_range_of_a_cut_body_is_refused_though_the_size_was_changed_with_it():
    body = pattern(3 * CHUNK_BYTES)
    sealed = seal(body)
    size = 2 * CHUNK_BYTES
    start, count, _ = message.sealed_range(CHUNK_BYTES, 10, size)
    with pytest.raises(IntegrityError):
        message.open_body_range(*AT, sealed[start : start + count], offset=CHUNK_BYTES, length=10, plain_size=size)


def test_a_range_of_the_wrong_length_or_from_another_chunk_is_refused():
    sealed = seal(pattern(3 * CHUNK_BYTES))
    start, count, _ = message.sealed_range(0, 10, 3 * CHUNK_BYTES)
    for part in (sealed[start : start + count - 1], sealed[start + count : start + 2 * count], b""):
        with pytest.raises(IntegrityError):
            message.open_body_range(*AT, part, offset=0, length=10, plain_size=3 * CHUNK_BYTES)


def chunks_of(sealed):
    body = sealed[7:]
    return [body[at : at + SEALED_CHUNK_BYTES] for at in range(0, len(body), SEALED_CHUNK_BYTES)]


@pytest.mark.parametrize(
    "order", [(1, 0, 2), (0, 2, 1), (0, 1), (0, 2), (1, 2), (2,), (0,), (0, 0, 1, 2), (0, 1, 2, 2), (0, 1, 1, 2), ()]
)
def test_chunks_cannot_be_swapped_dropped_or_repeated(order):
    sealed = seal(pattern(3 * CHUNK_BYTES))
    chunks = chunks_of(sealed)
    assert len(chunks) == 3
    with pytest.raises(IntegrityError):
        message.open_body(*AT, sealed[:7] + b"".join(chunks[number] for number in order))


def test_a_chunk_of_another_message_does_not_fit():
    mine = seal(pattern(2 * CHUNK_BYTES))
    other = b"".join(message.seal_body_pieces(KEY, ACCOUNT, b"f" * 16, [pattern(2 * CHUNK_BYTES)]))
    with pytest.raises(IntegrityError):
        message.open_body(*AT, mine[:7] + chunks_of(other)[0] + chunks_of(mine)[1])


def test_an_empty_last_chunk_after_full_ones_is_refused():
    """The holder of the key could write one; readers agree to take one form only."""
    sealer = message.body_sealer(*AT)
    sealer.update(pattern(CHUNK_BYTES))
    first = sealer._seal(sealer._kept, False)
    last = sealer._seal(b"", True)
    with pytest.raises(IntegrityError, match="empty chunk"):
        message.open_body(*AT, message.body_header() + first + last)


def test_a_sealer_and_an_opener_end_once():
    sealer = message.body_sealer(*AT)
    sealed = message.body_header() + sealer.finish()
    for again in (sealer.finish, lambda: sealer.update(b"x")):
        with pytest.raises(ValueError):
            again()
    opener = message.body_opener(*AT)
    assert opener.update(sealed) == []
    assert opener.finish() == b""
    with pytest.raises(ValueError):
        opener.update(b"x")


def test_a_50_mb_body_is_sealed_and_opened_with_less_than_1_mb():
    piece = pattern(CHUNK_BYTES)
    tracemalloc.start()
    try:
        sealed = message.seal_body_pieces(*AT, (piece for _ in range(800)))
        size = sum(len(plain) for plain in message.open_body_pieces(*AT, sealed))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert size == 800 * CHUNK_BYTES
    assert peak < 1 << 20


@given(summary=st.binary(max_size=300), header=st.binary(max_size=300), body=st.binary(max_size=300))
@settings(max_examples=50, deadline=None)
def test_parts_come_back_as_they_went(summary, header, body):
    parts = message.seal_parts(*AT, summary, header, body)
    assert message.open_summary(*AT, parts.summary) == summary
    assert message.open_header(*AT, parts.header) == header
    assert message.open_body(*AT, parts.body) == body


def test_a_summary_of_1_mib_is_taken_and_one_octet_more_is_not():
    message.seal_parts(*AT, bytes(message.SUMMARY_MAX), b"", b"")
    with pytest.raises(ValueError):
        message.seal_parts(*AT, bytes(message.SUMMARY_MAX + 1), b"", b"")
