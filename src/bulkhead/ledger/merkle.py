"""Merkle trees of RFC 9162 section 2: tree head, inclusion proof, consistency proof. PURE.

MTH({}) = SHA-256(""), leaf = SHA-256(0x00 | entry), node = SHA-256(0x01 | left | right).
A verification returns nothing and raises IntegrityError; there is no boolean to forget.
Proofs are computed from complete subtrees: `Subtree(height, index)` is the hash over the entries
[index * 2**height, (index + 1) * 2**height), and where it comes from (memory, tiles) is the caller's affair.
"""

from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from hmac import compare_digest

from bulkhead.errors import IntegrityError

HASH_BYTES = 32
TREE_SIZE_MAX = 2**63 - 1
PROOF_MAX = 64  # hashes; a tree of TREE_SIZE_MAX leaves needs no more (RFC 9162 sections 2.1.3 and 2.1.4)
EMPTY_ROOT = sha256(b"").digest()

Subtree = Callable[[int, int], bytes]


def leaf_hash(entry: bytes) -> bytes:
    """The hash of one entry (RFC 9162 section 2.1.1)."""
    return sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node (RFC 9162 section 2.1.1)."""
    return sha256(b"\x01" + left + right).digest()


def complete_root(hashes: Sequence[bytes]) -> bytes:
    """The root over 1, 2, 4, ... hashes of equal height. Raises ValueError on any other count."""
    if not hashes or len(hashes) & (len(hashes) - 1):
        raise ValueError("a complete subtree has a power of two of leaves")
    while len(hashes) > 1:
        hashes = [node_hash(hashes[i], hashes[i + 1]) for i in range(0, len(hashes), 2)]
    return hashes[0]


class Frontier:
    """The right edge of a growing tree: one hash for each 1 bit of its size, so O(log n) memory and work."""

    __slots__ = ("_edge", "size")

    def __init__(self) -> None:
        self.size = 0
        self._edge: list[tuple[int, bytes]] = []  # (height, hash), heights strictly falling

    def append(self, leaf: bytes) -> None:
        """Add one leaf hash."""
        self.append_subtree(0, leaf)

    def append_subtree(self, height: int, root: bytes) -> None:
        """Add 2**height leaves at once by their root. Raises ValueError where the size is not aligned to them."""
        if self.size % (1 << height):
            raise ValueError("a subtree begins at a multiple of its size")
        self.size += 1 << height
        while self._edge and self._edge[-1][0] == height:
            root = node_hash(self._edge.pop()[1], root)
            height += 1
        self._edge.append((height, root))

    @property
    def edge(self) -> Sequence[tuple[int, bytes]]:
        """(height, root) of the complete subtrees, from the left: what `append_subtree` makes it of again."""
        return tuple(self._edge)

    def root(self) -> bytes:
        """The tree head of all leaves so far."""
        if not self._edge:
            return EMPTY_ROOT
        root = self._edge[-1][1]
        for _, left in reversed(self._edge[:-1]):
            root = node_hash(left, root)
        return root


def tree_root(leaves: Iterable[bytes]) -> bytes:
    """The tree head over leaf hashes (RFC 9162 section 2.1.1)."""
    frontier = Frontier()
    for leaf in leaves:
        frontier.append(leaf)
    return frontier.root()


def _split(size: int) -> int:
    """k: the largest power of two smaller than size (RFC 9162 section 2.1.1)."""
    return 1 << ((size - 1).bit_length() - 1)


def _range_root(start: int, end: int, subtree: Subtree) -> bytes:
    """The root over [start, end), where start is aligned as in any RFC 9162 recursion."""
    size = end - start
    if size & (size - 1) == 0:
        height = size.bit_length() - 1
        return subtree(height, start >> height)
    k = _split(size)
    return node_hash(_range_root(start, start + k, subtree), _range_root(start + k, end, subtree))


def root_at(size: int, subtree: Subtree) -> bytes:
    """MTH(D[size]): the tree head of the first `size` entries of a tree that has them."""
    return _range_root(0, size, subtree) if size else EMPTY_ROOT


def inclusion_proof(index: int, size: int, subtree: Subtree) -> list[bytes]:
    """PATH(index, D[size]), leaf to root (RFC 9162 section 2.1.3.1). Raises ValueError unless 0 <= index < size."""
    if not 0 <= index < size <= TREE_SIZE_MAX:
        raise ValueError("an inclusion proof is for an index below the size")
    start, end = 0, size
    path: list[bytes] = []
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append(_range_root(middle, end, subtree))
            end = middle
        else:
            path.append(_range_root(start, middle, subtree))
            start = middle
    path.reverse()
    return path


def consistency_proof(old: int, new: int, subtree: Subtree) -> list[bytes]:
    """PROOF(old, D[new]) (RFC 9162 section 2.1.4.1); empty for old == 0 and old == new.

    Raises ValueError unless 0 <= old <= new.
    """
    if not 0 <= old <= new <= TREE_SIZE_MAX:
        raise ValueError("a consistency proof is from a size to one not smaller")
    if old in (0, new):
        return []
    start, end = 0, new
    path: list[bytes] = []
    while end != old:
        middle = start + _split(end - start)
        if old <= middle:
            path.append(_range_root(middle, end, subtree))
            end = middle
        else:
            path.append(_range_root(start, middle, subtree))
            start = middle
    if start:  # SUBPROOF(m, D, false): the verifier does not know this subtree's root yet
        path.append(_range_root(start, end, subtree))
    path.reverse()
    return path


def _check_shape(proof: Sequence[bytes], *roots: bytes) -> None:
    if len(proof) > PROOF_MAX or any(len(value) != HASH_BYTES for value in (*proof, *roots)):
        raise IntegrityError("proof is malformed: it holds at most 64 hashes of 32 bytes")


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Return only if `leaf` (a leaf hash) is entry `index` of the tree of `size` with `root`.

    Source: RFC 9162 section 2.1.3.2. Raises IntegrityError.
    """
    _check_shape(proof, leaf, root)
    if not 0 <= index < size <= TREE_SIZE_MAX:
        raise IntegrityError("inclusion proof is for an index outside the tree")
    node, last, value = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            raise IntegrityError("inclusion proof is too long")
        if node & 1 or node == last:
            value = node_hash(sibling, value)
            while node and not node & 1:
                node, last = node >> 1, last >> 1
        else:
            value = node_hash(value, sibling)
        node, last = node >> 1, last >> 1
    if last or not compare_digest(value, root):
        raise IntegrityError("inclusion proof does not lead to the tree's root")


