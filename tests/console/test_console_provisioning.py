"""A provisioning file by the API, over a bare cell: in parts, out of order, cut off, carried out, refused."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.console.test_console_cases import Desk, play

from bulkhead.boundary.codec import decode_reply
from bulkhead.boundary.messages import to_directory
from bulkhead.boundary.messages.to_keyring import CreateMailboxKeys
from bulkhead.directory import uploads
from bulkhead.drill.bare_cell import Person, stamp
from bulkhead.drill.semantic_console_calls import ask
from bulkhead.drill.semantic_orders import install
from bulkhead.identifiers import AccountId, new_id
from bulkhead.records.canonical import base64_text
from bulkhead.records.provision import Chunk, account_of_line, chunk_hash, chunks_of, root_of
from bulkhead.records.roster import Policy


class File:
    """A provisioning file: its chunks, its root."""

    def __init__(self, desk: Desk, name: str, rows: list[dict[str, Any]]) -> None:
        header = {"do": "provision", "tenant": str(desk.cell.tenant), "name": name}
        lines = [json.dumps(row).encode() + b"\n" for row in (header, *rows)]
        self.lines = len(lines)
        self.chunks: list[Chunk] = list(chunks_of(lines))
        self.hashes = b"".join(chunk_hash(chunk.data) for chunk in self.chunks)
        self.root = root_of(self.lines, self.hashes)
        self.path = f"/v1/provisioning/{self.root.hex()}"

    @property
    def body(self) -> dict[str, Any]:
        return {"root": self.root.hex(), "lines": self.lines, "hashes": base64_text(self.hashes)}

    def part(self, first: int, count: int = 1) -> dict[str, str]:
        return {"text": b"".join(chunk.data for chunk in self.chunks[first : first + count]).decode()}


def accounts(desk: Desk, count: int, name: str = "n") -> list[dict[str, Any]]:
    return [{"do": "add-account", "address": f"{name}{number}@{desk.cell.domain}"} for number in range(count)]


def test_a_file_comes_in_parts_out_of_order_and_is_carried_out_where_it_is(tmp_path: Path) -> None:
    async def work(desk: Desk, person: Person) -> None:
        rows = [
            *accounts(desk, 20),
            {"do": "alias", "address": f"n1@{desk.cell.domain}", "alias": f"n1x@{desk.cell.domain}"},
            {"do": "quota", "address": person.address, "octets": 4096},
            {"do": "quota", "address": f"n2@{desk.cell.domain}", "octets": 777},
            {"do": "add-account", "address": person.address},
            {"do": "services", "address": person.address, "off": ["login"]},
            *({"do": "unalias", "alias": f"none{number}@{desk.cell.domain}"} for number in range(490)),
        ]
        file = File(desk, "first", rows)
        assert len(file.chunks) == 2
        assert (await desk.call("ada", "POST", "/v1/provisioning", file.body))[1]["missing"] == 0
        state = (await desk.call("ada", "PUT", f"{file.path}/chunks/1", file.part(1)))[1]
        assert (state["held"], state["missing"], state["chunk"]) == (1, 0, 0) and state["expires"] > 0
        assert (await desk.call("ada", "POST", f"{file.path}/run"))[1]["chunk"] == 0  # the first is not here
        state = (await desk.call("ada", "PUT", f"{file.path}/chunks/0", file.part(0, 2)))[1]
        assert (state["held"], state["missing"]) == (2, 2)
        state = (await desk.call("ada", "POST", f"{file.path}/run"))[1]
        while state["chunk"] < state["chunks"]:
            state = (await desk.call("ada", "POST", f"{file.path}/run"))[1]
        assert (state["done"], state["refused"], state["held"]) == (file.lines, 492, 0)
        refused = (await desk.call("ada", "GET", f"{file.path}/refused"))[1]
        codes = {item["line"]: item["code"] for item in refused["items"]}
        assert (codes[25], codes[26], refused["next"]) == ("no-binding", "order-required", file.lines)
        assert (await desk.call("ada", "GET", f"{file.path}/refused?after={file.lines}"))[1]["items"] == []
        row = (await desk.call("ada", "GET", f"/v1/accounts/n1@{desk.cell.domain}"))[1]
        assert (row["account"], row["status"]) == (account_of_line(file.root, 3).hex(), "provisioned")
        for address, octets in ((person.address, 4096), (f"n2@{desk.cell.domain}", 777)):
            quota = (await desk.call("sec", "GET", f"/v1/accounts/{address}/quota"))[1]
            assert (quota["quota_bytes"], quota["limit_bytes"]) == (octets, octets)
        assert await desk.cell.admits("access", person)
        again = (await desk.call("ada", "POST", "/v1/provisioning", file.body))[1]
        assert again["chunk"] == again["chunks"]

    play(tmp_path, work)


def test_what_was_not_signed_is_not_kept_and_an_order_comes_first_where_it_is_asked_for(tmp_path: Path) -> None:
    async def work(desk: Desk, person: Person) -> None:
        people, file = desk.cell.people, File(desk, "second", accounts(desk, 3))
        strict = people.roster(Policy(local_refused=True))
        await install(desk.cell, strict)
        people.use(strict)
        refused = await desk.call("ada", "POST", "/v1/provisioning", file.body)
        assert (refused[0], refused[1]["code"]) == (403, "order-required")
        order = people.order("provision", {"root": file.root.hex(), "lines": file.lines}).encode()
        request = to_directory.SubmitOrder(stamp(), order, people.by(order, "ada"))
        await desk.cell.ask("cli", "directory", request)
        assert (await desk.call("ada", "POST", "/v1/provisioning", file.body))[0] == 200
        changed = {"text": file.part(0)["text"].replace("n1@", "x1@")}
        for target, body, code in (
            (f"{file.path}/chunks/0", changed, "other-chunk"), (f"{file.path}/chunks/7", file.part(0), "other-chunk"),
            (f"/v1/provisioning/{'00' * 32}/chunks/0", file.part(0), "no-such-file"),
            (f"{file.path}/chunks/0", {"text": "no line end"}, "bad-body"),
            (f"{file.path}/chunks/x", file.part(0), "bad-path"),
        ):  # fmt: skip
            answer = await desk.call("ada", "PUT", target, body)
            assert answer[1]["code"] == code, answer
        assert (await desk.call("ada", "GET", file.path))[1]["held"] == 0
        assert (await desk.call("ada", "PUT", f"{file.path}/chunks/0", file.part(0)))[0] == 200
        assert (await desk.call("ada", "POST", f"{file.path}/run"))[1]["done"] == file.lines
        other = File(desk, "third", accounts(desk, 1, "y"))
        token = desk.tokens["ada"]
        for request in (
            to_directory.BeginProvision(stamp(), other.root, other.lines, other.hashes),
            to_directory.CarryOutChunk(stamp(), other.root, 0),
        ):
            assert await ask(desk.exchange, token, "directory", request) == "order-required"

    play(tmp_path, work)


def test_a_session_sends_no_mailbox_elsewhere_by_a_file_that_nobody_signed(tmp_path: Path) -> None:
    async def work(desk: Desk, person: Person) -> None:
        desk.cell.services["directory"]._directory.reach.elsewhere.most = 2
        people = desk.cell.people
        forward = {"do": "forward", "address": person.address, "targets": ["far@elsewhere.example"]}
        for name, signed, codes in (("fifth", False, ["not-staff"]), ("sixth", True, [])):
            file = File(desk, name, [forward])
            if signed:
                order = people.order("provision", {"root": file.root.hex(), "lines": file.lines}).encode()
                request = to_directory.SubmitOrder(stamp(), order, people.by(order, "ada"))
                await desk.cell.ask("cli", "directory", request)
            assert (await desk.call("ada", "POST", "/v1/provisioning", file.body))[0] == 200
            assert (await desk.call("ada", "PUT", f"{file.path}/chunks/0", file.part(0)))[0] == 200
            assert (await desk.call("ada", "POST", f"{file.path}/run"))[1]["done"] == file.lines
            refused = (await desk.call("ada", "GET", f"{file.path}/refused"))[1]["items"]
            assert [item["code"] for item in refused] == codes

    play(tmp_path, work)


def test_what_waits_is_bounded_and_expires(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(desk: Desk, person: Person) -> None:
        file = File(desk, "fourth", accounts(desk, 600))
        assert (await desk.call("ada", "POST", "/v1/provisioning", file.body))[0] == 200
        monkeypatch.setattr(uploads, "HELD_BYTES_MAX", len(file.chunks[0].data))
        assert (await desk.call("ada", "PUT", f"{file.path}/chunks/0", file.part(0)))[0] == 200
        full = await desk.call("ada", "PUT", f"{file.path}/chunks/1", file.part(1))
        assert (full[0], full[1]["code"]) == (409, "upload-full")
        monkeypatch.setattr(uploads, "HELD_MS", -1)
        state = (await desk.call("ada", "GET", file.path))[1]
        assert (state["held"], state["missing"], state["expires"]) == (0, 0, 0)
        assert (await desk.call("ada", "POST", f"{file.path}/run"))[1]["done"] == 0
        assert (await desk.call("ada", "PUT", f"{file.path}/chunks/1", file.part(1)))[0] == 200  # the other made room

    play(tmp_path, work)


def test_a_session_has_no_first_password_made(tmp_path: Path) -> None:
    async def work(desk: Desk, person: Person) -> None:
        await desk.call("ada", "GET", "/v1/status")
        await desk.call("sec", "GET", "/v1/status")
        made = CreateMailboxKeys(stamp(), AccountId(new_id()), True)
        assert await ask(desk.exchange, desk.tokens["ada"], "keyring", made) == "role"
        plain = CreateMailboxKeys(stamp(), AccountId(new_id()), False)
        assert await ask(desk.exchange, desk.tokens["sec"], "keyring", plain) == "role"
        answer = await ask(desk.exchange, desk.tokens["ada"], "keyring", plain)
        created: Any = decode_reply(CreateMailboxKeys, answer.reply)
        assert created.token == bytes(16)

    play(tmp_path, work)
