"""bulkhead.ledger.merkle against the published vectors, pymerkle, and every kind of tampering."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.errors import IntegrityError
from bulkhead.ledger import merkle

# The eight entries, roots and proofs that implementations of RFC 6962 and RFC 9162 have tested against since 2013.
ENTRIES = [bytes.fromhex(h) for h in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657")] + [
    bytes.fromhex("606162636465666768696a6b6c6d6e6f")
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
INCLUSION = {  # (index, size): proof
    (0, 1): [],
    (0, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (5, 8): [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 3): ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
    (1, 5): [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}
CONSISTENCY = {  # (old, new): proof
    (1, 1): [],
    (1, 8): INCLUSION[0, 8],
    (6, 8): [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 5): [
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}


def subtrees(leaves: list[bytes]) -> merkle.Subtree:
    return lambda height, index: merkle.complete_root(leaves[index << height : (index + 1) << height])


def leaves_of(size: int) -> list[bytes]:
    return [merkle.leaf_hash(i.to_bytes(4, "big")) for i in range(size)]


LEAVES = [merkle.leaf_hash(entry) for entry in ENTRIES]


@pytest.mark.parametrize("size", range(9))
def test_published_roots_come_out(size: int) -> None:
    assert merkle.tree_root(LEAVES[:size]).hex() == ROOTS[size]


@pytest.mark.parametrize(("index", "size"), INCLUSION)
def test_published_inclusion_proofs_come_out_and_verify(index: int, size: int) -> None:
    proof = merkle.inclusion_proof(index, size, subtrees(LEAVES))
    assert [value.hex() for value in proof] == INCLUSION[index, size]
    merkle.verify_inclusion(LEAVES[index], index, size, proof, bytes.fromhex(ROOTS[size]))


@pytest.mark.parametrize(("old", "new"), CONSISTENCY)
def test_published_consistency_proofs_come_out_and_verify(old: int, new: int) -> None:
    proof = merkle.consistency_proof(old, new, subtrees(LEAVES))
    assert [value.hex() for value in proof] == CONSISTENCY[old, new]
    merkle.verify_consistency(old, new, proof, bytes.fromhex(ROOTS[old]), bytes.fromhex(ROOTS[new]))


def test_every_inclusion_proof_up_to_40_entries_verifies_for_its_index_only() -> None:
    leaves = leaves_of(40)
    for size in range(1, 41):
        root = merkle.tree_root(leaves[:size])
        for index in range(size):
            proof = merkle.inclusion_proof(index, size, subtrees(leaves))
            merkle.verify_inclusion(leaves[index], index, size, proof, root)
            for wrong in {index ^ 1, index + 1, 0, size - 1} - {index}:
                with pytest.raises(IntegrityError):
                    merkle.verify_inclusion(leaves[index], wrong, size, proof, root)


def test_every_consistency_proof_up_to_40_entries_verifies() -> None:
    leaves = leaves_of(40)
    roots = [merkle.tree_root(leaves[:size]) for size in range(41)]
    for new in range(41):
        for old in range(new + 1):
            proof = merkle.consistency_proof(old, new, subtrees(leaves))
            merkle.verify_consistency(old, new, proof, roots[old], roots[new])


@given(st.data())
def test_a_tampered_inclusion_proof_raises(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 300))
    index = data.draw(st.integers(0, size - 1))
    leaves = leaves_of(size)
    root, proof = merkle.tree_root(leaves), merkle.inclusion_proof(index, size, subtrees(leaves))
    parts = [leaves[index], *proof, root]
    with pytest.raises(IntegrityError):
        leaf, *rest, top = tamper(data, parts)
        merkle.verify_inclusion(leaf, index, size, rest, top)


@given(st.data())
def test_a_tampered_consistency_proof_raises(data: st.DataObject) -> None:
    new = data.draw(st.integers(1, 300))
    old = data.draw(st.integers(1, new))
    leaves = leaves_of(new)
    roots = [merkle.tree_root(leaves[:old]), merkle.tree_root(leaves)]
    proof = merkle.consistency_proof(old, new, subtrees(leaves))
    with pytest.raises(IntegrityError):
        first, *rest, top = tamper(data, [roots[0], *proof, roots[1]])
        merkle.verify_consistency(old, new, rest, first, top)


def tamper(data: st.DataObject, parts: list[bytes]) -> list[bytes]:
    """The parts with one bit turned, one hash of the proof left out, repeated or cut, or one too many."""
    inner = range(1, len(parts) - 1)
    acts = ["flip", "cut", "extra"] + (["drop", "repeat"] if inner else [])
    act = data.draw(st.sampled_from(acts))
    at = data.draw(st.sampled_from(inner if act in ("drop", "repeat") else range(len(parts))))
    if act == "flip":
        bit = data.draw(st.integers(0, 255))
        value = bytearray(parts[at])
        value[bit // 8] ^= 1 << bit % 8
        return [*parts[:at], bytes(value), *parts[at + 1 :]]
    if act == "cut":
        return [*parts[:at], parts[at][:-1], *parts[at + 1 :]]
    if act == "extra":
        return [*parts[:-1], bytes(32), parts[-1]]
    return parts[:at] + parts[at + 1 :] if act == "drop" else [*parts[:at], parts[at], *parts[at:]]


@given(st.lists(st.binary(max_size=33), max_size=70), st.integers(-1, 2**64), st.integers(-1, 2**64))
def test_a_random_proof_raises_only_integrity_errors(proof: list[bytes], first: int, second: int) -> None:
    with pytest.raises(IntegrityError):
        merkle.verify_inclusion(bytes(32), first, second, proof, bytes(32))
    if not (proof == [] and 0 < first == second):
        with pytest.raises(IntegrityError):
            merkle.verify_consistency(first, second, proof, bytes(32), bytes(32))


def test_two_roots_of_one_size_are_called_a_fork() -> None:
    with pytest.raises(IntegrityError, match="forked"):
        merkle.verify_consistency(3, 3, [], b"a" * 32, b"b" * 32)


def test_a_smaller_tree_is_never_consistent_with_a_larger_one_before_it() -> None:
    with pytest.raises(IntegrityError, match="larger"):
        merkle.verify_consistency(4, 3, [], bytes(32), bytes(32))


@given(st.integers(0, 600), st.integers(0, 600))
def test_a_frontier_has_the_same_root_however_it_was_fed(size: int, split: int) -> None:
    leaves = leaves_of(size)
    fed = merkle.Frontier()
    while fed.size < size:
        height = min((fed.size & -fed.size).bit_length() - 1 if fed.size else 63, (size - fed.size).bit_length() - 1)
        height = min(height, split % 10)
        fed.append_subtree(height, merkle.complete_root(leaves[fed.size : fed.size + (1 << height)]))
    assert fed.root() == merkle.tree_root(leaves)


def test_a_subtree_out_of_place_is_refused() -> None:
    frontier = merkle.Frontier()
    frontier.append(bytes(32))
    with pytest.raises(ValueError, match="multiple"):
        frontier.append_subtree(1, bytes(32))


def test_a_proof_for_an_index_at_the_size_is_our_bug() -> None:
    with pytest.raises(ValueError, match="below"):
        merkle.inclusion_proof(8, 8, subtrees(LEAVES))
    with pytest.raises(ValueError, match="not smaller"):
        merkle.consistency_proof(8, 7, subtrees(LEAVES))


def test_pymerkle_computes_the_same_roots_and_accepts_the_same_proofs() -> None:
    pymerkle = pytest.importorskip("pymerkle")
    tree = pymerkle.InmemoryTree(algorithm="sha256")
    entries = [i.to_bytes(3, "big") for i in range(70)]
    leaves = [merkle.leaf_hash(entry) for entry in entries]
    for entry in entries:
        tree.append_entry(entry)
    for size in range(1, 71):
        assert tree.get_root(size) == merkle.tree_root(leaves[:size])
        for index in range(0, size, 7):
            theirs = tree.prove_inclusion(index + 1, size)
            pymerkle.verify_inclusion(leaves[index], merkle.tree_root(leaves[:size]), theirs)
            ours = merkle.inclusion_proof(index, size, subtrees(leaves))
            assert [bytes.fromhex(h) for h in theirs.serialize()["path"]][1:] == ours


def _subtree(leaves: list[bytes]) -> merkle.Subtree:
    return lambda height, index: merkle.tree_root(leaves[index << height : (index + 1) << height])


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 13])
def test_a_range_is_proved_by_its_first_and_last_entry_and_no_other_is(size: int) -> None:
    leaves = [merkle.leaf_hash(bytes([number])) for number in range(size)]
    root, subtree = merkle.tree_root(leaves), _subtree(leaves)
    for first in range(size):
        for end in range(first + 1, size + 1):
            one, two = merkle.inclusion_proof(first, size, subtree), merkle.inclusion_proof(end - 1, size, subtree)
            merkle.verify_range(leaves[first:end], first, size, one, two, root)
            for place in range(first + 1, end - 1):
                wrong = [*leaves[first:place], bytes(32), *leaves[place + 1 : end]]
                with pytest.raises(IntegrityError):
                    merkle.verify_range(wrong, first, size, one, two, root)
    with pytest.raises(IntegrityError):
        merkle.verify_range([], 0, size, [], [], root)
