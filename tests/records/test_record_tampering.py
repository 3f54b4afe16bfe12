"""One changed byte, one byte more or less, or another place: IntegrityError, and no secret in what is printed."""

from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from tests.records.record_vectors import cases

from bulkhead.errors import ConfigError, IntegrityError, Refused
from bulkhead.identifiers import AccountId, TenantId
from bulkhead.records import (
    access,
    app_password,
    backup,
    halves,
    keyfile,
    mailbox,
    message,
    name,
    page,
    queued,
    record,
    recovery_file,
    slot,
    standby,
)
from bulkhead.records.credential import Scope, State, Stretched, StretchParameters, stretch_app_password
from bulkhead.records.record import Kind
from bulkhead.records.seed import MailboxSeed
from bulkhead.records.stretch import stretch

OTHER = bytes(16)


def private(raw):
    return X25519PrivateKey.from_private_bytes(raw)


def pinned(case):
    return Ed25519PublicKey.from_public_bytes(case["verifying_key"])


def openers():
    """(name, record, opener of a record, places): each place is an opener with one argument of another."""
    c = cases("auth_half")[1]
    place = halves.Place(c["tenant"], c["bid"], c["g"])
    yield (
        "auth half",
        c["record"],
        lambda r, c=c, place=place: halves.AuthHalf.open(r, place, c["k_auth"]),
        [
            lambda r, c=c: halves.AuthHalf.open(r, halves.Place("jcom", c["bid"], c["g"]), c["k_auth"]),
            lambda r, c=c: halves.AuthHalf.open(r, halves.Place(c["tenant"], OTHER, c["g"]), c["k_auth"]),
            lambda r, c=c: halves.AuthHalf.open(r, halves.Place(c["tenant"], c["bid"], c["g"] + 1), c["k_auth"]),
            lambda r, place=place: halves.AuthHalf.open(r, place, bytes(32)),
        ],
    )
    c = cases("keyring_half")[0]
    place = halves.Place(c["tenant"], c["bid"], c["g"])
    yield (
        "keyring half",
        c["record"],
        lambda r, c=c, place=place: halves.KeyringHalf.open(r, place, c["k_ring"]),
        [
            lambda r, c=c: halves.KeyringHalf.open(r, halves.Place("jcom", c["bid"], c["g"]), c["k_ring"]),
            lambda r, c=c: halves.KeyringHalf.open(r, halves.Place(c["tenant"], OTHER, c["g"]), c["k_ring"]),
            lambda r, c=c: halves.KeyringHalf.open(r, halves.Place(c["tenant"], c["bid"], 5), c["k_ring"]),
            lambda r, c=c, place=place: halves.AuthHalf.open(r, place, c["k_ring"]),
        ],
    )
    right = Stretched(c["tight"], c["wrap_key"])
    half = halves.KeyringHalf.open(c["record"], place, c["k_ring"])

    def unwrap(r, tenant=c["tenant"], account=c["account"], credential=0, g=c["g"], scope=half.scope, c=c):
        mine = halves.KeyringHalf(scope, half.state, half.tag, r)
        return mine.unwrap(c["k_tight"], right, tenant, account, credential, g)

    yield (
        "credential wrap",
        half.wrap,
        unwrap,
        [
            lambda r: unwrap(r, tenant="jcom"),
            lambda r: unwrap(r, account=OTHER),
            lambda r: unwrap(r, credential=1),
            lambda r: unwrap(r, g=5),
            lambda r: unwrap(r, scope=Scope.SUBMIT),
        ],
    )
    c = cases("mailbox")[1]
    yield (
        "mailbox",
        c["record"],
        lambda r, c=c: mailbox.MailboxRecord.open(r, c["tenant"], c["mid"], 3, c["k_ring"]),
        [
            lambda r, c=c: mailbox.MailboxRecord.open(r, "jcom", c["mid"], 3, c["k_ring"]),
            lambda r, c=c: mailbox.MailboxRecord.open(r, c["tenant"], OTHER, 3, c["k_ring"]),
            lambda r, c=c: mailbox.MailboxRecord.open(r, c["tenant"], c["mid"], 2, c["k_ring"]),
        ],
    )
    tree = MailboxSeed(c["tenant"], c["account"], 3, c["seed"])

    def with_part(**parts):
        return mailbox.MailboxRecord(**{"share_1": b"", "share_2": b"", "by_shares": b"", **parts})

    yield (
        "seed by shares",
        c["by_shares_record"],
        lambda r, c=c: with_part(by_shares=r).open_by_shares(c["tenant"], c["account"], 3, c["share_1"], c["share_2"]),
        [
            lambda r, c=c: with_part(by_shares=r).open_by_shares("jcom", c["account"], 3, c["share_1"], c["share_2"]),
            lambda r, c=c: with_part(by_shares=r).open_by_shares(c["tenant"], OTHER, 3, c["share_1"], c["share_2"]),
            lambda r, c=c: with_part(by_shares=r).open_by_shares(
                c["tenant"], c["account"], 3, c["share_2"], c["share_1"]
            ),
        ],
    )
    yield (
        "previous seed",
        c["previous_record"],
        lambda r, tree=tree: with_part(previous=r or b"x").open_previous(tree),
        [lambda r, c=c: with_part(previous=r).open_previous(MailboxSeed(c["tenant"], OTHER, 3, c["seed"]))],
    )
    partner, operator = private(c["partner_private_key"]), private(c["operator_private_key"])
    mine, his = mailbox.Holder.PARTNER, mailbox.Holder.OPERATOR
    yield (
        "recovery share",
        c["share_1_record"],
        lambda r, c=c: mailbox.open_share(r, mine, partner, c["tenant"], c["account"], 3),
        [
            lambda r, c=c: mailbox.open_share(r, his, partner, c["tenant"], c["account"], 3),
            lambda r, c=c: mailbox.open_share(r, mine, operator, c["tenant"], c["account"], 3),
            lambda r, c=c: mailbox.open_share(r, mine, partner, "jcom", c["account"], 3),
            lambda r, c=c: mailbox.open_share(r, mine, partner, c["tenant"], OTHER, 3),
            lambda r, c=c: mailbox.open_share(r, mine, partner, c["tenant"], c["account"], 2),
        ],
    )
    c = cases("binding")[0]
    yield (
        "binding",
        c["record"],
        lambda r, c=c: mailbox.Binding(r).verify(pinned(c), c["tenant"], c["account"]),
        [
            lambda r, c=c: mailbox.Binding(r).verify(pinned(c), "jcom", c["account"]),
            lambda r, c=c: mailbox.Binding(r).verify(pinned(c), c["tenant"], OTHER),
            lambda r, c=c: mailbox.Binding(r).verify(
                Ed25519PrivateKey.from_private_bytes(bytes(32)).public_key(), c["tenant"], c["account"]
            ),
        ],
    )
    c = cases("recovery_order")[0]
    who = c["tenant"], c["account"], 3
    yield (
        "order key",
        c["order_key_record"],
        lambda r, c=c, who=who: mailbox.OrderKey.verify(r, pinned(c), *who, c["order"]),
        [
            lambda r, c=c, who=who: mailbox.OrderKey.verify(r, pinned(c), *who, OTHER),
            lambda r, c=c: mailbox.OrderKey.verify(r, pinned(c), c["tenant"], c["account"], 2, c["order"]),
            lambda r, c=c, who=who: mailbox.Binding(r).verify(pinned(c), *who[:2]),
        ],
    )
    order = mailbox.OrderKey.verify(c["order_key_record"], pinned(c), *who, c["order"])
    one_time = private(c["one_time_private_key"])
    other_order = mailbox.OrderKey(*who, OTHER, order.public_key)
    yield (
        "order share",
        c["order_share_record"],
        lambda r: mailbox.open_resealed(r, mine, one_time, order),
        [
            lambda r: mailbox.open_resealed(r, his, one_time, order),
            lambda r: mailbox.open_resealed(r, mine, one_time, other_order),
        ],
    )
    c = cases("message")[1]
    key, account, email = c["message_key"], c["account"], c["email_id"]
    box_key = private(c["private_key"])
    yield (
        "key box",
        c["key_box_record"],
        lambda r, c=c: message.open_key_box(r, box_key, c["tenant"], account, email),
        [
            lambda r: message.open_key_box(r, box_key, "jcom", account, email),
            lambda r, c=c: message.open_key_box(r, box_key, c["tenant"], OTHER, email),
            lambda r, c=c: message.open_key_box(r, box_key, c["tenant"], account, OTHER),
            lambda r, c=c: queued.open_queue_key_box(r, box_key, c["tenant"], email),
        ],
    )
    for label, opener in (
        ("summary", message.open_summary),
        ("header", message.open_header),
        ("body", message.open_body),
    ):
        others = [f for f in (message.open_summary, message.open_header, message.open_body) if f is not opener]
        yield (
            label,
            c[f"{label}_record"],
            lambda r, opener=opener: opener(key, account, email, r),
            [
                lambda r, opener=opener: opener(key, OTHER, email, r),
                lambda r, opener=opener: opener(key, account, OTHER, r),
                lambda r, opener=opener: opener(bytes(32), account, email, r),
                *(lambda r, other=other: other(key, account, email, r) for other in others),
            ],
        )
    c = cases("app_password")[0]
    place = halves.Place(c["tenant"], c["bid"], 1)
    yield (
        "app password note",
        c["record"],
        lambda r, c=c, place=place: app_password.AppPasswordNote.open(r, place, c["k_auth"]),
        [
            lambda r, c=c: app_password.AppPasswordNote.open(r, halves.Place("jcom", c["bid"], 1), c["k_auth"]),
            lambda r, c=c: app_password.AppPasswordNote.open(r, halves.Place(c["tenant"], OTHER, 1), c["k_auth"]),
            lambda r, c=c: app_password.AppPasswordNote.open(r, halves.Place(c["tenant"], c["bid"], 2), c["k_auth"]),
        ],
    )
    c = cases("slot")[0]
    yield (
        "slot",
        c["record"],
        lambda r, c=c: slot.open_slot(c["slot_key"], c["account"], c["email_id"], r),
        [
            lambda r, c=c: slot.open_slot(c["slot_key"], OTHER, c["email_id"], r),
            lambda r, c=c: slot.open_slot(c["slot_key"], c["account"], OTHER, r),
        ],
    )
    c = cases("access")[0]
    at = c["tenant"], "auth", c["day"]
    yield (
        "access block",
        c["record"],
        lambda r, c=c, at=at: access.DayOpener(*at, c["key"]).open(c["block"], c["head"], r),
        [
            lambda r, c=c, at=at: access.DayOpener(*at, c["key"]).open(c["block"] + 1, c["head"], r),
            lambda r, c=c: access.DayOpener("other", "auth", c["day"], c["key"]).open(c["block"], c["head"], r),
            lambda r, c=c, at=at: access.DayOpener(*at, c["key"]).open(c["block"], c["head"][:-1] + b"\0", r),
        ],
    )
    yield (
        "access day key",
        c["day_key"],
        lambda r, c=c, at=at: access.open_day_key(r, c["by"], *at),
        [
            lambda r, c=c: access.open_day_key(r, c["by"], c["tenant"], "store", c["day"]),
            lambda r, c=c: access.open_day_key(r, c["by"], c["tenant"], "auth", c["day"] + 1),
        ],
    )
    c = cases("page")[0]
    yield (
        "page",
        c["record"],
        lambda r, c=c: page.Page.open(c["page_key"], c["account"], 7, 2, r),
        [
            lambda r, c=c: page.Page.open(c["page_key"], OTHER, 7, 2, r),
            lambda r, c=c: page.Page.open(c["page_key"], c["account"], 8, 2, r),
            lambda r, c=c: page.Page.open(c["page_key"], c["account"], 7, 3, r),
        ],
    )
    c = cases("name")[0]
    folder, keyword = name.NameKind.FOLDER, name.NameKind.KEYWORD
    yield (
        "name",
        c["record"],
        lambda r, c=c: name.open_name(c["metadata_key"], c["account"], folder, name.SealedName(c["tag"], r)),
        [
            lambda r, c=c: name.open_name(c["metadata_key"], OTHER, folder, name.SealedName(c["tag"], r)),
            lambda r, c=c: name.open_name(c["metadata_key"], c["account"], folder, name.SealedName(OTHER, r)),
            lambda r, c=c: name.open_name(c["metadata_key"], c["account"], keyword, name.SealedName(c["tag"], r)),
        ],
    )
    c = cases("queued")[0]
    queue_key = private(c["private_key"])
    yield (
        "queue key box",
        c["key_box_record"],
        lambda r, c=c: queued.open_queue_key_box(r, queue_key, c["tenant"], c["queue_id"]),
        [
            lambda r, c=c: queued.open_queue_key_box(r, queue_key, "jcom", c["queue_id"]),
            lambda r, c=c: queued.open_queue_key_box(r, queue_key, c["tenant"], OTHER),
        ],
    )
    yield (
        "queue header",
        c["header_record"],
        lambda r, c=c: queued.open_queue_header(c["message_key"], c["queue_id"], r),
        [lambda r, c=c: queued.open_queue_header(c["message_key"], OTHER, r)],
    )
    yield (
        "queue body",
        c["body_record"],
        lambda r, c=c: list(queued.open_queue_body_pieces(c["message_key"], c["queue_id"], [r])),
        [lambda r, c=c: list(queued.open_queue_body_pieces(c["message_key"], OTHER, [r]))],
    )
    c = cases("backup")[0]
    lead = backup.read_lead(c["stream"])
    parties = backup.PrivateKeys(private(c["partner_private_key"]), private(c["operator_private_key"]))
    other = backup.Sealed(replace(lead.head, compartment="auth"), lead.shares, lead.length)
    yield (
        "backup share",
        lead.shares[1],
        lambda r, a=lead: backup.Sealed(a.head, (a.shares[0], r), a.length).key(parties),
        [lambda r, a=lead: backup.Sealed(other.head, (a.shares[0], r), a.length).key(parties)],
    )
    yield (
        "backup stream",
        c["stream"][lead.length :],
        lambda r: list(backup.StreamOpener(lead, parties).files([r])),
        [lambda r: list(backup.StreamOpener(other, parties).files([r]))],
    )
    c = cases("key_set")[0]
    yield (
        "key set",
        c["record"],
        lambda r, c=c: keyfile.KeySet.open(r, c["tenant"], "keyring", c["root_key"]),
        [
            lambda r, c=c: keyfile.KeySet.open(r, "jcom", "keyring", c["root_key"]),
            lambda r, c=c: keyfile.KeySet.open(r, c["tenant"], "auth", c["root_key"]),
        ],
    )
    yield from standby_openers()


