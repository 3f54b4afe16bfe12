"""The golden files open for ever, and what is not random is made again to the byte."""

import hashlib
import os

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from tests.records.record_vectors import VECTORS, cases, pattern

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
from bulkhead.records.record import SUITES, Kind, Suite
from bulkhead.records.stretch import stretch


def tree_of(case):
    return seed.MailboxSeed(case["tenant"], case["account"], case["generation"], case["seed"])


def test_every_kind_has_a_suite_and_every_file_a_test():
    assert set(SUITES) == set(Kind)
    assert all(suite in Suite for suites in SUITES.values() for suite in suites)
    known = {"seed", "credential", "auth_half", "keyring_half", "mailbox", "binding", "recovery_order", "message",
             "slot", "page", "name", "queued", "key_set", "recovery_file", "backup",
             "backup_changed",
             "app_password", "access"}  # fmt: skip
    assert {path.stem for path in VECTORS.glob("*.json")} == known


def test_every_kind_and_suite_has_its_row_in_the_page():
    text = (VECTORS.parents[3] / "docs" / "formats.md").read_text()
    rows = {tuple(cell.strip() for cell in line.split("|")[1:4]) for line in text.splitlines() if line[:1] == "|"}
    for kind in Kind:
        words = kind.name.lower().replace("_", " ")
        assert (str(int(kind)), words, str(int(SUITES[kind][0]))) in rows, kind.name
    assert {str(int(suite)) for suite in Suite} <= {row[0] for row in rows}


def test_seed_vectors():
    for case in cases("seed"):
        tree = tree_of(case)
        assert tree.message_private_key().private_bytes_raw() == case["message_private_key"]
        assert tree.message_public_key() == case["message_public_key"]
        assert tree.slot_key() == case["slot_key"]
        assert tree.page_key(case["page"]) == case["page_key"]
        assert tree.metadata_key() == case["metadata_key"]
        assert tree.search_key() == case["search_key"]
        assert tree.previous_seed_key() == case["previous_seed_key"]


def test_a_password_is_stretched_in_several_lanes_as_the_reference_implementation_does_it():
    out = stretch(b"password", bytes(range(16)), credential.StretchParameters(64, 3, 4))
    assert (out.tight + out.wrap_key).hex() == (
        "bc06cbfc26b2ad9f7775876e6fb1124991b3ed31bf1658a17f4e19b80144a72a"
        "d44764ca1bd7fb9e884688628f12b9bcd35432959631781f3b1bd98c85b31f25"
    )


def test_credential_vectors():
    for case in cases("credential"):
        account, number = case["account"], case["credential"]
        assert credential.RowKeys(case["k_index"]).credential(account, number) == case["bid"]
        assert credential.RowKeys(case["k_index"]).mailbox(account) == case["mid"]
        cost = credential.StretchParameters(case["memory_kib"], case["time_cost"], case["lanes"])
        out = stretch(case["password"], case["salt"], cost)
        assert (out.tight, out.wrap_key) == (case["tight"], case["wrap_key"])
        app = credential.stretch_app_password(case["app_password"], account, number)
        assert (app.tight, app.wrap_key) == (case["app_tight"], case["app_wrap_key"])


@pytest.mark.parametrize("case", cases("auth_half"), ids=lambda case: case["note"])
def test_auth_half_vectors(case):
    place = halves.Place(case["tenant"], case["bid"], case["g"])
    half = halves.AuthHalf.open(case["record"], place, case["k_auth"])
    assert half.scope == case["scope"] and half.state.value == case["state"] and half.salt == case["salt"]
    assert half.release_hash == hashlib.sha256(case["release"]).digest()
    half.check_release(case["release"])
    costs = half.parameters and (half.parameters.memory_kib, half.parameters.time_cost, half.parameters.lanes)
    assert costs == ((case["memory_kib"], case["time_cost"], case["lanes"]) if case["method"] == 1 else None)
    legacy = half.legacy and (half.legacy.scheme, half.legacy.salt)
    assert legacy == ((case["legacy_scheme"], case["legacy_salt"]) if case["legacy_scheme"] else None)
    assert half.seal(place, case["key_version"], case["k_auth"], nonce=case["nonce"]) == case["record"]


@pytest.mark.parametrize("case", cases("keyring_half"), ids=lambda case: case["note"])
def test_keyring_half_vectors(case):
    place = halves.Place(case["tenant"], case["bid"], case["g"])
    half = halves.KeyringHalf.open(case["record"], place, case["k_ring"])
    assert half.scope == case["scope"] and half.state.value == case["state"] and half.wrap == case["wrap_record"]
    stretched = credential.Stretched(case["tight"], case["wrap_key"])
    who = case["tenant"], case["account"], case["credential"], case["g"]
    wrapped = half.unwrap(case["k_tight"], stretched, *who)
    assert wrapped == halves.Wrapped(case["generation"], case["release"], case["seed"] or None)
    again = halves.new_keyring_half(
        case["k_tight"], stretched, wrapped, *who, scope=half.scope, nonce=case["wrap_nonce"]
    )
    assert again.seal(place, case["key_version"], case["k_ring"], nonce=case["nonce"]) == case["record"]


