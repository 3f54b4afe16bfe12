"""Provisioning files: what is signed is what is done, each line once or not at all, whatever ends in between."""

import asyncio
import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from tests.directory.conftest import SETTINGS, TENANT, Running, running

from bulkhead.boundary.messages import to_directory as m
from bulkhead.boundary.messages.fields import Stamp
from bulkhead.directory import provision
from bulkhead.errors import Error, Refused
from bulkhead.identifiers import AccountId, new_id
from bulkhead.records.mailbox import sign_binding
from bulkhead.records.provision import (
    CHUNK_LINES,
    LINE_MAX,
    Chunk,
    account_of_line,
    chunk_hash,
    chunks_of,
    parse_line,
    root_of,
)
from bulkhead.records.seed import MailboxSeed

With = Callable[..., None]
BINDING_KEY = Ed25519PrivateKey.generate()
PINNED = {
    **SETTINGS,
    "pinned": {"binding_key": base64.b64encode(BINDING_KEY.public_key().public_bytes_raw()).decode()},
}
HEADER = {"do": "provision", "tenant": "kddi", "name": "test/1"}


class File:
    """A file, as whoever carries it has it."""

    def __init__(self, *rows: dict[str, Any], header: dict[str, Any] | None = None) -> None:
        lines = [json.dumps(row).encode() + b"\n" for row in (header or HEADER, *rows)]
        self.chunks: list[Chunk] = list(chunks_of(lines))
        self.lines = len(lines)
        self.hashes = b"".join(chunk_hash(chunk.data) for chunk in self.chunks)
        self.root = root_of(self.lines, self.hashes)

    def account(self, line: int) -> AccountId:
        return account_of_line(self.root, line)

    def bindings(self, chunk: Chunk) -> tuple[m.BindingRow, ...]:
        rows = []
        for number, octets in enumerate(chunk.lines, chunk.first):
            if b"add-account" in octets:
                seed = MailboxSeed(TENANT, self.account(number), 1, bytes(32))
                rows.append(m.BindingRow(seed.account, sign_binding(seed, BINDING_KEY, key_version=1).record))
        return tuple(rows)

    async def begin(self, directory: Running) -> m.ProvisionState:
        state: m.ProvisionState = await directory.ask(
            m.BeginProvision(Stamp.fresh("test"), self.root, self.lines, self.hashes)
        )
        return state

    def request(self, number: int) -> m.ProvisionChunk:
        chunk = self.chunks[number]
        return m.ProvisionChunk(Stamp.fresh("test"), self.root, number, chunk.data, self.bindings(chunk))

    async def apply(self, directory: Running) -> m.ProvisionState:
        state = await self.begin(directory)
        for number in range(state.chunk, len(self.chunks)):
            state = await directory.ask(self.request(number))
        return state


def _add(name: str, **more: Any) -> dict[str, Any]:
    return {"do": "add-account", "address": f"{name}@kddi.example", **more}


async def _host(directory: Running) -> None:
    await directory.ask(m.AddDomain(Stamp.fresh("test"), "kddi.example"))


async def _refused(directory: Running, file: File) -> list[tuple[int, str]]:
    return [(row.line, row.code) for row in (await directory.ask(m.ListRefusedLines(file.root))).rows]


async def _code(directory: Running, request: Any) -> str:
    with pytest.raises(Refused) as raised:
        await directory.ask(request)
    return raised.value.code