def standby_openers():
    """As above, of what is shipped to a standby: every stream draws its key, so no vector has one."""
    parties = [mailbox.RecoveryKey(1, private(bytes([n] * 32)).public_key()) for n in (1, 2)]
    keys = backup.PrivateKeys(private(bytes([1] * 32)), private(bytes([2] * 32)))
    warm = private(bytes([3] * 32))
    head = backup.Head(TenantId("kddi"), "auth", "20261122T071500Z-0badcafe", standby.STANDBY, 1, "0.1.0")
    octets, key = standby.begin_stream(head, backup.Recipients(*parties), warm.public_key())
    lead, other = standby.read_lead(octets), replace(head, compartment="store")
    yield (
        "standby share",
        lead.sealed[0],
        lambda r: standby.Lead(head, (r, *lead.sealed[1:]), b"").key(keys),
        [lambda r: standby.Lead(other, (r, *lead.sealed[1:]), b"").key(keys)],
    )
    yield (
        "standby key",
        lead.sealed[2],
        lambda r: standby.Lead(head, (b"", b"", r), b"").warm_key(warm),
        [
            lambda r: standby.Lead(other, (b"", b"", r), b"").warm_key(warm),
            lambda r: standby.Lead(head, (b"", b"", r), b"").warm_key(keys.partner),
        ],
    )
    piece = standby.seal_piece(key, head, 7, standby.WHOLE, lead.digest, [standby.Remove("segments/1")])
    clear, sealed = piece[:41], piece[41:]
    moved = standby.seal_piece(key, head, 8, standby.WHOLE, lead.digest, [])[:41]
    yield (
        "standby piece",
        sealed,
        lambda r: standby.open_piece(key, head, clear + r),
        [
            lambda r: standby.open_piece(key, head, moved + r),
            lambda r: standby.open_piece(key, other, clear + r),
            lambda r: standby.open_piece(bytes(32), head, clear + r),
        ],
    )