@pytest.mark.parametrize("case", cases("mailbox"), ids=lambda case: case["note"])
def test_mailbox_vectors(case):
    at = case["tenant"], case["mid"], case["generation"]
    record = mailbox.MailboxRecord.open(case["record"], *at, case["k_ring"])
    who = case["tenant"], case["account"], case["generation"]
    for holder, label, share, sealed in (
        (mailbox.Holder.PARTNER, "partner_private_key", "share_1", record.share_1),
        (mailbox.Holder.OPERATOR, "operator_private_key", "share_2", record.share_2),
    ):
        private = X25519PrivateKey.from_private_bytes(case[label])
        assert mailbox.open_share(sealed, holder, private, *who) == case[share]
    tree = record.open_by_shares(*who, case["share_1"], case["share_2"])
    assert tree == tree_of(case)
    previous = record.open_previous(tree)
    assert (previous.secret if previous else b"") == case["previous_seed"]
    assert record.seal(*at, case["key_version"], case["k_ring"], nonce=case["nonce"]) == case["record"]


@pytest.mark.parametrize("case", cases("binding"), ids=lambda case: case["note"])
def test_binding_vectors(case):
    pinned = Ed25519PublicKey.from_public_bytes(case["verifying_key"])
    binding = mailbox.Binding(case["record"])
    assert binding.key_version == case["key_version"]
    verified = binding.verify(pinned, case["tenant"], case["account"])
    assert verified.generation == case["generation"]
    assert verified.public_key.public_bytes_raw() == case["public_key"]
    signing = Ed25519PrivateKey.from_private_bytes(case["signing_key"])
    (tree,) = cases("seed")
    mine = seed.MailboxSeed(case["tenant"], case["account"], case["generation"], tree["seed"])
    assert mailbox.sign_binding(mine, signing, key_version=case["key_version"]) == binding


def test_recovery_order_vectors():
    for case in cases("recovery_order"):
        pinned = Ed25519PublicKey.from_public_bytes(case["verifying_key"])
        who = case["tenant"], case["account"], case["generation"], case["order"]
        order = mailbox.OrderKey.verify(case["order_key_record"], pinned, *who)
        one_time = X25519PrivateKey.from_private_bytes(case["one_time_private_key"])
        holder = mailbox.Holder(case["holder"])
        assert mailbox.open_resealed(case["order_share_record"], holder, one_time, order) == case["share"]


@pytest.mark.parametrize("case", cases("message"), ids=lambda case: str(case["body_pattern_size"]))
def test_message_vectors(case):
    private = X25519PrivateKey.from_private_bytes(case["private_key"])
    at = case["account"], case["email_id"]
    key = message.open_key_box(case["key_box_record"], private, case["tenant"], *at)
    assert key == case["message_key"]
    assert message.open_summary(key, *at, case["summary_record"]) == case["summary"]
    assert message.open_header(key, *at, case["header_record"]) == case["header"]
    body = pattern(case["body_pattern_size"])
    assert message.open_body(key, *at, case["body_record"]) == body
    parts = message.seal_parts(key, *at, case["summary"], case["header"], body)
    assert (parts.summary, parts.header) == (case["summary_record"], case["header_record"])
    assert parts.body == case["body_record"]


def test_app_password_vectors():
    for case in cases("app_password"):
        made = app_password.AppPassword(case["credential"], case["secret"])
        assert made.text().encode() == case["typed"]
        for typed in (case["typed"], case["typed"].upper(), case["typed"].replace(b"-", b""), b" " + case["typed"]):
            assert app_password.read_app_password(typed) == made
        place = halves.Place(case["tenant"], case["bid"], 1)
        noted = app_password.AppPasswordNote.open(case["record"], place, case["k_auth"])
        found = noted.created, noted.used, noted.network.encode(), noted.label.encode()
        assert found == (case["created"], case["used"], case["network"], case["label"])
        assert noted.seal(place, case["key_version"], case["k_auth"], nonce=case["nonce"]) == case["record"]


def test_a_text_with_any_other_letter_is_no_app_password():
    typed = cases("app_password")[0]["typed"]
    for at in range(len(typed)):
        for letter in b"a2z1 -":
            other = typed[:at] + bytes((letter,)) + typed[at + 1 :]
            assert other == typed or app_password.read_app_password(other) is None or letter in b" -"
    for other in (b"", typed[:-1], typed + b"a", typed[5:] + typed[:5], b"correct horse battery staple tomorrow"):
        assert app_password.read_app_password(other) is None