def verify_consistency(old: int, new: int, proof: Sequence[bytes], old_root: bytes, new_root: bytes) -> None:
    """Return only if the tree (old, old_root) is a prefix of the tree (new, new_root).

    The empty tree is a prefix of every tree, by an empty proof. Raises IntegrityError.
    Source: RFC 9162 section 2.1.4.2.
    """
    _check_shape(proof, old_root, new_root)
    if not 0 <= old <= new <= TREE_SIZE_MAX:
        raise IntegrityError("consistency proof goes from a larger tree to a smaller one")
    if old in (0, new):
        if proof:
            raise IntegrityError("consistency proof must be empty here")
        if not compare_digest(old_root, new_root if old else EMPTY_ROOT) or (
            new == 0 and not compare_digest(new_root, EMPTY_ROOT)
        ):
            raise IntegrityError("trees of one size have different roots: the history was forked")
        return
    hashes = [old_root, *proof] if old & (old - 1) == 0 else list(proof)
    if not hashes or not proof:
        raise IntegrityError("consistency proof is empty")
    node, last = old - 1, new - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    first = second = hashes[0]
    for sibling in hashes[1:]:
        if last == 0:
            raise IntegrityError("consistency proof is too long")
        if node & 1 or node == last:
            first, second = node_hash(sibling, first), node_hash(sibling, second)
            while node and not node & 1:
                node, last = node >> 1, last >> 1
        else:
            second = node_hash(second, sibling)
        node, last = node >> 1, last >> 1
    if last or not compare_digest(first, old_root) or not compare_digest(second, new_root):
        raise IntegrityError("consistency proof fails: the later tree does not contain the earlier one")


def verify_range(
    leaves: Sequence[bytes],
    first: int,
    size: int,
    first_proof: Sequence[bytes],
    last_proof: Sequence[bytes],
    root: bytes,
) -> None:
    """Return only if `leaves` (leaf hashes) are the entries from `first` on of the tree of `size` with `root`.

    first_proof, last_proof: inclusion proofs of the first and of the last of them (RFC 9162 section 2.1.3): what lies
    to the left of the first and to the right of the last is the rest of the tree. Raises IntegrityError.
    """
    last = first + len(leaves) - 1
    if not leaves:
        raise IntegrityError("a range holds an entry at least")
    verify_inclusion(leaves[0], first, size, first_proof, root)
    verify_inclusion(leaves[-1], last, size, last_proof, root)
    left = [value for value, before in zip(first_proof, _sides(first, size), strict=True) if before]
    right = [value for value, before in zip(last_proof, _sides(last, size), strict=True) if not before]
    right.reverse()  # both: what is needed next stands last

    def node(start: int, end: int) -> bytes:
        if end <= first:
            return left.pop()
        if start > last:
            return right.pop()
        if first <= start and end <= last + 1:
            return tree_root(leaves[start - first : end - first])
        middle = start + _split(end - start)
        return node_hash(node(start, middle), node(middle, end))

    if not compare_digest(node(0, size), root):
        raise IntegrityError("the entries between the first and the last are not those of the tree")


def _sides(index: int, size: int) -> list[bool]:
    """Of each hash of an inclusion proof, leaf to root: whether it stands to the left."""
    start, end = 0, size
    sides: list[bool] = []
    while end - start > 1:
        middle = start + _split(end - start)
        sides.append(index >= middle)
        start, end = (start, middle) if index < middle else (middle, end)
    sides.reverse()
    return sides