RECORDS = [pytest.param(sealed, opener, places, id=label) for label, sealed, opener, places in openers()]


def test_every_kind_is_among_the_records_attacked_here():
    attacked = {parameter.values[0][0] for parameter in RECORDS}
    assert attacked == {int(kind) for kind in Kind} - {int(Kind.KEYWORD)}  # a folder name but for its number


@pytest.mark.parametrize(("sealed", "opener", "places"), RECORDS)
def test_any_changed_byte_is_refused(sealed, opener, places):
    opener(sealed)
    for at in range(len(sealed)):
        for flip in (0x01, 0x80):
            changed = bytearray(sealed)
            changed[at] ^= flip
            with pytest.raises(IntegrityError):
                opener(bytes(changed))


@pytest.mark.parametrize(("sealed", "opener", "places"), RECORDS)
def test_any_cut_and_any_byte_more_is_refused(sealed, opener, places):
    for end in range(len(sealed)):
        with pytest.raises(IntegrityError):
            opener(sealed[:end])
    for more in (b"\0", b"\1", sealed):
        with pytest.raises(IntegrityError):
            opener(sealed + more)


@pytest.mark.parametrize(("sealed", "opener", "places"), RECORDS)
def test_any_other_place_is_refused(sealed, opener, places):
    for place in places:
        with pytest.raises(IntegrityError):
            place(sealed)