def test_slot_page_and_name_vectors():
    for case in cases("slot"):
        at = case["account"], case["email_id"]
        key = slot.open_slot(case["slot_key"], *at, case["record"])
        assert key == case["message_key"]
        again = slot.seal_slot(case["slot_key"], case["generation"], *at, key, nonce=case["nonce"])
        assert again == case["record"] and len(again) == slot.SLOT_BYTES
    for case in cases("page"):
        at = case["account"], case["page"], case["version"]
        opened = page.Page.open(case["page_key"], *at, case["record"])
        assert opened.entries == case["entries"]
        assert opened.seal(case["page_key"], case["generation"], *at, nonce=case["nonce"]) == case["record"]
    for case in cases("name"):
        kind = name.NameKind(Kind(case["kind"]))
        sealed = name.SealedName(case["tag"], case["record"])
        text = name.open_name(case["metadata_key"], case["account"], kind, sealed)
        assert text.encode() == case["name"]
        who = case["metadata_key"], case["generation"], case["account"]
        assert name.seal_name(*who, kind, text, nonce=case["nonce"]) == sealed


def test_queued_vectors():
    for case in cases("queued"):
        private = X25519PrivateKey.from_private_bytes(case["private_key"])
        key = queued.open_queue_key_box(case["key_box_record"], private, case["tenant"], case["queue_id"])
        assert key == case["message_key"]
        assert queued.open_queue_header(key, case["queue_id"], case["header_record"]) == case["header"]
        body = b"".join(queued.open_queue_body_pieces(key, case["queue_id"], [case["body_record"]]))
        assert body == pattern(case["body_pattern_size"])
        assert queued.seal_queue_header(key, case["queue_id"], case["header"]) == case["header_record"]
        assert b"".join(queued.seal_queue_body_pieces(key, case["queue_id"], [body])) == case["body_record"]


def test_key_set_vectors():
    for case in cases("key_set"):
        keys = keyfile.KeySet.open(case["record"], case["tenant"], case["compartment"], case["root_key"])
        assert [(key.name, key.version, key.secret) for key in keys.keys] == case["keys"]
        at = case["tenant"], case["compartment"], case["root_version"]
        assert keys.seal(*at, case["root_key"], nonce=case["nonce"]) == case["record"]


def test_recovery_file_vectors():
    for case in cases("recovery_file"):
        key = recovery_file.read_recovery_private(case["private_text"])
        assert (key.tenant, key.holder.name.lower(), key.version) == (case["tenant"], case["holder"], case["version"])
        assert key.private_key.private_bytes_raw() == case["private_key"]
        assert recovery_file.write_recovery_private(key) == case["private_text"]
        tenant, holder, public = recovery_file.read_recovery_public(case["public_text"])
        assert (tenant, holder) == (key.tenant, key.holder)
        assert public.public_key.public_bytes_raw() == key.public().public_key.public_bytes_raw()


def test_backup_vectors():
    for case in cases("backup"):
        lead = backup.read_lead(case["stream"])
        assert lead.head.encode() == case["head"]
        private = [X25519PrivateKey.from_private_bytes(case[f"{p}_private_key"]) for p in ("partner", "operator")]
        found = {}
        for file, size, piece in backup.StreamOpener(lead, backup.PrivateKeys(*private)).files(
            [case["stream"][lead.length :]]
        ):
            found[file.encode()] = found.get(file.encode(), b"") + piece
            assert size in case["pattern_sizes"]
        assert found == {
            file: pattern(size) for file, size in zip(case["file_names"], case["pattern_sizes"], strict=True)
        }


def test_changed_block_vectors(tmp_path):
    for case in cases("backup_changed"):
        lead = backup.read_lead(case["stream"])
        assert (lead.head.encode(), lead.head.version, lead.head.parent) == (case["head"], 2, case["parent"].decode())
        private = [X25519PrivateKey.from_private_bytes(case[f"{p}_private_key"]) for p in ("partner", "operator")]
        files = backup.StreamOpener(lead, backup.PrivateKeys(*private)).files([case["stream"][lead.length :]])
        content = b"".join(piece for name, _, piece in files if name.encode() == case["file_name"])
        (tmp_path / "file").write_bytes(pattern(case["before_pattern_size"]))
        descriptor = os.open(tmp_path / "file", os.O_RDWR)
        try:
            writer = blocks.BlocksWriter(descriptor)
            for octet in content[:100]:
                writer.update(bytes((octet,)))
            writer.update(content[100:])
            blocks.require_whole(descriptor, writer.finish())
        finally:
            os.close(descriptor)
        assert hashlib.sha256((tmp_path / "file").read_bytes()).digest() == case["sha256"]


def test_access_vectors():
    for case in cases("access"):
        key = access.open_day_key(case["day_key"], case["by"], case["tenant"], "auth", case["day"])
        assert key == case["key"]
        place = access.Place(case["tenant"], "auth", case["day"], case["block"])
        opener = access.DayOpener(case["tenant"], "auth", case["day"], key)
        block = opener.open(case["block"], case["head"], case["record"])
        rows = [bytes.fromhex(row) for row in case["rows"]]
        assert [block.row(index) for index in range(block.count)] == rows
        again = access.Block.of(list(access.unpack_rows(b"".join(rows))))
        assert place.seal(key, again, nonce=case["nonce"]) == (case["head"], case["record"])
