"""A provisioning file that whoever carries it has changed: the command line, a console, the operator's workstation."""

import json
from dataclasses import dataclass
from typing import Any

from bulkhead.boundary.messages import to_auth, to_keyring
from bulkhead.boundary.messages import to_directory as m
from bulkhead.boundary.messages.provision import FirstPassword
from bulkhead.boundary.messages.to_keyring import CreateMailboxKeys
from bulkhead.drill.bare_cell import BareCell, answer, stamp
from bulkhead.drill.in_bare_cell import Finding, SemanticAct, probes_of
from bulkhead.drill.semantic import Column
from bulkhead.drill.semantic_orders import begin, by, install
from bulkhead.records.legacy import Recipe, Scheme
from bulkhead.records.legacy_digest import legacy_digest
from bulkhead.records.provision import Chunk, account_of_line, chunk_hash, chunks_of, password_name, root_of
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


def _first(number: int, typed: bytes) -> FirstPassword:
    recipe = Recipe(Scheme.SHA512, bytes([number]) * 16)
    return FirstPassword(bytes([number]) * 16, "sha512", recipe.legacy().salt, legacy_digest(recipe, typed))


async def forge_first_passwords(cell: BareCell) -> Finding:
    """A first password over the subscriber's own, for an account that no file makes, or another than the file's."""
    victim, typed, guess = await cell.add_person(), b"of the letter", b"of the attacker"
    people = await begin(cell)
    strict = people.roster(Policy(local_refused=True))
    await install(cell, strict)
    people.use(strict)
    given, forged = _first(1, typed), _first(2, guess)
    name = password_name(given.nonce, given.scheme, given.salt, given.digest).hex()
    other = password_name(forged.nonce, forged.scheme, forged.salt, forged.digest).hex()
    new, stray = f"new@{cell.domain}", f"stray@{cell.domain}"
    signed = _File.of(cell, "drill", {"do": "add-account", "address": new, "password": name})
    order = people.order("provision", {"root": signed.root.hex(), "lines": signed.lines})
    for executor in ("keyring", "auth", "directory"):
        await by(cell, executor, order, "ada")
    unsigned = _File.of(cell, "drill", {"do": "add-account", "address": new, "password": other})
    over = _File.of(cell, "drill", {"do": "add-account", "address": victim.address, "password": other})
    more = _File.of(cell, "drill", *(
        {"do": "add-account", "address": one, "password": each} for one, each in ((new, name), (stray, other))
    ))  # fmt: skip
    tried = reached = 0
    for executor, module in (("keyring", to_keyring), ("auth", to_auth)):
        start: Any = module.BeginProvision(stamp(), signed.root, signed.lines, signed.hashes)
        await answer(cell.exchanges["cli"], executor, start)
    for file in (unsigned, over, more):
        for root in (file.root, signed.root):
            tried += 2
            for said in await _halves(cell, file, root, (forged,)):
                reached += not isinstance(said, str)
    for account in (victim.account, account_of_line(signed.root, 2)):
        tried += 2
        reached += not isinstance(await answer(
            cell.exchanges["cli"], "keyring", CreateMailboxKeys(stamp(), account)
        ), str)  # fmt: skip
        token = to_auth.SetPassword(stamp(), account, guess, bytes(16), to_auth.Scope.ALL)
        reached += not isinstance(await answer(cell.exchanges["cli"], "auth", token), str)
    await _halves(cell, signed, signed.root, (forged,))  # which the file does not name: it is left out
    made = await answer(
        cell.exchanges["cli"], "keyring", CreateMailboxKeys(stamp(), account_of_line(signed.root, 2), False)
    )
    reached += not isinstance(made, str)
    again = await _halves(cell, signed, signed.root, (forged, given))
    reached += await cell.admits("access", victim, guess)
    tried += 2

    second = _File.of(cell, "drill-2", {"do": "add-account", "address": stray, "password": name})
    order = people.order("provision", {"root": second.root.hex(), "lines": second.lines})
    for executor in ("keyring", "auth", "directory"):
        await by(cell, executor, order, "ada")
    done = await _halves(cell, second, second.root, (given,))
    made = await answer(
        cell.exchanges["cli"], "keyring", CreateMailboxKeys(stamp(), account_of_line(second.root, 2), False)
    )
    control = not any(isinstance(said, str) for said in (*again, *done, made))
    if not isinstance(made, str):
        await second.send(cell, second.root, (made.binding,))
    reached += await cell.admits("access", stray, guess)
    control = control and await cell.admits("access", stray, typed) and await cell.admits("access", victim)
    return Finding(reached, tried, control)


async def _halves(cell: BareCell, file: _File, root: bytes, passwords: tuple[FirstPassword, ...]) -> list[Any]:
    """What keyring and auth say to a file under that root: to its beginning, and to its lines."""
    said: list[Any] = []
    for name, module, more in (("keyring", to_keyring, ()), ("auth", to_auth, (passwords,))):
        start: Any = module.BeginProvision(stamp(), root, file.lines, file.hashes)
        await answer(cell.exchanges["cli"], name, start)
        chunk: Any = module.ProvisionChunk(stamp(), root, 0, file.chunk.data, (), *more)
        said.append(await answer(cell.exchanges["cli"], name, chunk))
    return said


ACTS = (
    SemanticAct(
        "provision-changed", "directory", (Column.ORDERS,),
        "a signed provisioning file with lines changed, added, left out; files that nobody signed",
        "one line of it is carried out", "the file as it was signed", change_lines,
    ),
    SemanticAct(
        "first-password-forged", "auth", (Column.ORDERS,),
        "first passwords of files that nobody signed, over the subscriber's own, for accounts of no file",
        "one of them is set", "the password that the signed file names", forge_first_passwords,
    ),
)  # fmt: skip
PROBES = probes_of(ACTS)
