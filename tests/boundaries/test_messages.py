"""The closed list of messages: each has a sender, a handler, a row in the page, a tag of its own and limits."""

import importlib
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bulkhead.boundary.messages import facts, registry
from bulkhead.boundary.messages.fields import MESSAGE_MAX, Fact, Request, reply_type
from bulkhead.boundary.messages.registry import RECEIVERS, facts_of, requests_of
from bulkhead.boundary.peers import PEERS, Peering, between
from bulkhead.boundary.processes import OPERATOR_CONSOLE, PROCESSES, SLOTS_PER_CELL, Image
from bulkhead.boundary.reference import messages_of, messages_page, with_tables

ROOT = Path(__file__).parents[2]
TAGS = ROOT / "tests" / "vectors" / "messages" / "tags.txt"
REQUESTS = [(name, request) for name, module in RECEIVERS.items() for request in messages_of(module, Request)]
FACTS = messages_of(facts, Fact)
NAMES = [f"{receiver}-{request.__name__}" for receiver, request in REQUESTS]


def sides_of(message: type[Fact]) -> list[tuple[str, str]]:
    """(teller, hearer) of a fact."""
    found = [(p.client, p.server) for p in PEERS if message.__name__ in p.facts]
    return found + [(p.server, p.client) for p in PEERS if message.__name__ in p.announces]


@pytest.mark.parametrize(("receiver", "request_type"), REQUESTS, ids=NAMES)
def test_every_request_has_sender_handler_and_row(receiver: str, request_type: type[Request[Any]]) -> None:
    senders = [p.client for p in PEERS if p.server == receiver and request_type.__name__ in (*p.requests, *p.carries)]
    assert senders, "nobody in PEERS may send it"
    handlers = importlib.import_module(f"bulkhead.{receiver}.handle").HANDLERS
    assert request_type in handlers, "its receiver has no handler for it"
    section = messages_page().split(f"## to {receiver}\n")[1].split("\n## ")[0]
    row = next(line for line in section.splitlines() if f" | `{request_type.__name__}` | " in line)
    assert row.startswith(f"| {request_type.__struct_config__.tag} | ")
    assert all(f"`{sender}`" in row for sender in senders)


@pytest.mark.parametrize("peering", PEERS, ids=lambda peering: f"{peering.client}-{peering.server}")
def test_whoever_may_send_a_message_does(peering: Peering) -> None:
    """A right that nobody uses is one that only an attacker would."""
    for side, names in ((peering.client, (*peering.requests, *peering.facts)), (peering.server, peering.announces)):
        image = PROCESSES[side].image if side in PROCESSES else None
        folders = [side, {Image.FRONT: "gate", Image.VAULT: "holder", None: "demo"}[image]]
        source = "".join(path.read_text() for name in folders for path in (ROOT / "src/bulkhead" / name).glob("*.py"))
        assert [name for name in names if not re.search(rf"\b{name}\(", source)] == []


def test_whatever_a_staff_session_may_have_carried_the_console_makes_and_its_receiver_handles() -> None:
    # the table of metrics names what a collector's call makes
    files = [*(ROOT / "src/bulkhead/console").glob("*.py"), ROOT / "src/bulkhead/boundary/metrics.py"]
    source = "".join(path.read_text() for path in files)
    for peering in PEERS:
        assert not peering.carries or (peering.client == "console" and "AskAsStaff" in peering.requests)
        carried = {getattr(RECEIVERS[peering.server], name) for name in peering.carries}
        assert carried <= set(importlib.import_module(f"bulkhead.{peering.server}.handle").HANDLERS)
        assert [name for name in peering.carries if not re.search(rf"\b{name}\(", source)] == []


@pytest.mark.parametrize("receiver", RECEIVERS)
def test_a_receiver_handles_nothing_but_its_own_messages(receiver: str) -> None:
    handlers = importlib.import_module(f"bulkhead.{receiver}.handle").HANDLERS
    assert set(handlers) == set(messages_of(RECEIVERS[receiver], Request))


@pytest.mark.parametrize("fact", FACTS)
def test_every_fact_has_teller_hearer_and_row(fact: type[Fact]) -> None:
    sides = sides_of(fact)
    assert sides and f" | `{fact.__name__}` | " in messages_page()
    for _, hearer in sides:
        source = "".join(path.read_text() for path in (ROOT / "src/bulkhead" / hearer).glob("*.py"))
        assert f"{fact.__name__}:" in source, f"{hearer} has no learner for it"


def test_peers_names_only_compartments_messages_and_sides_that_exist() -> None:
    names = set(PROCESSES) | {OPERATOR_CONSOLE}
    assert len({(p.client, p.server) for p in PEERS}) == len(PEERS)
    for peering in PEERS:
        assert peering.client in names and peering.server in PROCESSES and peering.client != peering.server
        assert requests_of(peering) and len(set(peering.requests)) == len(peering.requests)
        facts_of((*peering.facts, *peering.announces))
        assert between(peering.server, peering.client) is peering  # one edge between two, never one each way
        assert peering.descriptors == (peering.server == "dialer")


