"""The append-only log in one directory: what is on disk at every moment, and why a crash at it loses nothing.

Files
    checkpoint          signed note: origin, size S, root. What was acknowledged is below S.
    journal             header (base B, the partial tiles of levels >= 1 at B) and records, one a batch: journal.py.
    tile/entries/<N>    full bundles, N < B / 256.         tile/<L>/<N>    full tiles of a tree of B entries.
    checkpoint.new, journal.new    half-made successors; read by nobody, overwritten by the next.
    cosigned            the newest checkpoint with the witness's line, once there was one (cosigned.py).
  Always B <= S <= B + entries in the journal, and the tree's first S entries have the checkpoint's root.
  Partial tiles of the standard are not kept: export.py makes them, as they follow from the journal.

States, each left by a crash right before the step named; "lost" means that any subset of writes not yet synced is
missing, torn or kept. Recovery is `open_log`, and it may itself be cut at any step and begun again.
  Append (batch of n at size S)
    A1 write the record to journal    nothing happened.
    A2 fdatasync journal              the record may be torn or lost: its digest fails, the tail is cut at open. If it
                                      is whole, its entries are kept: nobody was told, nobody is contradicted.
    A3 write checkpoint.new           entries are durable, S is not yet moved: open keeps them and signs S + n.
    A4 fdatasync checkpoint.new       as A3: the name checkpoint still means the old note.
    A5 rename to checkpoint           as A3.
    A6 fsync directory                the old note or the new one, each whole, as the new one was synced before it got
                                      the name. A reader may have seen the new note: its entries are durable since A3
                                      and are never cut, so no later checkpoint can contradict it.
    A7 return                         the new note is durable: acknowledged.
  Roll (journal holds 1,024 entries, or 4 MiB and 256 entries; before an append)
    R1 write bundles and tiles        from B on; no reader goes there while the journal's base is B. Torn ones are
    R2 fdatasync each                 overwritten by the next roll with the same bytes, as entries never change.
    R3 fsync their directories        including all above them, as a directory is a name too.
    R4 write journal.new              base B' = B + 256 k, the rest of the entries; S unchanged, B' <= S as S counts
    R5 fdatasync journal.new          every entry at this point.
    R6 rename to journal              the old journal: the roll begins anew.
    R7 fsync directory                the old journal or the new one, both whole; tiles below B' are durable since R3.
  Create
    C1..C4 journal with base 0 by write, fdatasync, rename, fsync; then the checkpoint of size 0 likewise. Without a
           checkpoint there is no log; create may be repeated while the journal has no entries.
  Open
    O1 check signature, journal, B <= S <= size, root at S     IntegrityError names the file, nothing is written.
    O2 cut the journal's torn tail    only what follows the last valid record; S lies before it.
    O3 fdatasync journal, fsync directory     a process that died (machine alive) left them unsynced: what was read
                                      here must not vanish after being built on. (A checkpoint was synced before it
                                      got its name.)
    O4 size > S: sign a checkpoint as A3 to A7.

After a failed write the log refuses every further call until it is opened again, because a kernel may drop dirty pages
after an fsync error and call them clean. What this cannot show is a whole directory put back to an earlier day; the
partner's copy and cosignatures show that.
Memory: leaf hashes of the journal (at most 2,047), one tile and one partial tile a level; O(log n).
"""

from collections.abc import Iterator, Sequence

from bulkhead.errors import IntegrityError, TemporaryFailure
from bulkhead.ledger import merkle
from bulkhead.ledger.files import Files
from bulkhead.ledger.journal import (
    DIGEST_BYTES,
    EMPTY_EDGE,
    JOURNAL_BYTES,
    JOURNAL_BYTES_MAX,
    JOURNAL_ENTRIES,
    RECORD_HEAD,
    Edge,
    Journal,
    Place,
    encode_journal,
    encode_record,
    parse_journal,
)
from bulkhead.ledger.merkle import Frontier, leaf_hash
from bulkhead.ledger.note import (
    NOTE_MAX,
    Checkpoint,
    Note,
    NoteSignature,
    NoteSigner,
    add_signatures,
    parse_note,
    sign_checkpoint,
    verify_checkpoint,
)
from bulkhead.ledger.tiles import TILE_WIDTH, Tile, encode_bundle, encode_hashes
from bulkhead.ledger.tree import StoredTree, read_file