def test_every_verb_is_carried_out_and_bad_lines_are_refused_each_for_itself(with_directory: With) -> None:
    a, b, team = "a@kddi.example", "b@kddi.example", "team@kddi.example"

    async def test(directory: Running) -> None:
        await _host(directory)
        await directory.ask(m.DefineClass(Stamp.fresh("test"), m.ClassRow("basic", 5000, 4, 2, 2)))
        file = File(
            _add("a"), _add("b", quota=77), _add("a"), {"do": "alias", "address": a, "alias": "x@kddi.example"},
            {"do": "alias", "address": b, "alias": "y@kddi.example"}, {"do": "unalias", "alias": "y@kddi.example"},
            {"do": "group-add", "group": team}, {"do": "group-join", "group": team, "address": a},
            {"do": "group-join", "group": team, "address": b}, {"do": "group-leave", "group": team, "address": b},
            {"do": "forward", "address": a, "targets": [b], "keep": False},
            {"do": "forward", "address": a, "targets": ["far@elsewhere.example"]},
            {"do": "quota", "address": b, "octets": 99}, {"do": "class", "address": a, "class": "basic"},
            {"do": "services", "address": b, "off": ["send"]}, {"do": "suspend", "address": a, "reason": "unpaid"},
            {"do": "cancel", "address": b}, {"do": "activate", "address": a}, {"do": "alias", "address": a},
            {"do": "add-account", "address": "c@other.example"},
        )  # fmt: skip
        state = await file.apply(directory)
        assert (state.done, state.refused, state.chunk) == (21, 5, 1)
        assert await _refused(directory, file) == [
            (4, "address-taken"), (13, "not-ours"), (18, "bad-line"), (20, "bad-line"), (21, "no-such-domain"),
        ]  # fmt: skip
        row = await directory.ask(m.ShowAccount(a))
        assert (row.account, row.status, row.quota_bytes, row.closed) == (file.account(2), 2, 5000, 4)
        routes = await directory.ask(m.ShowRoutes(a))
        assert (routes.aliases, routes.groups, routes.forwards, routes.keep) == (
            ("x@kddi.example",),
            (team,),
            (b,),
            False,
        )
        other = await directory.ask(m.ShowAccount(b))
        assert (other.quota_bytes, other.closed) == (99, 4)
        assert (await directory.ask(m.ShowRoutes(b))).retired == ("y@kddi.example",)
        assert (await directory.ask(m.CheckDirectory())).problems == ()
        kinds = [event.kind for event in directory.events]
        assert kinds.count("ProvisionBegun") == 1 and kinds.count("ForwardChanged") == 1
        assert (await file.apply(directory)) == state

    with_directory(test, PINNED)


def test_a_signed_file_sets_forwards_to_other_servers_once_they_are_open(with_directory: With) -> None:
    async def test(directory: Running) -> None:
        await _host(directory)
        far = ["far@elsewhere.example", "near@kddi.example"]
        file = File(
            _add("a"), _add("near"), {"do": "forward", "address": "a@kddi.example", "targets": far, "keep": False},
            {"do": "forward", "address": "near@kddi.example", "targets": ["1@x.example", "2@x.example"]},
        )  # fmt: skip
        await file.apply(directory)
        assert await _refused(directory, file) == [(5, "full")]
        (event,) = [event for event in directory.events if event.kind == "ForwardChanged"]
        assert (event.details["targets"], event.details["elsewhere"]) == (2, 1)
        found = await directory.ask(m.ResolveRecipient("a@kddi.example", m.Reverse.GIVEN), "mx")
        assert (len(found.forwards), found.binding.account) == (1, file.account(3))

    section = {**SETTINGS["directory"], "forwards_elsewhere_max": 1}  # type: ignore[dict-item]  # a table
    pinned = {"binding_key": base64.b64encode(BINDING_KEY.public_key().public_bytes_raw()).decode()}
    with_directory(test, {**SETTINGS, "pinned": pinned, "directory": section})


def test_a_changed_line_a_forged_binding_and_a_chunk_out_of_turn_are_refused(with_directory: With) -> None:
    async def test(directory: Running) -> None:
        await _host(directory)
        rows = [_add(f"p{number}") for number in range(CHUNK_LINES + 5)]
        file, changed = File(*rows), File(*rows[:-1], _add("attacker"))
        await file.begin(directory)
        assert await _code(directory, file.request(1)) == "not-next"
        hostile = m.ProvisionChunk(
            Stamp.fresh("x"), file.root, 0, file.chunks[0].data.replace(b"p7@", b"q7@"), file.bindings(file.chunks[0])
        )
        assert await _code(directory, hostile) == "other-chunk"
        await directory.ask(file.request(0))
        swapped = m.ProvisionChunk(Stamp.fresh("x"), file.root, 1, changed.chunks[1].data, ())
        assert await _code(directory, swapped) == "other-chunk"
        begin = m.BeginProvision(Stamp.fresh("x"), file.root, file.lines, changed.hashes)
        assert await _code(directory, begin) == "other-root"
        assert await _code(directory, m.ShowProvision(changed.root)) == "no-such-file"
        chunk = file.chunks[1]
        stranger = Ed25519PrivateKey.generate()
        first = MailboxSeed(TENANT, file.account(chunk.first), 1, bytes(32))
        forged = sign_binding(first, stranger, key_version=1).record
        of_another = sign_binding(
            MailboxSeed(TENANT, AccountId(new_id()), 1, bytes(32)), BINDING_KEY, key_version=1
        ).record
        rest = file.bindings(chunk)[2:]
        rows_sent = (
            m.BindingRow(first.account, forged),
            m.BindingRow(file.account(chunk.first + 1), of_another),
            *rest,
        )
        state = await directory.ask(m.ProvisionChunk(Stamp.fresh("x"), file.root, 1, chunk.data, rows_sent))
        assert (state.done, state.refused) == (file.lines, 2)
        assert {code for _, code in await _refused(directory, file)} == {"bad-binding"}

    with_directory(test, PINNED)


