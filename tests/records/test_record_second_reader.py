"""docs/formats.md is enough to read every golden file."""

import hashlib
import json

from tests.records import record_second_reader as reader
from tests.records.record_vectors import cases, pattern


def place(case, owner="account"):
    return case["tenant"].encode(), case[owner], reader.u32(case["generation"])


def test_key_tree_follows_the_page():
    for case in cases("seed"):
        at = place(case)
        assert reader.kdf(case["seed"], "message", *at) == case["message_private_key"]
        assert reader.kdf(case["seed"], "slot", *at) == case["slot_key"]
        assert reader.kdf(case["seed"], "page", *at, reader.u32(case["page"])) == case["page_key"]
        assert reader.kdf(case["seed"], "metadata", *at) == case["metadata_key"]
        assert reader.kdf(case["seed"], "search", *at) == case["search_key"]
        assert reader.kdf(case["seed"], "previous-seed", *at) == case["previous_seed_key"]


def test_row_keys_and_stretching_follow_the_page():
    for case in cases("credential"):
        number = reader.u32(case["credential"])
        assert reader.mac(case["k_index"], case["account"] + number)[:16] == case["bid"]
        assert reader.mac(case["k_index"], case["account"] + b"mailbox")[:16] == case["mid"]
        cost = case["memory_kib"], case["time_cost"], case["lanes"]
        assert reader.argon2id(case["password"], case["salt"], *cost) == case["tight"] + case["wrap_key"]
        out = reader.kdf(case["app_password"], "app-password", case["account"], number, length=64)
        assert out == case["app_tight"] + case["app_wrap_key"]


def test_auth_half_follows_the_page():
    for case in cases("auth_half"):
        at = case["tenant"].encode(), case["bid"], reader.u32(case["g"])
        body = reader.open_sealed(case["record"], 1, case["key_version"], case["k_auth"], *at)
        assert reader.read_auth_half(body) == (
            case["scope"],
            case["state"],
            case["method"],
            case["memory_kib"],
            case["time_cost"],
            case["lanes"],
            case["salt"],
            hashlib.sha256(case["release"]).digest(),
            case["legacy_scheme"].encode(),
            case["legacy_salt"],
        )


def test_keyring_half_follows_the_page():
    for case in cases("keyring_half"):
        tenant, g = case["tenant"].encode(), reader.u32(case["g"])
        body = reader.open_sealed(case["record"], 2, case["key_version"], case["k_ring"], tenant, case["bid"], g)
        assert body[:3] == case["scope"].to_bytes(2, "big") + bytes((case["state"],))
        assert body[3:35] == reader.mac(case["k_tight"], case["tight"])
        at = tenant, case["account"], reader.u32(case["credential"]), g
        wrap = reader.open_sealed(body[35:], 3, 0, case["wrap_key"], *at)
        assert wrap == reader.u32(case["generation"]) + case["release"] + case["seed"]


def test_mailbox_and_recovery_follow_the_page():
    for case in cases("mailbox"):
        version = case["recovery_key_version"]
        body = reader.open_sealed(case["record"], 4, case["key_version"], case["k_ring"], *place(case, "mid"))
        share_1, share_2, by_shares, previous = reader.unlp(body)
        at = place(case)
        assert reader.open_hpke(share_1, 5, version, case["partner_private_key"], *at, b"\1") == case["share_1"]
        assert reader.open_hpke(share_2, 5, version, case["operator_private_key"], *at, b"\2") == case["share_2"]
        key = reader.kdf(case["share_1"] + case["share_2"], "recovery", *at)
        assert reader.open_sealed(by_shares, 6, 0, key, *at) == case["seed"]
        if previous:
            key = reader.kdf(case["seed"], "previous-seed", *at)
            assert reader.open_sealed(previous, 7, case["generation"], key, *at) == case["previous_seed"]
        assert bool(previous) == bool(case["previous_seed"])


def test_binding_follows_the_page():
    for case in cases("binding"):
        fields = *place(case), case["public_key"]
        reader.check_signed(case["record"], 8, case["key_version"], case["verifying_key"], *fields)


def test_recovery_order_follows_the_page():
    for case in cases("recovery_order"):
        public = reader.X25519PrivateKey.from_private_bytes(case["one_time_private_key"]).public_key()
        fields = *place(case), case["order"], public.public_bytes_raw()
        reader.check_signed(case["order_key_record"], 9, case["key_version"], case["verifying_key"], *fields)
        at = *place(case), case["order"], bytes((case["holder"],))
        share = reader.open_hpke(case["order_share_record"], 10, 0, case["one_time_private_key"], *at)
        assert share == case["share"]