CHECKPOINT = "checkpoint"
JOURNAL = "journal"


def replace_file(files: Files, path: str, data: bytes) -> None:
    """Give `path` new contents durably: the old ones or the new ones, at every moment."""
    fresh = path + ".new"
    files.write(fresh, data)
    files.sync(fresh)
    files.rename(fresh, path)
    files.sync_directory(".")


def _read_journal(files: Files) -> tuple[Journal, int]:
    """The journal and its file's length. Raises IntegrityError naming it."""
    data = read_file(files, JOURNAL, limit=JOURNAL_BYTES_MAX)
    try:
        return parse_journal(data), len(data)
    except IntegrityError as error:
        raise IntegrityError(f"{JOURNAL}: {error.public}") from None


def create_log(files: Files, signer: NoteSigner, origin: str) -> None:
    """Begin an empty log in an empty directory; repeatable until it returned once.

    Raises IntegrityError where the directory holds a log or the remains of one.
    """
    try:
        files.read(CHECKPOINT, limit=NOTE_MAX)
    except FileNotFoundError:
        pass
    else:
        raise IntegrityError(f"{CHECKPOINT} exists: here is a log already; open it")
    try:
        journal = parse_journal(files.read(JOURNAL, limit=JOURNAL_BYTES_MAX))
    except FileNotFoundError:
        pass
    else:
        if journal.edge.base or journal.entries:
            raise IntegrityError(f"{CHECKPOINT} is missing beside a journal with entries; restore it from a backup")
    replace_file(files, JOURNAL, encode_journal(EMPTY_EDGE, ()))
    replace_file(files, CHECKPOINT, sign_checkpoint(Checkpoint(origin, 0, merkle.EMPTY_ROOT), signer).encode())


def open_log(files: Files, signer: NoteSigner, origin: str) -> "Log":
    """The log in the directory, recovered after whatever ended its last process: states O1 to O4 above.

    Raises IntegrityError naming the file that is missing or changed, TemporaryFailure where another process has it,
    OSError where the disk refuses.
    """
    files.lock()
    note = _read_checkpoint(files, signer, origin)
    checkpoint = verify_checkpoint(note, origin, signer.verifier)
    journal, length = _read_journal(files)
    base, size = journal.edge.base, journal.edge.base + len(journal.entries)
    if not base <= checkpoint.size <= size:
        raise IntegrityError(
            f"{JOURNAL} holds entries {base} to {size} and {CHECKPOINT} counts {checkpoint.size}: "
            "one of them was changed or is from another day; keep both and restore the ledger"
        )
    leaves = [leaf_hash(entry) for entry in journal.entries]
    frontier = journal.edge.frontier()
    for leaf in leaves[: checkpoint.size - base]:
        frontier.append(leaf)
    if frontier.root() != checkpoint.root:
        raise IntegrityError(f"{JOURNAL} does not lead to the root in {CHECKPOINT}; keep both and restore the ledger")
    for leaf in leaves[checkpoint.size - base :]:
        frontier.append(leaf)
    if length > journal.length:
        files.truncate(JOURNAL, journal.length)
    files.sync(JOURNAL)
    files.sync_directory(".")
    log = Log(files, signer, origin, note, journal, leaves, frontier)
    if size > checkpoint.size:
        log._publish()
    return log


def _read_checkpoint(files: Files, signer: NoteSigner, origin: str) -> Note:
    data = read_file(files, CHECKPOINT, limit=NOTE_MAX)
    try:
        note = parse_note(data)
        verify_checkpoint(note, origin, signer.verifier)
    except IntegrityError as error:
        raise IntegrityError(f"{CHECKPOINT}: {error.public}") from None
    return note