def test_a_file_of_another_tenant_and_one_without_its_first_line_do_nothing(with_directory: With) -> None:
    async def test(directory: Running) -> None:
        await _host(directory)
        for header, code in (({**HEADER, "tenant": "stnet"}, "other-tenant"), (_add("first"), "bad-line")):
            file = File(_add("a"), header=header)
            await file.begin(directory)
            assert await _code(directory, file.request(0)) == code
        assert (await directory.ask(m.CountAccounts())).addresses == 0

    with_directory(test, PINNED)


def test_a_file_goes_on_from_any_transaction_that_was_the_last_and_does_no_line_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process ends after each of its transactions in turn; what another then does is the rest."""
    monkeypatch.setattr(provision, "SLICE", 2)
    rows = [_add("a"), {"do": "alias", "address": "a@kddi.example", "alias": "x@kddi.example"}, _add("b"), _add("a")]
    rows += [{"do": "unalias", "alias": "x@kddi.example"}, {"do": "quota", "address": "b@kddi.example", "octets": 5}]
    file = File(*rows)

    class Ended(Exception):
        pass

    async def attempt(folder: Path, last: int) -> m.ProvisionState | None:
        async with running(folder, PINNED) as directory:
            await _host(directory)
            await file.begin(directory)
            done = 0
            work = provision.Provisioning._carry_out

            def counted(*args: Any, **kwargs: Any) -> int:
                nonlocal done
                if done == last:
                    raise Refused("ended", code="ended")
                done += 1
                return work(*args, **kwargs)

            monkeypatch.setattr(provision.Provisioning, "_carry_out", counted)
            try:
                return await file.apply(directory)
            except Error:
                return None
            finally:
                monkeypatch.setattr(provision.Provisioning, "_carry_out", work)

    async def kinds(folder: Path) -> m.ProvisionState:
        async with running(folder, PINNED) as directory:
            state = await file.apply(directory)
            assert await _refused(directory, file) == [(5, "address-taken")]
            assert (await directory.ask(m.CheckDirectory())).problems == ()
            assert (await directory.ask(m.ShowRoutes("a@kddi.example"))).retired == ("x@kddi.example",)
            return state

    for last in range(4):
        folder = tmp_path / str(last)
        folder.mkdir()
        monkeypatch.chdir(folder)
        assert asyncio.run(attempt(folder, last)) is None
        state = asyncio.run(kinds(folder))
        assert (state.done, state.refused) == (file.lines, 1)


@given(st.binary(max_size=LINE_MAX + 2))
def test_random_octets_are_a_line_or_are_refused(octets: bytes) -> None:
    try:
        assert parse_line(octets).do
    except Refused as error:
        assert error.code == "bad-line"


def test_limits_of_a_file_hold_at_and_one_past_them() -> None:
    line = b" " * LINE_MAX + b"\n"
    assert len(list(chunks_of([line]))) == 1
    with pytest.raises(Refused):
        list(chunks_of([b" " + line]))
    with pytest.raises(Refused):
        list(chunks_of([b"no end"]))
    two = list(chunks_of([b"x\n"] * (CHUNK_LINES + 1)))
    assert [(chunk.first, len(chunk.lines)) for chunk in two] == [(1, CHUNK_LINES), (CHUNK_LINES + 1, 1)]
    assert all(len(chunk.data) <= 96 * 1024 for chunk in chunks_of([line] * 200))
    for wrong in (
        b'{"do":"alias","do":"alias","address":"a@b.example","alias":"c@b.example"}', b"[]", b'{"do":"alias"}',
        b'{"do":"quota","address":"a@b.example","octets":true}', b'{"do":"quota","address":"a@b.example","octets":-1}',
        b'{"do":"suspend","address":"a@b.example","reason":"x@y"}', b'{"do":"services","address":"a@b.c","off":["x"]}',
    ):  # fmt: skip
        with pytest.raises(Refused):
            parse_line(wrong)