def test_every_receiver_of_requests_has_its_module_and_every_module_its_receiver() -> None:
    assert set(RECEIVERS) == {peering.server for peering in PEERS}
    folder = Path(registry.__file__).parent
    assert {path.stem for path in folder.glob("to_*")} == {f"to_{name}" for name in RECEIVERS}


def test_requests_form_no_cycle_so_that_no_two_compartments_wait_for_each_other() -> None:
    asks = {name: {p.server for p in PEERS if p.client == name} for name in (*PROCESSES, OPERATOR_CONSOLE)}
    done: list[str] = []
    while len(done) < len(asks):
        free = [name for name, servers in asks.items() if name not in done and servers <= set(done)]
        assert free, f"a cycle among {sorted(set(asks) - set(done))}"
        done += free


def test_no_vault_compartment_asks_a_front_one() -> None:
    for peering in PEERS:
        if peering.client in PROCESSES and PROCESSES[peering.client].image is Image.VAULT:
            assert PROCESSES[peering.server].image is Image.VAULT


def test_facts_do_not_wait_and_have_no_answer() -> None:
    for fact in FACTS:
        assert not issubclass(fact, Request)
        with pytest.raises(ValueError, match="names no reply"):
            reply_type(fact)  # type: ignore[arg-type]


@pytest.mark.parametrize("receiver", RECEIVERS)
def test_tags_are_unique_in_a_receiver(receiver: str) -> None:
    tags = [request.__struct_config__.tag for request in messages_of(RECEIVERS[receiver], Request)]
    assert len(set(tags)) == len(tags) and all(isinstance(tag, int) and 0 < tag < 128 for tag in tags)


def test_a_tag_once_given_is_never_changed_nor_given_again() -> None:
    """The file is the memory: rows are added to it, none is taken out; a message that is gone keeps its row."""
    rows = [line.split() for line in TAGS.read_text().splitlines() if line and not line.startswith("#")]
    given = {(receiver, int(tag)): name for receiver, tag, name in rows}
    assert len(given) == len(rows)
    now = {(receiver, request.__struct_config__.tag): request.__name__ for receiver, request in REQUESTS}
    now |= {("facts", fact.__struct_config__.tag): fact.__name__ for fact in FACTS}
    missing = {key: name for key, name in now.items() if key not in given}
    assert not missing, f"add to {TAGS}: {missing}"
    assert {key: given[key] for key in now} == now


@pytest.mark.parametrize(("receiver", "request_type"), REQUESTS, ids=NAMES)
def test_every_field_of_every_message_has_a_limit(receiver: str, request_type: type[Request[Any]]) -> None:
    _assert_limits(msgspec.inspect.type_info(request_type), f"{receiver}.{request_type.__name__}")
    _assert_limits(msgspec.inspect.type_info(reply_type(request_type)), f"answer to {request_type.__name__}")


def _assert_limits(info: msgspec.inspect.Type, where: str) -> None:
    kinds = msgspec.inspect
    if isinstance(info, kinds.StructType):
        assert info.array_like and info.forbid_unknown_fields and info.cls.__struct_config__.frozen, where
        for field in info.fields:
            _assert_limits(field.type, f"{where}.{field.name}")
    elif isinstance(info, kinds.StrType | kinds.BytesType | kinds.DictType | kinds.VarTupleType | kinds.ListType):
        assert info.max_length is not None, f"{where} has no limit"
        for inner in (getattr(info, name, None) for name in ("item_type", "key_type", "value_type")):
            if inner is not None:
                _assert_limits(inner, where)
    elif isinstance(info, kinds.UnionType | kinds.TupleType):
        for inner in info.types if isinstance(info, kinds.UnionType) else info.item_types:
            _assert_limits(inner, where)
    else:
        assert isinstance(info, kinds.IntType | kinds.BoolType | kinds.NoneType), f"{where} is {info}"


def test_no_message_has_a_body_both_ways() -> None:
    assert not [request for _, request in REQUESTS if request.body_max and request.reply_body_max]
    assert MESSAGE_MAX == 256 * 1024


def test_slots_are_unique_and_fit_the_uid_range_of_a_cell() -> None:
    slots = [process.slot for process in PROCESSES.values()]
    assert len(set(slots)) == len(slots) and all(0 < slot < SLOTS_PER_CELL for slot in slots)


def test_the_pages_made_from_the_tables_are_current() -> None:
    assert (ROOT / "docs/messages.md").read_text() == messages_page(), "run: make docs"
    architecture = (ROOT / "docs/architecture.md").read_text()
    assert with_tables(architecture) == architecture, "run: make docs"
    assert all(f"| `{name}` | " in architecture for name in PROCESSES)


def test_every_path_that_the_architecture_page_names_exists() -> None:
    import re

    page = (ROOT / "docs/architecture.md").read_text()
    for path in re.findall(r"`((?:boundary|supervisor|config|wire|gate|holder|records|cli|drill|demo)/[\w./]*)`", page):
        assert (ROOT / "src/bulkhead" / path).exists(), path
    for path in re.findall(r"\]\(([\w./]+)\)", page):
        assert (ROOT / "docs" / path).exists(), path