class Log:
    """An open log: one process, one thread. Made by open_log."""

    def __init__(
        self,
        files: Files,
        signer: NoteSigner,
        origin: str,
        note: Note,
        journal: Journal,
        leaves: list[bytes],
        frontier: Frontier,
    ) -> None:
        self.note = note
        self._files, self._signer, self._origin = files, signer, origin
        self._tree = StoredTree(files, journal.edge, leaves)
        self._places = list(journal.places)
        self._digest, self._length = journal.digest, journal.length
        self._frontier = frontier
        self._failed = False

    @property
    def size(self) -> int:
        """Entries in the log, all durable and below the checkpoint."""
        return self._tree.size

    @property
    def root(self) -> bytes:
        """The tree head at `size`."""
        return self._frontier.root()

    def append(self, batch: Sequence[bytes]) -> int:
        """The index of the batch's first entry; on return all are durable and below a durable checkpoint.

        batch: 1 to 1,024 entries of at most 65,535 bytes, 8 MiB together; ValueError otherwise.
        Raises TemporaryFailure where the disk refused: open the log again, the batch may or may not be in it.
        """
        self._check_usable()
        first = self.size
        try:
            if self._roll_due():
                self._roll()
            record = encode_record(self._digest, first, batch)
            self._failed = True  # until the last step has returned
            self._files.write_at(JOURNAL, self._length, record)
            self._files.sync(JOURNAL)
            self._take(record, batch)
            self._publish()
        except OSError as error:
            self._failed = True
            raise TemporaryFailure("the ledger could not be written; free its disk and restart it") from error
        self._failed = False
        return first

    def _publish(self) -> Note:
        """Sign and write the checkpoint of all entries: steps A3 to A7. Raises OSError."""
        self.note = sign_checkpoint(Checkpoint(self._origin, self.size, self.root), self._signer)
        replace_file(self._files, CHECKPOINT, self.note.encode())
        return self.note

    def cosign(self, lines: Sequence[NoteSignature]) -> None:
        """Put these lines, which the caller has verified, below the newest checkpoint in place of older ones; durable.

        Crash: the old note or the new one, and both say the same (A3 to A6). Raises as `append`.
        """
        self._check_usable()
        own = Note(self.note.text, tuple(line for line in self.note.signatures if line.name == self._origin))
        note = add_signatures(own, lines)
        self._failed = True
        try:
            replace_file(self._files, CHECKPOINT, note.encode())
        except OSError as error:
            raise TemporaryFailure("the ledger could not be written; free its disk and restart it") from error
        self.note, self._failed = note, False

    def root_at(self, size: int) -> bytes:
        """The tree head of the first `size` entries. Raises as `entry`."""
        self._check_reach(size)
        return merkle.root_at(size, self._tree.subtree)

    def entry(self, index: int) -> bytes:
        """One entry, checked against the tree. Raises IntegrityError naming the file, ValueError past the end."""
        self._check_usable()
        if not 0 <= index < self.size:
            raise ValueError("no such entry")
        base = self._tree.edge.base
        if index < base:
            return self._tree.bundle(index // TILE_WIDTH)[index % TILE_WIDTH]
        place = self._places[index - base]
        entry = self._files.read_at(JOURNAL, place.offset, place.length)
        if leaf_hash(entry) != self._tree.leaves[index - base]:
            raise IntegrityError(f"{JOURNAL}: entry {index} does not match the tree; keep it and restore the ledger")
        return entry

    def entries(self, start: int, end: int) -> Iterator[bytes]:
        """The entries [start, end), each checked; a bundle is read once. Raises as `entry`."""
        index = start
        while index < end:
            if index < self._tree.edge.base:
                stop = min(end, (index // TILE_WIDTH + 1) * TILE_WIDTH)
                offset = index - index % TILE_WIDTH
                yield from self._tree.bundle(index // TILE_WIDTH)[index - offset : stop - offset]
                index = stop
            else:
                yield self.entry(index)
                index += 1

    def hashes(self, tile: Tile) -> Sequence[bytes]:
        """The hashes of a tile of the present tree, full or partial. Raises as `entry`."""
        self._check_usable()
        return self._tree.hashes(tile)

    def inclusion_proof(self, index: int, size: int) -> list[bytes]:
        """The proof that entry `index` is in the tree of `size` entries. Raises as `entry`."""
        self._check_reach(size)
        return merkle.inclusion_proof(index, size, self._tree.subtree)

    def consistency_proof(self, old: int, new: int) -> list[bytes]:
        """The proof that the tree of `new` entries begins with that of `old`. Raises as `entry`."""
        self._check_reach(new)
        return merkle.consistency_proof(old, new, self._tree.subtree)

    def close(self) -> None:
        """Give the directory back; there is nothing to write."""
        self._failed = True
        self._files.close()

    def _check_usable(self) -> None:
        if self._failed:
            raise TemporaryFailure("the ledger is closed after a failed write; restart it")

    def _check_reach(self, size: int) -> None:
        self._check_usable()
        if size > self.size:
            raise ValueError("the tree is not that large")

    def _take(self, record: bytes, batch: Sequence[bytes]) -> None:
        """Move the head over a record that is durable."""
        offset = self._length + RECORD_HEAD
        for entry in batch:
            leaf = leaf_hash(entry)
            self._tree.leaves.append(leaf)
            self._frontier.append(leaf)
            self._places.append(Place(offset + 2, len(entry)))
            offset += 2 + len(entry)
        self._digest, self._length = record[-DIGEST_BYTES:], self._length + len(record)

    def _roll_due(self) -> bool:
        held = len(self._tree.leaves)
        return held >= JOURNAL_ENTRIES or (held >= TILE_WIDTH and self._length >= JOURNAL_BYTES)

    def _roll(self) -> None:
        """Turn the journal's full bundles into tiles: steps R1 to R7. Raises OSError, IntegrityError."""
        journal, _ = _read_journal(self._files)
        leaves = self._tree.leaves
        if [leaf_hash(entry) for entry in journal.entries] != leaves:
            raise IntegrityError(f"{JOURNAL} was changed under the running ledger; keep it and restore the ledger")
        cut = len(leaves) - len(leaves) % TILE_WIDTH
        paths: list[str] = []
        levels = [list(hashes) for hashes in self._tree.edge.levels]
        for at in range(0, cut, TILE_WIDTH):
            number = (self._tree.edge.base + at) // TILE_WIDTH
            bundle = encode_bundle(journal.entries[at : at + TILE_WIDTH])
            paths.append(self._write_tile(Tile(None, number), bundle))
            paths += self._write_hashes(levels, number, leaves[at : at + TILE_WIDTH])
        for path in paths:
            self._files.sync(path)
        for directory in sorted({above for path in paths for above in _directories(path)}):
            self._files.sync_directory(directory)
        edge = Edge(self._tree.edge.base + cut, tuple(tuple(hashes) for hashes in levels))
        data = encode_journal(edge, journal.entries[cut:])
        replace_file(self._files, JOURNAL, data)
        fresh = parse_journal(data)
        self._tree = StoredTree(self._files, edge, leaves[cut:])
        self._places = list(fresh.places)
        self._digest, self._length = fresh.digest, fresh.length

    def _write_hashes(self, levels: list[list[bytes]], number: int, hashes: Sequence[bytes]) -> Iterator[str]:
        """Write level 0's full tile and every tile above that it completes; `levels` becomes the edge behind it."""
        level = 0
        while len(hashes) == TILE_WIDTH:
            yield self._write_tile(Tile(level, number), encode_hashes(hashes))
            root = merkle.complete_root(hashes)
            if level:
                levels[level - 1].clear()
            if level == len(levels):
                levels.append([])
            levels[level].append(root)
            hashes, number, level = levels[level], number // TILE_WIDTH, level + 1

    def _write_tile(self, tile: Tile, data: bytes) -> str:
        for directory in reversed(_directories(tile.path)[:-1]):
            self._files.make_directory(directory)
        self._files.write(tile.path, data)
        return tile.path


def _directories(path: str) -> list[str]:
    """The directories above a path, nearest first, "." last."""
    parts = path.split("/")[:-1]
    return ["/".join(parts[:i]) for i in range(len(parts), 0, -1)] + ["."]
