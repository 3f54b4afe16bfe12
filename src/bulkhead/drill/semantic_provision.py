"""A provisioning file that whoever carries it has changed: the command line, a console, the operator's workstation."""

import json
from dataclasses import dataclass
from typing import Any

from bulkhead.boundary.messages import to_directory as m
from bulkhead.boundary.messages.to_keyring import CreateMailboxKeys
from bulkhead.drill.bare_cell import BareCell, answer, stamp
from bulkhead.drill.in_bare_cell import Finding, SemanticAct, probes_of
from bulkhead.drill.semantic import Column
from bulkhead.drill.semantic_orders import begin, by, install
from bulkhead.records.provision import Chunk, account_of_line, chunk_hash, chunks_of, root_of
from bulkhead.records.roster import Policy


@dataclass(frozen=True, slots=True)
class _File:
    """A file of one chunk."""

    chunk: Chunk

    @classmethod
    def of(cls, cell: BareCell, name: str, *rows: dict[str, Any]) -> "_File":
        header = {"do": "provision", "tenant": str(cell.tenant), "name": name}
        (chunk,) = chunks_of([json.dumps(row).encode() + b"\n" for row in (header, *rows)])
        return cls(chunk)

    @property
    def lines(self) -> int:
        return len(self.chunk.lines)

    @property
    def hashes(self) -> bytes:
        return chunk_hash(self.chunk.data)

    @property
    def root(self) -> bytes:
        return root_of(self.lines, self.hashes)

    async def send(self, cell: BareCell, root: bytes, bindings: tuple[m.BindingRow, ...] = ()) -> list[Any]:
        """What directory says, to the file as it is under that root."""
        begin_it = m.BeginProvision(stamp(), root, self.lines, self.hashes)
        chunk = m.ProvisionChunk(stamp(), root, 0, self.chunk.data, bindings)
        return [await answer(cell.exchanges["cli"], "directory", request) for request in (begin_it, chunk)]


async def change_lines(cell: BareCell) -> Finding:
    """Lines changed, added and left out; a file nobody signed; a key of the attacker's for a new account."""
    people = await begin(cell)
    victim, attacker = await cell.add_person(), await cell.add_person()
    strict = people.roster(Policy(local_refused=True))
    await install(cell, strict)
    people.use(strict)
    new = f"new@{cell.domain}"
    rows = [
        {"do": "add-account", "address": new},
        {"do": "alias", "address": victim.address, "alias": f"x@{cell.domain}"},
    ]
    signed = _File.of(cell, "drill", *rows)
    order = people.order("provision", {"root": signed.root.hex(), "lines": signed.lines})
    await by(cell, "directory", order, "ada")
    forward = {"do": "forward", "address": victim.address, "targets": [attacker.address], "keep": True}
    hostile = [
        _File.of(cell, "drill", rows[0], {**rows[1], "address": attacker.address}),
        _File.of(cell, "drill", rows[0], forward), _File.of(cell, "drill", *rows, forward),
        _File.of(cell, "drill", rows[0]), _File.of(cell, "other", *rows),
    ]  # fmt: skip
    tried = reached = 0
    for file in hostile:
        for root in (file.root, signed.root):
            tried += 1
            reached += any(not isinstance(said, str) for said in await file.send(cell, root))
    ended = await answer(cell.exchanges["cli"], "directory", m.BeginProvision(
        stamp(), signed.root, signed.lines, signed.hashes
    ))  # fmt: skip
    for file in hostile:
        tried += 1
        chunk = m.ProvisionChunk(stamp(), signed.root, 0, file.chunk.data)
        reached += not isinstance(await answer(cell.exchanges["cli"], "directory", chunk), str)
    made = await cell.ask("cli", "keyring", CreateMailboxKeys(stamp(), account_of_line(signed.root, 2), False))
    said = await signed.send(cell, signed.root, (made.binding,))
    state = said[-1]
    control = not isinstance(ended, str) and not isinstance(state, str) and (state.done, state.refused) == (3, 0)
    shown = await answer(cell.exchanges["cli"], "directory", m.ShowRoutes(victim.address))
    reached += not isinstance(shown, str) and bool(shown.forwards)
    return Finding(reached, tried, control and not isinstance(shown, str) and len(shown.aliases) == 1)


ACTS = (
    SemanticAct(
        "provision-changed", "directory", (Column.ORDERS,),
        "a signed provisioning file with lines changed, added, left out; files that nobody signed",
        "one line of it is carried out", "the file as it was signed", change_lines,
    ),
)  # fmt: skip
PROBES = probes_of(ACTS)