@pytest.mark.parametrize(("sealed", "opener", "places"), RECORDS)
@given(junk=st.binary(max_size=200))
def test_random_bytes_behind_a_true_header_raise_only_integrity_errors(sealed, opener, places, junk):
    for data in (junk, sealed[:7] + junk):
        if data != sealed:
            with pytest.raises(IntegrityError):
                opener(data)


@pytest.mark.parametrize(
    ("at", "words"), [(0, "kind 255 where 20"), (1, "unknown version 255"), (2, "unknown suite 255")]
)
def test_the_refusal_names_what_is_unknown(at, words):
    case = cases("slot")[0]
    changed = bytearray(case["record"])
    changed[at] = 255
    with pytest.raises(IntegrityError, match=words):
        slot.open_slot(case["slot_key"], case["account"], case["email_id"], bytes(changed))


def test_a_suite_of_another_kind_is_refused_before_any_key_is_used():
    sealed = record.seal(Kind.SLOT, 1, bytes(32), b"x", ())
    with pytest.raises(IntegrityError, match="unknown suite 2"):
        record.open_(sealed[:2] + b"\2" + sealed[3:], Kind.SLOT, bytes(32), ())


def test_a_wrong_password_is_refused_before_anything_is_unwrapped():
    case = cases("keyring_half")[0]
    half = halves.KeyringHalf(Scope(case["scope"]), State.ACTIVE, bytes(32), b"not a record")
    who = case["tenant"], case["account"], 0, case["g"]
    with pytest.raises(Refused):
        half.unwrap(case["k_tight"], Stretched(case["tight"], case["wrap_key"]), *who)
    with pytest.raises(Refused):
        half.check_tight(case["k_tight"], case["tight"])


