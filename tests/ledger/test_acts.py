"""What a restore does again is what the log says last, whatever the order in which several holders told it."""

from bulkhead.identifiers import AccountId
from bulkhead.ledger.acts import acts_of
from bulkhead.ledger.event import EVENTS, Event, Scalar, encode_event, subject_id

ANNA, BEN = (subject_id(bytes(32), AccountId(bytes((number,)) * 16)) for number in (1, 2))


def entry(kind: str, subject: bytes = b"", at: int = 5, **details: Scalar) -> bytes:
    subjects = (subject,) if subject else ()
    return encode_event(Event(EVENTS[kind], at, "cli", subjects, details))  # type: ignore[arg-type]  # bytes of a subject


def test_the_last_status_of_an_account_counts() -> None:
    acts = acts_of(
        [entry("AccountStatusChanged", ANNA, to="suspended"), entry("AccountStatusChanged", ANNA, to="active")]
    )
    assert (acts.status, acts.entries) == ({ANNA: "active"}, 2)


def test_a_cancellation_that_destroyed_one_half_is_one() -> None:
    acts = acts_of([entry("HalfDestroyed", ANNA, version=1), entry("AccountStatusChanged", BEN, to="purged")])
    assert acts.status == {ANNA: "cancelled", BEN: "purged"}


def test_changed_and_revoked_credentials_are_told_apart_by_number() -> None:
    acts = acts_of(
        [
            entry("PasswordSet", ANNA, cred=0, change=3),
            entry("PasswordSet", ANNA, cred=2, change=1),
            entry("AppPasswordRevoked", ANNA, cred=1, revoked=1),
            entry("AppPasswordRevoked", BEN, cred=0, revoked=4),
        ]
    )
    assert (acts.changed, acts.revoked) == ({ANNA: {0, 2}}, {ANNA: {1}, BEN: {0}})


def test_a_renewed_mailbox_key_ends_every_app_password_of_its_account() -> None:
    assert acts_of([entry("MailboxKeyRenewed", ANNA, generation=2)]).revoked == {ANNA: {0}}


def test_the_highest_epoch_counts_for_each_kind_and_holder() -> None:
    acts = acts_of(
        [
            entry("CredentialsRevoked", which=3, epoch=70, compartment="auth"),
            entry("CredentialsRevoked", which=1, epoch=60, compartment="keyring"),
            entry("StopLogins", epoch=90, compartment="auth"),
            entry("StopLifted", epoch=80, compartment="auth"),
            entry("StopSessions", epoch=80, compartment="keyring"),
            entry("StopLifted", epoch=95, compartment="keyring"),
            entry("StopOutbound", epoch=97, compartment="keyring"),
            entry("StopOutbound", epoch=96, compartment="queue"),
            entry("StopLifted", epoch=98, compartment="queue", what="outbound"),
            entry("StopLifted", epoch=99, compartment="queue", what="logins"),
            entry("MailboxRenewalOrdered", at=7, number=1),
        ]
    )
    assert (acts.epochs, acts.renewal) == ({1: 70, 2: 70}, 7)
    assert {name: (stop.epoch, stop.stopped) for name, stop in acts.stops.items()} == {
        "auth": (90, True), "keyring": (95, False), "keyring:outbound": (97, True), "queue:outbound": (98, False),
        "queue": (99, False),
    }  # fmt: skip


def test_what_ended_sessions_and_let_logins_be_stops_none() -> None:
    acts = acts_of(
        [
            entry("StopSessions", epoch=80, holds=False, compartment="keyring"),
            entry("StopOutbound", epoch=70, holds=True, compartment="queue"),
        ]
    )
    assert {name: stop.stopped for name, stop in acts.stops.items()} == {"keyring": False, "queue:outbound": True}


def test_ways_to_an_account_are_as_they_were_last() -> None:
    acts = acts_of(
        [
            entry("ServicesChanged", ANNA, login=False, receive=True, send=False, reason="r"),
            entry("ServicesChanged", BEN, login=False, receive=False, send=True, reason="r"),
            entry("ServicesChanged", BEN, login=True, receive=True, send=True, reason="r"),
            entry("AddressRetired", ANNA, domain="d", digest="01"),
            entry("AddressAdded", ANNA, domain="d", digest="01"),
            entry("GroupChanged", BEN, domain="d", digest="02", what="left"),
            entry("GroupChanged", domain="d", digest="02", what="removed"),
            entry("ForwardChanged", BEN, targets=0, keep=True, digest="03"),
        ]
    )
    assert (acts.closed, acts.forwards) == ({ANNA: 5, BEN: 0}, {BEN: "03"})
    assert acts.routes == {(ANNA, "01"): "AddressAdded", (BEN, "02"): "left", (None, "02"): "removed"}


def test_of_each_surface_and_set_the_newest_stop_or_lift_counts() -> None:
    def stopped(epoch: int, accounts: str = "", until: int = 0) -> bytes:
        return entry("SurfacesStopped", surfaces=5, accounts=accounts, epoch=epoch, until=until, compartment="store")

    def lifted(epoch: int, surfaces: int) -> bytes:
        return entry("SurfacesLifted", surfaces=surfaces, accounts="", epoch=epoch, compartment="store")

    acts = acts_of([stopped(10), stopped(12, "ab" * 32, 99), lifted(11, 1), lifted(9, 4), stopped(20, until=5)])
    assert {key: (stop.epoch, stop.closed, stop.until) for key, stop in acts.surfaces.items()} == {
        ("store", 1, b""): (20, True, 5), ("store", 4, b""): (20, True, 0),
        ("store", 1, b"\xab" * 32): (12, True, 99), ("store", 4, b"\xab" * 32): (12, True, 99),
    }  # fmt: skip
    lapsed = acts_of([stopped(10, until=5), lifted(10, 5)])
    assert not any(stop.closed for stop in lapsed.surfaces.values())
