"""The table of orders agrees with the messages, and names every change that the command line may ask for."""

import msgspec
import pytest

from bulkhead.boundary.messages.fields import Mutation
from bulkhead.boundary.messages.registry import RECEIVERS, requests_of
from bulkhead.boundary.orders import (
    EXECUTORS,
    LOCAL_POWERS,
    OFFLINE,
    ORDERS,
    PROVISIONED,
    Mode,
    Of,
    OrderKind,
    OrderRow,
)
from bulkhead.boundary.peers import PEERS, between

ROWS = pytest.mark.parametrize("row", ORDERS.values(), ids=lambda row: row.action)
CARRYING = {"SubmitOrder", "InstallRoster"}  # what they carry is signed


@ROWS
def test_an_effect_is_a_message_of_its_executor_with_all_its_fields(row: OrderRow) -> None:
    for effect in row.effects:
        message = getattr(RECEIVERS[effect.executor], effect.message)
        assert issubclass(message, Mutation)
        names = {field.name for field in msgspec.structs.fields(message)} - {"stamp"}
        if effect.mode is Mode.DO:
            assert set(effect.fields) == names
        else:
            assert set(effect.fields) <= names
        assert {source.parameter for source in effect.fields.values() if isinstance(source, Of)} <= set(row.parameters)


@ROWS
def test_a_row_is_whole(row: OrderRow) -> None:
    assert row.partner or row.anyone
    assert row.sentence.endswith(".")
    doing = [effect.executor for effect in row.effects if effect.mode is Mode.DO]
    assert len(doing) == len(set(doing))
    assert len({effect.mode for effect in row.effects}) <= 1
    if row.offline:
        assert row.executors == (OFFLINE,) and not row.effects
    else:
        assert set(row.executors) == {effect.executor for effect in row.effects} <= set(EXECUTORS)


@ROWS
def test_only_stops_are_for_passkeys_and_machines_and_only_what_destroys_waits(row: OrderRow) -> None:
    stops = row.kind is OrderKind.STOP
    assert stops or not (row.passkey or row.automatic or row.lapses)
    assert (row.kind is OrderKind.DESTROY) == bool(row.wait_ms)
    assert not row.wait_ms or row.daily
    lapsing = any("until" in effect.fields for effect in row.effects)  # the effect itself knows its end
    assert not row.automatic or row.lapses or lapsing
    assert bool(row.lapses) == bool(row.holder)
    assert (bool(row.lapses) or lapsing) == ("until" in row.parameters)
    assert not row.lapses or ORDERS[row.lapses].kind is OrderKind.OPEN


def test_no_operator_alone_orders_anything() -> None:
    assert all(row.partner for row in ORDERS.values() if row.action != "withdraw")


def test_every_change_that_the_command_line_may_ask_for_has_its_row() -> None:
    listed = {(effect.executor, effect.message) for row in ORDERS.values() for effect in row.effects}
    listed |= {(power.compartment, power.message) for power in LOCAL_POWERS}
    listed |= {(name, message) for name, messages in PROVISIONED.items() for message in messages}
    asked = {
        (peering.server, request.__name__): issubclass(request, Mutation)
        for peering in PEERS
        if peering.client == "cli"
        for request in requests_of(peering)
    }
    carried = {(peering.server, name) for peering in PEERS for name in peering.carries}
    assert listed <= set(asked) | carried
    missing = {who for who, changes in asked.items() if changes and who[1] not in CARRYING} - listed
    assert not missing, f"add a row to LOCAL_POWERS, or an order: {missing}"


def test_every_executor_takes_orders_and_has_a_ledger_to_say_so() -> None:
    for name in EXECUTORS:
        carried = between("cli", name)
        assert carried is not None
        assert {"SubmitOrder", "InstallRoster", "ListOrders"} <= set(carried.requests)
        told = between(name, "ledger")
        assert told is not None
        assert told.requests == ("AppendEvents",)


def test_nobody_but_the_command_line_and_incident_may_carry_orders_and_that_one_nowhere_it_need_not() -> None:
    carry = {(peering.client, peering.server) for peering in PEERS if "SubmitOrder" in peering.requests}
    assert {client for client, _ in carry} == {"cli", "incident"}
    assert {server for client, server in carry if client == "incident"} == {"keyring", "queue"}
    installs = {peering.client for peering in PEERS if "InstallRoster" in peering.requests}
    assert installs == {"cli"}
