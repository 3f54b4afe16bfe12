"""The vectors of docs/credentials.md: Bulkhead gives every octet of them, and so does the second implementation."""

import hashlib
from collections import defaultdict
from types import SimpleNamespace

import pytest
from tests.credentials import second_implementation as two
from tests.credentials import write_vectors
from tests.credentials.credential_vectors import VECTORS, cases
from tests.records.legacy_vectors import VECTORS as PUBLISHED

from bulkhead.auth.known import Known
from bulkhead.auth.logins import Logins
from bulkhead.auth.rows import Keys, Rows
from bulkhead.boundary.messages.to_auth import Authenticate
from bulkhead.errors import IntegrityError
from bulkhead.imports.digest_text import parse_password
from bulkhead.keyring.cache import LoginCache
from bulkhead.records.app_password import AppPassword, AppPasswordNote, read_app_password
from bulkhead.records.credential import (
    RowKeys,
    Scope,
    State,
    StretchParameters,
    stretch_app_password,
)
from bulkhead.records.halves import AuthHalf, KeyringHalf, Legacy, Place, Wrapped, new_keyring_half, tight_tag
from bulkhead.records.keyfile import KeySet, NamedKey
from bulkhead.records.legacy import Recipe, Scheme
from bulkhead.records.legacy_digest import legacy_digest
from bulkhead.records.record import Kind, open_
from bulkhead.records.stretch import stretch

RECORDS = ("main_password", "app_password", "legacy")


def stretched_by_bulkhead(case):
    if "secret" in case:
        return stretch_app_password(case["secret"], case["account"], case["credential"])
    cost = StretchParameters(case["memory_kib"], case["passes"], case["lanes"])
    played = legacy_digest(recipe_of(case), case["password"]) if "legacy_scheme" in case else case["password"]
    return stretch(played, case["salt"], cost)


def recipe_of(case):
    return Recipe.of(Legacy(case["legacy_scheme"], case["legacy_salt"]))


def stretched_by_the_second(case):
    if "secret" in case:
        return two.stretch_app(case["secret"], case["account"], case["credential"])
    cost = case["memory_kib"], case["passes"], case["lanes"]
    if "legacy_scheme" not in case:
        return two.stretch(case["password"], case["salt"], cost)
    if case["legacy_scheme"] != "bcrypt":  # its digest comes from crypt_blowfish's own vectors
        digest = two.legacy_digest(case["legacy_scheme"], case["legacy_salt"], case["password"])
        assert digest == case["digest"]
    return two.stretch(case["digest"], case["salt"], cost)


def test_there_is_a_vector_for_each_thing_that_the_page_computes():
    assert {path.stem for path in VECTORS.glob("*.json")} == set(write_vectors.FILES)
    assert {case["legacy_scheme"] for case in cases("legacy")} == {scheme.value for scheme in Scheme}


@pytest.mark.parametrize("stem", write_vectors.FILES)
def test_the_second_implementation_gives_every_octet_of_the_vectors_again(stem):
    made = [{name: write_vectors.plain(value) for name, value in case.items()} for case in write_vectors.FILES[stem]()]
    assert made == [{name: write_vectors.plain(value) for name, value in case.items()} for case in cases(stem)]


@pytest.mark.parametrize("case", [c for stem in RECORDS for c in cases(stem)], ids=lambda case: case["note"])
def test_bulkhead_and_the_second_implementation_stretch_seal_and_open_alike(case):
    account, cred, g, tenant = case["account"], case["credential"], case["g"], case["tenant"]
    for index, bid in (("k_auth_index", "bid_auth"), ("k_ring_index", "bid_keyring")):
        assert RowKeys(case[index]).credential(account, cred) == case[bid]
    assert RowKeys(case["k_auth_index"]).mailbox(account) == case["owner"]
    assert RowKeys(case["k_ring_index"]).mailbox(account) == case["mid"]
    pair = stretched_by_bulkhead(case)
    assert (pair.tight, pair.wrap_key) == (case["tight"], case["wrap_key"]) == stretched_by_the_second(case)
    assert tight_tag(case["k_tight"], pair.tight) == case["tag"]
    wrapped = Wrapped(case["generation"], case["release"], case["seed"] or None)
    scope = Scope(case["scope"])
    half = new_keyring_half(
        case["k_tight"], pair, wrapped, tenant, account, cred, g, scope=scope, nonce=case["wrap_nonce"]
    )
    at_keyring, at_auth = Place(tenant, case["bid_keyring"], g), Place(tenant, case["bid_auth"], g)
    assert half.wrap == case["wrap"]
    record = half.seal(at_keyring, case["key_version"], case["k_ring"], nonce=case["keyring_nonce"])
    assert record == case["keyring_half"]
    opened = KeyringHalf.open(record, at_keyring, case["k_ring"])
    assert opened.unwrap(case["k_tight"], pair, tenant, account, cred, g) == wrapped
    cost = StretchParameters(case["memory_kib"], case["passes"], case["lanes"]) if case["memory_kib"] else None
    legacy = Legacy(case["legacy_scheme"], case["legacy_salt"]) if "legacy_scheme" in case else None
    own = AuthHalf(scope, State.ACTIVE, case["salt"], cost, hashlib.sha256(case["release"]).digest(), legacy)
    assert own.seal(at_auth, case["key_version"], case["k_auth"], nonce=case["auth_nonce"]) == case["auth_half"]
    assert AuthHalf.open(case["auth_half"], at_auth, case["k_auth"]) == own
    own.check_release(case["release"])