def test_a_release_of_another_credential_is_refused():
    case = cases("auth_half")[0]
    half = halves.AuthHalf.open(case["record"], halves.Place(case["tenant"], case["bid"], case["g"]), case["k_auth"])
    with pytest.raises(Refused):
        half.check_release(bytes(32))


@pytest.mark.parametrize("scope", [0, 64, 63 + 64])
def test_an_unknown_or_empty_scope_is_refused(scope):
    place = halves.Place(TenantId("stnet"), bytes(16), 1)
    half = halves.AuthHalf(scope, State.ACTIVE, bytes(16), StretchParameters(), bytes(32))
    with pytest.raises(IntegrityError):
        halves.AuthHalf.open(half.seal(place, 1, bytes(32)), place, bytes(32))


@pytest.mark.parametrize(
    "change",
    [(2, 9), (2, 0), (3, 3), (3, 2), (4, 255), (11, 0), (12, 0), (12, 200), (61, 9), (61, 5), (68, 0)],
)
def test_an_auth_half_of_another_layout_is_refused_though_its_seal_is_right(change):
    case = cases("auth_half")[1]
    place = halves.Place(case["tenant"], case["bid"], case["g"])
    body = bytearray(record.open_(case["record"], Kind.AUTH_HALF, case["k_auth"], place.fields()))
    at, value = change
    body[at] = value
    sealed = record.seal(Kind.AUTH_HALF, 9, case["k_auth"], body, place.fields())
    with pytest.raises(IntegrityError):
        halves.AuthHalf.open(sealed, place, case["k_auth"])


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\0",
        b"\0\1",
        b"\0\0x",
        b"\1\1" + bytes(4 * 257),
        b"\0\2\0\0\0\2\0\0\0\1ab",
        b"\0\1\0\0\0\2a",
        b"\0\1\0\0\0\1ab",
    ],
)
def test_a_page_of_another_layout_is_refused(body):
    with pytest.raises(IntegrityError):
        page.Page.decode(body)