def test_message_follows_the_page():
    for case in cases("message"):
        at = case["account"], case["email_id"]
        key = reader.open_hpke(
            case["key_box_record"], 16, case["generation"], case["private_key"], case["tenant"].encode(), *at
        )
        assert key == case["message_key"]
        summary = reader.open_sealed(case["summary_record"], 17, 0, reader.kdf(key, "part/summary"), *at)
        header = reader.open_sealed(case["header_record"], 18, 0, reader.kdf(key, "part/header"), *at)
        body = reader.open_body(case["body_record"], 19, reader.kdf(key, "part/body"), *at)
        assert (summary, header) == (case["summary"], case["header"])
        size = case["body_pattern_size"]
        assert body == pattern(size)
        assert len(case["body_record"]) == 7 + size + 16 * max(1, -(-size // 65536))


def test_an_app_password_follows_the_page():
    for case in cases("app_password"):
        number = int.from_bytes(case["secret"], "big") << 52 | case["credential"] << 36
        check = reader.kdf(case["secret"], "app-password-text", reader.u32(case["credential"]))
        number |= int.from_bytes(check[:5], "big") >> 4
        letters = "".join("abcdefghijklmnopqrstuvwxyz234567"[number >> shift & 31] for shift in range(175, -1, -5))
        assert "-".join(letters[at : at + 4] for at in range(0, 36, 4)).encode() == case["typed"]
        at = case["tenant"].encode(), case["bid"], reader.u32(1)
        body = reader.open_sealed(case["record"], 11, case["key_version"], case["k_auth"], *at)
        assert int.from_bytes(body[:8], "big") == case["created"]
        assert int.from_bytes(body[8:16], "big") == case["used"]
        assert body[17 : 17 + body[16]] == case["network"] and body[17 + body[16] :] == case["label"]


def test_slot_page_and_name_follow_the_page():
    for case in cases("slot"):
        at = case["account"], case["email_id"]
        key = reader.open_sealed(case["record"], 20, case["generation"], case["slot_key"], *at)
        assert key == case["message_key"]
    for case in cases("page"):
        at = case["account"], reader.u32(case["page"]), reader.u32(case["version"])
        body = reader.open_sealed(case["record"], 21, case["generation"], case["page_key"], *at)
        assert tuple(reader.read_page(body)) == case["entries"]
    for case in cases("name"):
        lookup = reader.kdf(case["metadata_key"], "name-lookup")
        tag = reader.mac(lookup, reader.lp(bytes((case["kind"],)), case["account"], case["name"]))[:16]
        assert tag == case["tag"]
        key = reader.kdf(case["metadata_key"], "name")
        opened = reader.open_sealed(case["record"], case["kind"], case["generation"], key, case["account"], tag)
        assert opened == case["name"]


def test_queued_message_follows_the_page():
    for case in cases("queued"):
        at = b"queue", case["queue_id"]
        private = case["private_key"]
        key = reader.open_hpke(case["key_box_record"], 32, case["generation"], private, case["tenant"].encode(), *at)
        assert key == case["message_key"]
        header = reader.open_sealed(case["header_record"], 33, 0, reader.kdf(key, "queue/header"), *at)
        assert header == case["header"]
        body = reader.open_body(case["body_record"], 34, reader.kdf(key, "queue/body"), *at)
        assert body == pattern(case["body_pattern_size"])


def test_key_set_follows_the_page():
    for case in cases("key_set"):
        at = case["tenant"].encode(), case["compartment"].encode()
        body = reader.open_sealed(case["record"], 48, case["root_version"], case["root_key"], *at)
        value, rest = reader.read_msgpack(body)
        assert rest == b""
        assert value == [[list(key) for key in case["keys"]]]


def test_backup_stream_follows_the_page():
    for case in cases("backup"):
        head, shares, record = reader.read_backup_lead(case["stream"])
        assert head == case["head"]
        fields = json.loads(head)
        place = [fields[name].encode() for name in ("tenant", "compartment", "backup")]
        at = [*place, hashlib.sha256(head).digest()]
        opened = [
            reader.open_hpke(share, 64, 1, case[f"{party}_private_key"], *at, bytes((holder,)))
            for holder, (party, share) in enumerate(zip(("partner", "operator"), shares, strict=True), 1)
        ]
        assert opened == [case["share_1"], case["share_2"]]
        key = reader.kdf(b"".join(opened), "backup", *at)
        files = reader.read_backup_files(reader.open_body(record, 65, key, *at))
        assert files == [
            (name, pattern(size)) for name, size in zip(case["file_names"], case["pattern_sizes"], strict=True)
        ]


def test_changed_blocks_follow_the_page():
    for case in cases("backup_changed"):
        head, shares, record = reader.read_backup_lead(case["stream"])
        fields = json.loads(head)
        assert (case["stream"][4], fields["parent"].encode()) == (2, case["parent"])
        place = [fields[name].encode() for name in ("tenant", "compartment", "backup")]
        at = [*place, hashlib.sha256(head).digest()]
        opened = [
            reader.open_hpke(share, 64, 1, case[f"{party}_private_key"], *at, bytes((holder,)))
            for holder, (party, share) in enumerate(zip(("partner", "operator"), shares, strict=True), 1)
        ]
        key = reader.kdf(b"".join(opened), "backup", *at)
        ((name, content),) = reader.read_backup_files(reader.open_body(record, 65, key, *at))
        assert name == case["file_name"]
        after = reader.put_changed_blocks(pattern(case["before_pattern_size"]), content)
        assert hashlib.sha256(after).digest() == case["sha256"]