def test_the_text_of_an_app_password_and_its_note_are_those_of_the_vectors():
    for case in cases("app_password"):
        app = AppPassword(case["credential"], case["secret"])
        typed = case["text"].encode()
        assert app.text() == case["text"] and read_app_password(typed) == app
        assert two.read_app_text(typed) == two.read_app_text(typed.upper()) == (case["credential"], case["secret"])
        wrong = typed[:-1] + (b"a" if typed[-1:] != b"a" else b"b")
        assert read_app_password(wrong) is two.read_app_text(wrong) is None
        place, note = Place(case["tenant"], case["bid_auth"], 1), AppPasswordNote(case["created"], case["label"])
        assert note.seal(place, case["key_version"], case["k_auth"], nonce=case["note_nonce"]) == case["note_record"]


def test_a_cached_login_is_found_by_the_x_of_the_vectors_and_opens_to_the_same():
    for case in cases("cached_login"):
        auth = SimpleNamespace(stop=SimpleNamespace(epoch=case["epoch"]), _cache_key=case["cache_key"])
        assert Logins._x(auth, Authenticate(case["account"], case["password"], 1, "", bytes(16))) == case["x"]
        cache, wrapped = LoginCache(60.0), Wrapped(case["generation"], case["release"], case["seed"] or None)
        cache.keep(b"mid", bytes(32), case["account"], 0, case["g"], wrapped)
        kept = cache._entries[b"mid"]
        object.__setattr__(kept, "sealed", case["entry"])
        assert cache.open(b"mid", case["x"], case["account"], 0) == (case["g"], wrapped)
        assert cache.open(b"mid", bytes(32), case["account"], 0) is None
        assert cache.open(b"mid", case["x"], case["account"], 0) is None  # a wrong one ended it


def test_the_salt_of_nobody_and_the_tag_of_a_network_are_those_of_the_vectors():
    for case in cases("index_key"):
        keys = Keys.of("stnet", KeySet((NamedKey("auth", 1, bytes(32)), NamedKey("index", 1, case["k_auth_index"]))))
        rows = Rows(None, keys, StretchParameters(), None)
        assert rows.decoy(case["account"], 0).salt == case["decoy_salt"]
        assert Known(None, rows, 90)._tag(case["account"], case["network"]) == case["network_tag"]


def test_the_second_implementation_makes_the_digests_that_others_published():
    tried = defaultdict(int)
    for _, text, password in PUBLISHED:
        imported = parse_password(text, clear=False)
        legacy = imported.recipe.legacy()
        if legacy.scheme != "bcrypt":
            assert two.legacy_digest(legacy.scheme, legacy.salt, password) == imported.octets, text
            tried[legacy.scheme] += 1
    assert len(tried) >= 8


@pytest.mark.parametrize("case", cases("moved"), ids=lambda case: f"{case['kind']}-{case['changed']}")
def test_a_record_opens_in_its_own_place_and_nowhere_else(case):
    keys = dict.fromkeys((case["key_version"], case["key_version"] + 1), case["key"])
    if case["opens"]:
        plaintext = two.opened(case["record"], case["kind"], keys, *case["fields"])
        assert open_(case["record"], Kind(case["kind"]), case["key"], case["fields"]) == plaintext
        return
    with pytest.raises(two.Closed):
        two.opened(case["record"], case["kind"], keys, *case["fields"])
    with pytest.raises(IntegrityError):
        open_(case["record"], Kind(case["kind"]), case["key"], case["fields"])