def test_a_page_takes_256_summaries_and_not_257():
    assert len(page.Page.decode(page.Page((b"x",) * 256).encode()).entries) == 256
    with pytest.raises(ValueError):
        page.Page((b"x",) * 257)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x90\x00",
        b"\x91\xc0",
        b"\x92\x90\x00",
        b"\x91\x91\x93\xa1A\x01\xc4\x01k",
        b"\x91\x91\x93\xa1a\x00\xc4\x01k",
        b"\x91\x91\x94\xa1a\x01\xc4\x01k\x01",
        b"\x91\x92\x93\xa1a\x01\xc4\x01k\x93\xa1a\x01\xc4\x01k",
    ],
)
def test_a_key_set_of_another_layout_is_refused(body):
    fields = (b"stnet", b"auth")
    sealed = record.seal(Kind.KEY_SET, 1, bytes(32), body, fields)
    with pytest.raises(IntegrityError):
        keyfile.KeySet.open(sealed, TenantId("stnet"), "auth", bytes(32))


def test_a_key_set_gives_the_newest_version_and_refuses_what_is_gone():
    keys = keyfile.KeySet().with_key("ring", 1, b"a" * 32).with_key("ring", 2, b"b" * 32)
    assert keys.current("ring") == (2, b"b" * 32) and keys.versions("ring") == (1, 2)
    keys = keys.without("ring", 1)
    assert keys.versions("ring") == (2,)
    for lost in (lambda: keys.get("ring", 1), lambda: keys.current("index"), lambda: keys.without("ring", 1)):
        with pytest.raises(Refused):
            lost()
    with pytest.raises(ValueError):
        keys.with_key("ring", 2, b"c" * 32)


def test_nothing_printed_holds_a_secret():
    case = cases("keyring_half")[0]
    marked = b"SECRETSECRETSECRETSECRETSECRET!!"
    printed = [
        Stretched(marked, marked),
        halves.Wrapped(1, marked, marked),
        halves.KeyringHalf(Scope.IMAP, State.ACTIVE, marked, marked),
        halves.AuthHalf(Scope.IMAP, State.ACTIVE, marked, None, marked, halves.Legacy("x", marked)),
        MailboxSeed(TenantId("stnet"), AccountId(bytes(16)), 1, marked),
        mailbox.MailboxRecord(marked, marked, marked, marked),
        message.SealedParts(marked, marked, marked),
        page.Page((marked,)),
        keyfile.KeySet().with_key("ring", 1, marked),
        keyfile.NamedKey("ring", 1, marked),
        list(keyfile.NamedKey("ring", 1, marked).__rich_repr__()),
        recovery_file.RecoveryPrivateKey(TenantId("stnet"), mailbox.Holder.PARTNER, 1, private(marked)),
    ]
    for value in printed:
        assert "SECRET" not in repr(value) and marked.hex() not in repr(value), type(value)
    with pytest.raises(IntegrityError) as caught:
        record.open_(case["record"], Kind.KEYRING_HALF, marked, ())
    error = caught.value
    assert "SECRET" not in f"{error!r} {error.detail} {error.__context__!r}"


