"""incident for real beside two_halves' auth and keyring; and the thief of a copy."""

import contextlib
from typing import Any

from tests.keyring.two_halves import TENANT, TwoHalves, stamp

from bulkhead.boundary.host import Host
from bulkhead.boundary.messages.to_auth import SetPassword
from bulkhead.boundary.messages.to_incident import Canary, CanaryCopy, ListCanaries, PlantCanaries
from bulkhead.identifiers import AccountId, new_id
from bulkhead.incident import process as incident_process
from bulkhead.incident.create import create_keys
from bulkhead.records.common_passwords import common_passwords
from bulkhead.records.credential import MAIN_PASSWORD
from bulkhead.records.halves import tight_tag
from bulkhead.records.stretch import stretch

ROOT = bytes(range(32))
WORDS = common_passwords(64)


async def start_incident(cell: TwoHalves) -> Any:
    """The real one on its directory, connected; its seeds."""
    home = cell.root / "incident"
    home.mkdir(exist_ok=True)
    if not (home / "keys.sealed").exists():
        (home / "keys.sealed").write_bytes(create_keys().seal(TENANT, "incident", 1, ROOT))
    exchange = cell.exchanges["incident"] = cell.exchange("incident")
    with contextlib.chdir(home):
        cell.services["incident"] = await incident_process.start(
            Host(exchange.me, TENANT, {"id": TENANT}, exchange, root_key=ROOT)
        )
    for peer in ("auth", "cli"):
        cell.connect(peer, "incident")
    cell.connect("incident", "ledger")
    return cell.services["incident"].seeds


async def plant(cell: TwoHalves, *accounts: AccountId, copy: str = "live") -> None:
    """These are canaries, with decoys that nobody asks for."""
    canaries = tuple(Canary(account, AccountId(new_id())) for account in accounts)
    await cell.ask("cli", "incident", PlantCanaries(stamp(), copy, canaries))


async def copies_of(cell: TwoHalves) -> dict[str, CanaryCopy]:
    """What `incident canaries` shows, by copy."""
    return {copy.copy: copy for copy in (await cell.ask("cli", "incident", ListCanaries())).copies}


async def add_weak(cell: TwoHalves, password: bytes, account: AccountId | None = None) -> AccountId:
    """An account whose password is set as an import sets it."""
    account = account or AccountId(new_id())
    token = (await cell.create(account)).token
    await cell.ask("cli", "auth", SetPassword(stamp(), account, password, token, 63, "plain"))
    return account


def first_cracked(cell: TwoHalves, accounts: list[AccountId], words: list[bytes]) -> tuple[AccountId, bytes] | None:
    """What a thief of both databases and all their keys has first: word by word, as lists are tried."""
    auth, keyring = cell.state("auth"), cell.state("keyring")
    for word in words:
        for account in accounts:
            half = auth.rows.find(account, MAIN_PASSWORD)
            bid = keyring.keys.bid(account, MAIN_PASSWORD)
            record, g = keyring.database.first("SELECT record, g FROM half WHERE bid = ?", (bid,))
            stretched = stretch(word, half.salt, half.parameters)
            if keyring.keys.open_half(record, bid, g).tag == tight_tag(keyring.keys.tight, stretched.tight):
                return account, word
    return None
