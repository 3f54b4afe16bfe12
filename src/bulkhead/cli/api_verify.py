"""Answers of the console held against the log, by its public key alone: nobody who carried them is believed.

Entries and checkpoints are verified as such. Contract and canaries are `incident`'s word: their figures are computed
here once more, from every entry of the log. What no entry says (a setting of the cell) stays the cell's word.
"""

import hashlib
import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from bulkhead.cli.api_client import ApiClient, good_body
from bulkhead.contract.facts import Facts
from bulkhead.contract.measure import Standing, measure
from bulkhead.contract.terms import parse_contract
from bulkhead.errors import ConfigError, IntegrityError
from bulkhead.ledger.answer import check_entries, check_note
from bulkhead.ledger.event import Event, parse_event
from bulkhead.ledger.merkle import Frontier, leaf_hash
from bulkhead.ledger.note import Checkpoint, VerifierKey

OF_THE_CELL = {"retention.undelete_days"}  # terms that no entry tells
VERIFIED = ("/v1/ledger/entries", "/v1/ledger/checkpoint", "/v1/contract", "/v1/canaries")


def verified_answer(client: ApiClient, path: str, body: bytes, key: VerifierKey) -> tuple[Any, bool]:
    """What holds of the answer, and whether the cell said otherwise. Raises IntegrityError, ConfigError."""
    where = urlsplit(path).path
    if where == "/v1/ledger/entries":
        page = check_entries(body, key)
        return _of_tree(page.checkpoint, {"first": page.first, "entries": len(page.entries)}), False
    if where == "/v1/ledger/checkpoint":
        return _of_tree(check_note(json.loads(body).get("checkpoint"), key), {}), False
    if where == "/v1/contract":
        return _contract(client, json.loads(body), key)
    if where == "/v1/canaries":
        return _canaries(client, json.loads(body), key)
    raise ConfigError(f"--ledger-key verifies GET of {', '.join(VERIFIED)}")


class WholeLog:
    """Every entry by the API. checkpoint: once all were read; they are the entries of its tree."""

    def __init__(self, client: ApiClient, key: VerifierKey) -> None:
        self._client, self._key = client, key
        self.checkpoint: Checkpoint | None = None

    def read(self) -> Iterator[tuple[int, Event]]:
        """Index and event. Raises IntegrityError, also behind the last."""
        frontier, end = Frontier(), 0
        while True:
            body = good_body(self._client.call("GET", f"/v1/ledger/entries?first={frontier.size}"))
            page = check_entries(body, self._key)
            end = max(end, page.checkpoint.size)
            for entry in page.entries:
                yield frontier.size, parse_event(entry)
                frontier.append(leaf_hash(entry))
            if frontier.size >= end:
                break
        if (frontier.size, frontier.root()) != (page.checkpoint.size, page.checkpoint.root):
            raise IntegrityError("the pages of entries do not lead to the root of the last checkpoint", code="fork")
        self.checkpoint = page.checkpoint


def _of_tree(checkpoint: Checkpoint | None, more: Mapping[str, Any]) -> dict[str, Any]:
    if checkpoint is None:
        raise ValueError("the log was not read to its end")
    return {"origin": checkpoint.origin, "size": checkpoint.size, "root": checkpoint.root.hex(), **more}


def _contract(client: ApiClient, said: Any, key: VerifierKey) -> tuple[Any, bool]:
    log, facts, adopted = WholeLog(client, key), Facts(), ""
    for index, event in log.read():
        facts.learn(index, event)
        if event.kind.name == "ContractAdopted":
            adopted = str(event.details.get("sha256"))
    text = str(said["text"])
    if not text and not adopted:
        return _of_tree(log.checkpoint, {"terms": [], "differ": []}), False
    if hashlib.sha256(text.encode()).hexdigest() != adopted:
        raise IntegrityError("the contract is not the one that the ledger says was adopted last", code="other-contract")
    promises = [one for one in parse_contract(text) if one.term.name not in OF_THE_CELL]
    found = measure(promises, facts, {}, time.time_ns() // 1_000_000)
    standing = {one["name"]: one["standing"] for one in said["terms"]}
    terms = [
        {
            "name": one.promise.term.name, "promised": one.promise.value, "measured": one.measured,
            "standing": one.standing.name.lower(), "entry": one.entry, "why": one.why,
        }
        for one in found
    ]  # fmt: skip
    broken = [one.promise.term.name for one in found if one.standing is Standing.BROKEN]
    differ = [name for name in broken if standing.get(name) != "broken"]
    return _of_tree(log.checkpoint, {"terms": terms, "differ": differ}), bool(differ)


def _canaries(client: ApiClient, said: Any, key: VerifierKey) -> tuple[Any, bool]:
    log = WholeLog(client, key)
    planted, right, wrong = Counter[str](), Counter[str](), Counter[str]()
    for _, event in log.read():
        copy, count = str(event.details.get("copy")), event.details.get("count")
        if event.kind.name == "CanariesPlanted" and isinstance(count, int):
            planted[copy] += count
        elif event.kind.name == "CanaryUsed":
            (right if event.details.get("password_right") is True else wrong)[copy] += 1
    items = [
        {"copy": copy, "canaries": planted[copy], "right": right[copy], "wrong": wrong[copy]}
        for copy in sorted(planted.keys() | right.keys() | wrong.keys())
    ]
    told = {one["copy"]: one for one in said["items"]}
    differ = [
        one["copy"] for one in items
        if one["canaries"] != told.get(one["copy"], {}).get("canaries", 0)
        or any(one[name] and not told.get(one["copy"], {}).get(name) for name in ("right", "wrong"))
    ]  # fmt: skip
    return _of_tree(log.checkpoint, {"items": items, "differ": differ}), bool(differ)