@pytest.mark.parametrize("size", [0, 16, 24, 31, 33])
def test_a_key_of_another_length_is_our_own_mistake(size):
    with pytest.raises(ValueError):
        record.seal(Kind.SLOT, 1, bytes(size), b"", ())
    with pytest.raises(ValueError):
        message.body_sealer(bytes(size), AccountId(OTHER), OTHER)


def test_a_nonce_is_never_taken_where_the_key_seals_once():
    with pytest.raises(ValueError):
        record.seal(Kind.SUMMARY, 0, bytes(32), b"", (), nonce=bytes(12))
    with pytest.raises(ValueError):
        record.seal(Kind.SLOT, 0, bytes(32), b"", (), nonce=bytes(11))


def test_two_seals_of_the_same_never_share_a_nonce():
    seals = {record.seal(Kind.SLOT, 1, bytes(32), b"x", ())[7:19] for _ in range(100)}
    assert len(seals) == 100


def test_stretching_refuses_what_is_out_of_range():
    with pytest.raises(ValueError):
        stretch(bytes(1025), bytes(16), StretchParameters())
    with pytest.raises(ValueError):
        stretch(b"x", bytes(15), StretchParameters())
    with pytest.raises(ValueError):
        stretch_app_password(bytes(15), AccountId(OTHER), 1)
    for bad in ((7, 1, 1), (1 << 21, 1, 1), (64, 0, 1), (64, 65, 1), (64, 1, 17), (64, 1, 0)):
        with pytest.raises(ValueError):
            StretchParameters(*bad)


def test_seed_goes_with_every_scope_but_submit_alone():
    who = TenantId("stnet"), AccountId(OTHER), 0, 1
    stretched = Stretched(bytes(32), bytes(32))
    for scope, secret in ((Scope.SUBMIT, bytes(32)), (Scope.IMAP, None), (Scope.IMAP | Scope.SUBMIT, None)):
        with pytest.raises(ValueError):
            halves.new_keyring_half(bytes(32), stretched, halves.Wrapped(1, bytes(32), secret), *who, scope=scope)


def test_a_public_key_of_low_order_is_refused():
    binding = mailbox.VerifiedBinding(TenantId("stnet"), AccountId(OTHER), 1, mailbox.load_public_key(bytes(32)))
    with pytest.raises(IntegrityError):
        message.seal_key_box(binding, OTHER, bytes(32))
    with pytest.raises(ValueError):
        queued.seal_queue_key_box(binding, OTHER, bytes(32))


def test_a_recovery_file_that_was_edited_is_refused():
    case = cases("recovery_file")[0]
    good, public = case["private_text"], case["public_text"]
    lines = good.splitlines(keepends=True)
    bad = [
        "",
        good[: len(good) // 2],
        good.replace("tenant: stnet", "tenant: ST"),
        good.replace("holder: partner", "holder: thief"),
        good.replace("version: 2", "version: two"),
        good.replace("MC4", "XXX"),
        "".join(lines[:1] + lines[2:]),
        good + "x" * 5000,
        public,
    ]
    for text in bad:
        with pytest.raises(ConfigError):
            recovery_file.read_recovery_private(text)
    digits = next(line for line in lines if line.startswith("public: "))
    with pytest.raises(IntegrityError):
        recovery_file.read_recovery_private(good.replace(digits, "public: " + "00" * 32 + "\n"))
    with pytest.raises(IntegrityError):
        recovery_file.read_recovery_public(public.replace(digits, "public: " + "00" * 32 + "\n"))
    with pytest.raises(ConfigError):
        recovery_file.read_recovery_public(good)
