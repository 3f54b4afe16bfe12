"""Writes the golden files of record version 1, once: a file that exists is never written again.

    python tests/records/write_vectors.py

Keys and ids are SHAKE-256 of their name; only HPKE's encapsulated keys differ from run to run.
"""

import hashlib
import json
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from bulkhead.records import (
    access,
    app_password,
    backup,
    blocks,
    credential,
    halves,
    keyfile,
    mailbox,
    message,
    name,
    page,
    queued,
    recovery_file,
    seed,
    slot,
)
from bulkhead.records.record import Kind
from bulkhead.records.stretch import stretch

VECTORS = Path(__file__).parent.parent / "vectors" / "records" / "v1"
TENANT = "stnet"
PASSWORD = "correct horse battery staple"


def fixed(label, size=32):
    return hashlib.shake_256(b"bulkhead vector " + label.encode()).digest(size)


def pattern(size):
    """Bytes 0, 1, ... 250, 0, 1, ...: 251 does not divide a chunk."""
    return (bytes(range(251)) * (size // 251 + 1))[:size]


ACCOUNT = fixed("account", 16)
EMAIL = fixed("email", 16)
QUEUE = fixed("queue id", 16)
ORDER = fixed("order", 16)


def plain(value):
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def raw_private(key):
    return key.private_bytes_raw()


def backup_file():
    return [backup_case({"keyring.sqlite": 300, "empty": 0}), backup_case({"segments/0000000001.seg": 70_000})]


def backup_case(sizes):
    needs, notes = {"ring": (1, 2)}, {"entries": 7}
    head = backup.Head(
        TENANT, "keyring", "20261122T071500Z-0badcafe", backup.STREAM, 1795330000000, "0.1.0", needs, notes
    )
    private = [X25519PrivateKey.from_private_bytes(fixed(f"recovery {party}")) for party in ("partner", "operator")]
    keys = [mailbox.RecoveryKey(1, key.public_key()) for key in private]
    shares = fixed("backup share 1"), fixed("backup share 2")
    sealer = backup.StreamSealer(head, backup.Recipients(*keys), shares=shares)
    pieces = [sealer.begin()]
    for file, size in sizes.items():
        pieces += [*sealer.file(file, size), *sealer.update(pattern(size))]
    return {
        "tenant": TENANT,
        "compartment": "keyring",
        "head": head.encode(),
        "share_1": shares[0],
        "share_2": shares[1],
        "partner_private_key": raw_private(private[0]),
        "operator_private_key": raw_private(private[1]),
        "stream": b"".join([*pieces, *sealer.end()]),
        "file_names": [file.encode() for file in sizes],
        "pattern_sizes": list(sizes.values()),
    }


def backup_changed_file():
    """A file of 3,000 octets that became one of 2,700, of whose six blocks of 512 three changed."""
    parent = "20261122T071500Z-0badcafe"
    head = backup.Head(
        TENANT,
        "keyring",
        "20261122T072000Z-1badcafe",
        backup.STREAM,
        1795330300000,
        "0.1.0",
        {"ring": (2,)},
        {},
        parent,
    )
    after = bytearray(pattern(2700))
    after[600], after[1536:2048] = 255, bytes(512)
    lead = blocks.BlocksLead(512, len(after), hashlib.sha256(after).digest())
    content = lead.encode()
    for number in (1, 3, 5):
        content += blocks.encode_number(number) + after[number * 512 : (number + 1) * 512]
    private = [X25519PrivateKey.from_private_bytes(fixed(f"recovery {party}")) for party in ("partner", "operator")]
    keys = [mailbox.RecoveryKey(1, key.public_key()) for key in private]
    sealer = backup.StreamSealer(head, backup.Recipients(*keys), shares=(fixed("share 1"), fixed("share 2")))
    pieces = [sealer.begin(), *sealer.file("keyring.sqlite.blocks", len(content)), *sealer.update(content)]
    return [
        {
            "tenant": TENANT,
            "compartment": "keyring",
            "parent": parent.encode(),
            "head": head.encode(),
            "partner_private_key": raw_private(private[0]),
            "operator_private_key": raw_private(private[1]),
            "stream": b"".join([*pieces, *sealer.end()]),
            "file_name": b"keyring.sqlite.blocks",
            "before_pattern_size": 3000,
            "sha256": hashlib.sha256(after).digest(),
        }
    ]


def seed_file():
    tree = seed.MailboxSeed(TENANT, ACCOUNT, 3, fixed("seed 3"))
    return [
        {
            "tenant": TENANT,
            "account": ACCOUNT,
            "generation": 3,
            "seed": tree.secret,
            "message_private_key": raw_private(tree.message_private_key()),
            "message_public_key": tree.message_public_key(),
            "slot_key": tree.slot_key(),
            "page": 7,
            "page_key": tree.page_key(7),
            "metadata_key": tree.metadata_key(),
            "search_key": tree.search_key(),
            "previous_seed_key": tree.previous_seed_key(),
        }
    ]


def credential_file():
    cost = credential.StretchParameters()
    salt = fixed("salt", 16)
    out = stretch(PASSWORD.encode(), salt, cost)
    app = credential.stretch_app_password(fixed("app password", 16), ACCOUNT, 2)
    return [
        {
            "k_index": fixed("k_index"),
            "account": ACCOUNT,
            "credential": 2,
            "bid": credential.RowKeys(fixed("k_index")).credential(ACCOUNT, 2),
            "mid": credential.RowKeys(fixed("k_index")).mailbox(ACCOUNT),
            "password": PASSWORD.encode(),
            "salt": salt,
            "memory_kib": cost.memory_kib,
            "time_cost": cost.time_cost,
            "lanes": cost.lanes,
            "tight": out.tight,
            "wrap_key": out.wrap_key,
            "app_password": fixed("app password", 16),
            "app_tight": app.tight,
            "app_wrap_key": app.wrap_key,
        }
    ]


def place_of(number, g):
    return halves.Place(TENANT, credential.RowKeys(fixed("k_index")).credential(ACCOUNT, number), g)


def auth_half_file():
    release_hash = hashlib.sha256(fixed("release")).digest()
    salt = fixed("salt", 16)
    legacy = halves.Legacy("bcrypt", b"$2b$12$abcdefghijklmnopqrstuu")
    cases = [
        ("main password", 0, salt, credential.StretchParameters(), None, credential.ALL_SCOPES,
         credential.State.ACTIVE),
        ("legacy digest", 0, salt, credential.StretchParameters(8192, 3, 2), legacy, credential.Scope.POP,
         credential.State.MUST_RESET),
        ("app password", 5, bytes(16), None, None, credential.Scope.SUBMIT, credential.State.PENDING),
    ]  # fmt: skip
    out = []
    for note, number, its_salt, cost, old, scope, state in cases:
        place, nonce = place_of(number, 4), fixed("nonce auth " + note, 12)
        half = halves.AuthHalf(scope, state, its_salt, cost, release_hash, old)
        out.append(
            {
                "note": note,
                "tenant": TENANT,
                "bid": place.bid,
                "g": 4,
                "key_version": 9,
                "k_auth": fixed("k_auth"),
                "nonce": nonce,
                "scope": int(scope),
                "state": state.value,
                "salt": its_salt,
                "method": 1 if cost else 2,
                "memory_kib": cost.memory_kib if cost else 0,
                "time_cost": cost.time_cost if cost else 0,
                "lanes": cost.lanes if cost else 0,
                "release": fixed("release"),
                "legacy_scheme": old.scheme if old else "",
                "legacy_salt": old.salt if old else b"",
                "record": half.seal(place, 9, fixed("k_auth"), nonce=nonce),
            }
        )
    return out


def keyring_half_file():
    out = []
    stretched = credential.Stretched(fixed("tight"), fixed("wrap key"))
    for note, scope, secret in (
        ("main password", credential.ALL_SCOPES, fixed("seed 3")),
        ("submit only", credential.Scope.SUBMIT, None),
    ):
        place = place_of(0, 4)
        wrap_nonce, nonce = fixed("nonce wrap " + note, 12), fixed("nonce keyring " + note, 12)
        half = halves.new_keyring_half(
            fixed("k_tight"), stretched, halves.Wrapped(3, fixed("release"), secret), TENANT, ACCOUNT, 0, 4,
            scope=scope, nonce=wrap_nonce,
        )  # fmt: skip
        out.append(
            {
                "note": note,
                "tenant": TENANT,
                "account": ACCOUNT,
                "credential": 0,
                "bid": place.bid,
                "g": 4,
                "key_version": 9,
                "k_ring": fixed("k_ring"),
                "k_tight": fixed("k_tight"),
                "tight": stretched.tight,
                "wrap_key": stretched.wrap_key,
                "wrap_nonce": wrap_nonce,
                "nonce": nonce,
                "scope": int(scope),
                "state": 1,
                "generation": 3,
                "release": fixed("release"),
                "seed": secret or b"",
                "wrap_record": half.wrap,
                "record": half.seal(place, 9, fixed("k_ring"), nonce=nonce),
            }
        )
    return out


def mailbox_file():
    out = []
    keys = {
        "partner_private_key": X25519PrivateKey.from_private_bytes(fixed("recovery partner")),
        "operator_private_key": X25519PrivateKey.from_private_bytes(fixed("recovery operator")),
    }
    partner, operator = (mailbox.RecoveryKey(2, key.public_key()) for key in keys.values())
    for note, generation, before in (("first generation", 1, None), ("with previous seed", 3, 2)):
        tree = seed.MailboxSeed(TENANT, ACCOUNT, generation, fixed(f"seed {generation}"))
        previous = seed.MailboxSeed(TENANT, ACCOUNT, before, fixed(f"seed {before}")) if before else None
        shares = fixed("share 1"), fixed("share 2")
        nonces = fixed("nonce shares " + note, 12), fixed("nonce previous " + note, 12)
        record = mailbox.new_mailbox_record(tree, partner, operator, previous=previous, shares=shares, nonces=nonces)
        mid = credential.RowKeys(fixed("k_index")).mailbox(ACCOUNT)
        nonce = fixed("nonce mailbox " + note, 12)
        out.append(
            {
                "note": note,
                "tenant": TENANT,
                "account": ACCOUNT,
                "mid": mid,
                "generation": generation,
                "key_version": 9,
                "k_ring": fixed("k_ring"),
                "nonce": nonce,
                "share_1": shares[0],
                "share_2": shares[1],
                "recovery_key_version": 2,
                **{label: raw_private(key) for label, key in keys.items()},
                "seed": tree.secret,
                "previous_seed": previous.secret if previous else b"",
                "share_1_record": record.share_1,
                "share_2_record": record.share_2,
                "by_shares_nonce": nonces[0],
                "by_shares_record": record.by_shares,
                "previous_nonce": nonces[1] if previous else b"",
                "previous_record": record.previous,
                "record": record.seal(TENANT, mid, generation, 9, fixed("k_ring"), nonce=nonce),
            }
        )
    return out


def binding_file():
    signing = Ed25519PrivateKey.from_private_bytes(fixed("binding key"))
    out = []
    for note, account in (("account", ACCOUNT), ("outbound queue", mailbox.QUEUE_ACCOUNT)):
        tree = seed.MailboxSeed(TENANT, account, 3, fixed("seed 3"))
        out.append(
            {
                "note": note,
                "tenant": TENANT,
                "account": account,
                "generation": 3,
                "public_key": tree.message_public_key(),
                "key_version": 1,
                "signing_key": raw_private(signing),
                "verifying_key": signing.public_key().public_bytes_raw(),
                "record": mailbox.sign_binding(tree, signing, key_version=1).record,
            }
        )
    return out


def recovery_order_file():
    signing = Ed25519PrivateKey.from_private_bytes(fixed("binding key"))
    one_time = X25519PrivateKey.from_private_bytes(fixed("one time"))
    record = mailbox.sign_order_key(one_time.public_key(), signing, TENANT, ACCOUNT, 3, ORDER, key_version=1)
    order = mailbox.OrderKey.verify(record, signing.public_key(), TENANT, ACCOUNT, 3, ORDER)
    share_file = json.loads((VECTORS / "mailbox.json").read_text())["cases"][1]
    recovery = X25519PrivateKey.from_private_bytes(fixed("recovery partner"))
    share = bytes.fromhex(share_file["share_1_record"])
    return [
        {
            "tenant": TENANT,
            "account": ACCOUNT,
            "generation": 3,
            "order": ORDER,
            "key_version": 1,
            "verifying_key": signing.public_key().public_bytes_raw(),
            "one_time_private_key": raw_private(one_time),
            "order_key_record": record,
            "holder": 1,
            "share": fixed("share 1"),
            "order_share_record": mailbox.reseal_share(share, mailbox.Holder.PARTNER, recovery, order),
        }
    ]


def message_file():
    out = []
    tree = seed.MailboxSeed(TENANT, ACCOUNT, 3, fixed("seed 3"))
    signing = Ed25519PrivateKey.from_private_bytes(fixed("binding key"))
    binding = mailbox.sign_binding(tree, signing, key_version=1).verify(signing.public_key(), TENANT, ACCOUNT)
    for size in (0, 11, 65536, 65537):
        key = fixed(f"message key {size}")
        parts = message.seal_parts(key, ACCOUNT, EMAIL, b"(summary)", b"Subject: hi\r\n\r\n", pattern(size))
        out.append(
            {
                "tenant": TENANT,
                "account": ACCOUNT,
                "generation": 3,
                "email_id": EMAIL,
                "private_key": raw_private(tree.message_private_key()),
                "message_key": key,
                "key_box_record": message.seal_key_box(binding, EMAIL, key),
                "summary": b"(summary)",
                "summary_record": parts.summary,
                "header": b"Subject: hi\r\n\r\n",
                "header_record": parts.header,
                "body_pattern_size": size,
                "body_record": parts.body,
            }
        )
    return out


def app_password_file():
    made, place = app_password.AppPassword(2, fixed("app password", 16)), halves.Place(TENANT, fixed("bid", 16), 1)
    out = []
    for note, kept in (
        ("used", app_password.AppPasswordNote(1_780_000_000, "電話 kitchen", 1_780_003_600, "192.0.2.0/24")),
        ("never used, no label", app_password.AppPasswordNote(1_780_000_000, "")),
    ):
        k_auth, nonce = fixed("k_auth"), fixed("nonce app password " + note, 12)
        out.append(
            {
                "note": note,
                "credential": made.credential,
                "secret": made.secret,
                "typed": made.text().encode(),
                "tenant": TENANT,
                "bid": place.bid,
                "key_version": 3,
                "k_auth": k_auth,
                "nonce": nonce,
                "created": kept.created,
                "used": kept.used,
                "network": kept.network.encode(),
                "label": kept.label.encode(),
                "record": kept.seal(place, 3, k_auth, nonce=nonce),
            }
        )
    return out


def slot_file():
    tree = seed.MailboxSeed(TENANT, ACCOUNT, 3, fixed("seed 3"))
    key, nonce = fixed("message key 11"), fixed("nonce slot", 12)
    return [
        {
            "account": ACCOUNT,
            "email_id": EMAIL,
            "generation": 3,
            "slot_key": tree.slot_key(),
            "nonce": nonce,
            "message_key": key,
            "record": slot.seal_slot(tree.slot_key(), 3, ACCOUNT, EMAIL, key, nonce=nonce),
        }
    ]


def page_file():
    tree = seed.MailboxSeed(TENANT, ACCOUNT, 3, fixed("seed 3"))
    out = []
    for note, entries in (("three, one dead", (b"first", b"", b"third")), ("empty page", ())):
        nonce = fixed("nonce page " + note, 12)
        out.append(
            {
                "note": note,
                "account": ACCOUNT,
                "page": 7,
                "version": 2,
                "generation": 3,
                "page_key": tree.page_key(7),
                "nonce": nonce,
                "entries": list(entries),
                "record": page.Page(entries).seal(tree.page_key(7), 3, ACCOUNT, 7, 2, nonce=nonce),
            }
        )
    return out


def name_file():
    tree = seed.MailboxSeed(TENANT, ACCOUNT, 3, fixed("seed 3"))
    out = []
    for kind, text in ((name.NameKind.FOLDER, "下書き/2026"), (name.NameKind.KEYWORD, "$label1")):
        nonce = fixed("nonce " + text, 12)
        sealed = name.seal_name(tree.metadata_key(), 3, ACCOUNT, kind, text, nonce=nonce)
        out.append(
            {
                "kind": int(kind.value),
                "account": ACCOUNT,
                "generation": 3,
                "metadata_key": tree.metadata_key(),
                "nonce": nonce,
                "name": text.encode(),
                "tag": sealed.tag,
                "record": sealed.record,
            }
        )
    return out


def queued_file():
    tree = seed.MailboxSeed(TENANT, mailbox.QUEUE_ACCOUNT, 1, fixed("queue seed"))
    signing = Ed25519PrivateKey.from_private_bytes(fixed("binding key"))
    binding = mailbox.sign_binding(tree, signing, key_version=1)
    verified = binding.verify(signing.public_key(), TENANT, mailbox.QUEUE_ACCOUNT)
    key = fixed("queued message key")
    return [
        {
            "tenant": TENANT,
            "queue_id": QUEUE,
            "generation": 1,
            "private_key": raw_private(tree.message_private_key()),
            "message_key": key,
            "key_box_record": queued.seal_queue_key_box(verified, QUEUE, key),
            "header": b"Subject: out\r\n\r\n",
            "header_record": queued.seal_queue_header(key, QUEUE, b"Subject: out\r\n\r\n"),
            "body_pattern_size": 300,
            "body_record": b"".join(queued.seal_queue_body_pieces(key, QUEUE, [pattern(300)])),
        }
    ]


def key_set_file():
    keys = keyfile.KeySet().with_key("index", 1, fixed("k_index")).with_key("ring", 9, fixed("k_ring"))
    keys = keys.with_key("ring", 70000, fixed("k_ring later")).with_key("binding", 1, fixed("binding key"))
    nonce = fixed("nonce key set", 12)
    return [
        {
            "tenant": TENANT,
            "compartment": "keyring",
            "root_version": 1,
            "root_key": fixed("root key"),
            "nonce": nonce,
            "keys": [[key.name, key.version, key.secret] for key in keys.keys],
            "record": keys.seal(TENANT, "keyring", 1, fixed("root key"), nonce=nonce),
        }
    ]


def recovery_file_file():
    private = X25519PrivateKey.from_private_bytes(fixed("recovery partner"))
    key = recovery_file.RecoveryPrivateKey(TENANT, mailbox.Holder.PARTNER, 2, private)
    return [
        {
            "tenant": TENANT,
            "holder": "partner",
            "version": 2,
            "private_key": raw_private(private),
            "private_text": recovery_file.write_recovery_private(key),
            "public_text": recovery_file.write_recovery_public(TENANT, mailbox.Holder.PARTNER, key.public()),
        }
    ]


def access_file():
    rows = [
        access.Access(1_800_000_000_000, access.Act.LOGIN, 0, 3, 1, ACCOUNT, access.source_octets("192.0.2.7")),
        access.Access(1_800_000_000_005, access.Act.LOGIN, 1, 2, 4, ACCOUNT, access.source_octets("2001:db8::1")),
        access.Access(1_800_000_000_003, access.Act.QUEUED, 0, 2, 7),
    ]
    key, by, nonce = fixed("access day key"), fixed("access key"), fixed("nonce access", 12)
    place = access.Place(TENANT, "auth", 20833, 2)
    head, record = place.seal(key, access.Block.of(rows), nonce=nonce)
    return [
        {
            "note": "three records, one without account and source",
            "tenant": TENANT,
            "day": place.day,
            "block": place.number,
            "key": key,
            "by": by,
            "nonce": nonce,
            "rows": [row.pack() for row in rows],
            "head": head,
            "record": record,
            "day_key": access.seal_day_key(key, 1, by, TENANT, "auth", place.day, nonce=nonce),
        }
    ]


FILES = {
    "seed": seed_file,
    "credential": credential_file,
    "auth_half": auth_half_file,
    "keyring_half": keyring_half_file,
    "mailbox": mailbox_file,
    "binding": binding_file,
    "recovery_order": recovery_order_file,
    "message": message_file,
    "app_password": app_password_file,
    "slot": slot_file,
    "page": page_file,
    "name": name_file,
    "queued": queued_file,
    "key_set": key_set_file,
    "backup": backup_file,
    "backup_changed": backup_changed_file,
    "recovery_file": recovery_file_file,
    "access": access_file,
}


def main():
    assert len({kind.value for kind in Kind}) == len(Kind)
    VECTORS.mkdir(parents=True, exist_ok=True)
    for stem, make in FILES.items():
        path = VECTORS / f"{stem}.json"
        if not path.exists():
            path.write_text(json.dumps({"cases": plain(make())}, indent=1) + "\n")
            print("wrote", path.name)


if __name__ == "__main__":
    main()
