"""What is sealed comes back; a login through both halves works; the package loads in both images."""

import hashlib
import subprocess
import sys

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.errors import IntegrityError, Refused
from bulkhead.identifiers import AccountId, EmailId, TenantId, new_id
from bulkhead.records import credential, halves, keyfile, mailbox, message, name, page, record, slot
from bulkhead.records.credential import Scope, State, StretchParameters
from bulkhead.records.derive import join_fields, u32
from bulkhead.records.record import Kind
from bulkhead.records.seed import MailboxSeed, new_secret
from bulkhead.records.stretch import stretch

TENANT = TenantId("stnet")
ACCOUNT = AccountId(b"a" * 16)
QUICK = StretchParameters(memory_kib=64, time_cost=1)
KEYS = st.binary(min_size=32, max_size=32)
IDS = st.binary(min_size=16, max_size=16)
NUMBERS = st.integers(0, 2**32 - 1)


@given(key=KEYS, place=st.lists(st.binary(max_size=40), max_size=5), version=NUMBERS, plain=st.binary(max_size=200))
def test_a_record_opens_with_its_own_fields(key, place, version, plain):
    sealed = record.seal(Kind.SLOT, version, key, plain, place)
    assert record.open_(sealed, Kind.SLOT, key, place) == plain
    assert record.read_header(sealed, Kind.SLOT).key_version == version
    with pytest.raises(IntegrityError):
        record.open_(sealed, Kind.SLOT, key, [*place, b""])


@given(one=st.lists(st.binary(max_size=6), max_size=4), two=st.lists(st.binary(max_size=6), max_size=4))
def test_no_two_lists_of_fields_give_the_same_bytes(one, two):
    assert (join_fields(one) == join_fields(two)) == (one == two)


@pytest.mark.parametrize("number", [-1, 2**32])
def test_a_number_outside_32_bits_is_our_own_mistake(number):
    with pytest.raises(ValueError):
        u32(number)
    with pytest.raises(ValueError):
        record.seal(Kind.SLOT, number, bytes(32), b"", ())
    with pytest.raises(ValueError):
        join_fields([bytes(65536)])


@given(
    scope=st.integers(1, 63),
    state=st.sampled_from(State),
    salt=IDS,
    release=KEYS,
    scheme=st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=20),
    legacy=st.one_of(st.none(), st.binary(max_size=255)),
    g=NUMBERS,
)
def test_an_auth_half_comes_back(scope, state, salt, release, scheme, legacy, g):
    old = None if legacy is None else halves.Legacy(scheme, legacy)
    half = halves.AuthHalf(Scope(scope), state, salt, StretchParameters(), release, old)
    place = halves.Place(TENANT, bytes(16), g)
    assert halves.AuthHalf.open(half.seal(place, 1, release), place, release) == half


@given(entries=st.lists(st.binary(max_size=50), max_size=256), number=NUMBERS, version=NUMBERS)
def test_a_page_comes_back(entries, number, version):
    sealed = page.Page(tuple(entries)).seal(bytes(32), 1, ACCOUNT, number, version)
    assert page.Page.open(bytes(32), ACCOUNT, number, version, sealed).entries == tuple(entries)


@given(text=st.text(st.characters(codec="utf-8"), min_size=1, max_size=60), kind=st.sampled_from(name.NameKind))
def test_a_name_comes_back_and_its_tag_is_always_the_same(text, kind):
    sealed = name.seal_name(bytes(32), 1, ACCOUNT, kind, text)
    assert name.open_name(bytes(32), ACCOUNT, kind, sealed) == text
    assert name.name_tag(bytes(32), ACCOUNT, kind, text) == sealed.tag


def test_a_name_of_1024_octets_is_taken_and_of_0_or_1025_is_not():
    name.name_tag(bytes(32), ACCOUNT, name.NameKind.FOLDER, "x" * 1024)
    for text in ("", "x" * 1025):
        with pytest.raises(ValueError):
            name.name_tag(bytes(32), ACCOUNT, name.NameKind.FOLDER, text)


@given(
    keys=st.dictionaries(
        st.tuples(st.from_regex(r"[a-z][a-z0-9-]{0,31}", fullmatch=True), st.integers(1, 2**32 - 1)),
        st.binary(min_size=1, max_size=64),
        max_size=20,
    )
)
def test_a_key_set_comes_back(keys):
    made = keyfile.KeySet(tuple(keyfile.NamedKey(*at, secret) for at, secret in keys.items()))
    sealed = made.seal(TENANT, "auth", 1, bytes(32))
    assert keyfile.KeySet.open(sealed, TENANT, "auth", bytes(32)) == made


def test_a_password_walks_through_both_halves_to_the_mail():
    k_index, k_tight, k_auth, k_ring = (new_secret() for _ in range(4))
    signing = Ed25519PrivateKey.generate()
    tree = MailboxSeed(TENANT, ACCOUNT, 1, new_secret())
    salt, release = new_id(), new_secret()
    place = halves.Place(TENANT, credential.RowKeys(k_index).credential(ACCOUNT, 0), 1)
    made = stretch(b"pass", salt, QUICK)
    wrapped = halves.Wrapped(1, release, tree.secret)
    ring_half = halves.new_keyring_half(k_tight, made, wrapped, TENANT, ACCOUNT, 0, 1, scope=credential.ALL_SCOPES)
    ring_row = ring_half.seal(place, 1, k_ring)
    auth_row = halves.AuthHalf(credential.ALL_SCOPES, State.ACTIVE, salt, QUICK, hashlib.sha256(release).digest()).seal(
        place, 1, k_auth
    )
    email = EmailId(new_id())
    binding = mailbox.sign_binding(tree, signing, key_version=1).verify(signing.public_key(), TENANT, ACCOUNT)
    message_key = new_secret()
    box = message.seal_key_box(binding, email, message_key)
    parts = message.seal_parts(message_key, ACCOUNT, email, b"s", b"h", b"body")

    auth_half = halves.AuthHalf.open(auth_row, place, k_auth)
    typed = stretch(b"pass", auth_half.salt, auth_half.parameters)
    opened = halves.KeyringHalf.open(ring_row, place, k_ring).unwrap(k_tight, typed, TENANT, ACCOUNT, 0, 1)
    auth_half.check_release(opened.release)
    mine = MailboxSeed(TENANT, ACCOUNT, opened.generation, opened.seed)
    key = message.open_key_box(box, mine.message_private_key(), TENANT, ACCOUNT, email)
    filed = slot.seal_slot(mine.slot_key(), 1, ACCOUNT, email, key)
    key = slot.open_slot(mine.slot_key(), ACCOUNT, email, filed)
    assert message.open_body(key, ACCOUNT, email, parts.body) == b"body"

    wrong = stretch(b"Pass", auth_half.salt, auth_half.parameters)
    with pytest.raises(Refused):
        halves.KeyringHalf.open(ring_row, place, k_ring).unwrap(k_tight, wrong, TENANT, ACCOUNT, 0, 1)


def test_two_parties_together_recover_what_one_alone_cannot():
    signing, one_time = Ed25519PrivateKey.generate(), X25519PrivateKey.generate()
    private = {holder: X25519PrivateKey.generate() for holder in mailbox.Holder}
    public = [mailbox.RecoveryKey(1, private[holder].public_key()) for holder in mailbox.Holder]
    older, tree = (MailboxSeed(TENANT, ACCOUNT, generation, new_secret()) for generation in (1, 2))
    row = mailbox.new_mailbox_record(tree, *public, previous=older)
    order_id = new_id()
    who = TENANT, ACCOUNT, 2, order_id
    signed = mailbox.sign_order_key(one_time.public_key(), signing, *who, key_version=1)
    order = mailbox.OrderKey.verify(signed, signing.public_key(), *who)
    sealed = dict(zip(mailbox.Holder, (row.share_1, row.share_2), strict=True))
    shares = []
    for holder in mailbox.Holder:
        resealed = mailbox.reseal_share(sealed[holder], holder, private[holder], order)
        shares.append(mailbox.open_resealed(resealed, holder, one_time, order))
    found = row.open_by_shares(TENANT, ACCOUNT, 2, *shares)
    assert found == tree and row.open_previous(found) == older
    with pytest.raises(IntegrityError):
        row.open_by_shares(TENANT, ACCOUNT, 2, shares[0], bytes(32))
    with pytest.raises(IntegrityError):
        mailbox.reseal_share(row.share_2, mailbox.Holder.OPERATOR, private[mailbox.Holder.PARTNER], order)
    with pytest.raises(ValueError):
        mailbox.new_mailbox_record(tree, *public, previous=tree)


def loaded(modules, *, before="pass"):
    """Top-level names in sys.modules after importing record modules in a fresh process."""
    code = f"import sys; {before}; {'; '.join(f'import bulkhead.records.{module}' for module in modules)}; "
    code += "print(*sorted({name.partition('.')[0] for name, module in sys.modules.items() if module}))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(run.stdout.split())


def test_gates_load_the_message_formats_without_libsodium_and_msgspec():
    names = loaded(("message", "queued", "slot", "page", "name", "mailbox"))
    assert not names & {"nacl", "msgspec", "ssl", "asyncio", "sqlite3"}


def test_the_vault_image_loads_every_format_with_ssl_forbidden():
    modules = (
        "credential",
        "halves",
        "keyfile",
        "mailbox",
        "message",
        "queued",
        "recovery_file",
        "slot",
        "stretch",
        "page",
        "name",
    )
    names = loaded(modules, before="sys.modules['ssl'] = None")
    assert {"nacl", "msgspec"} <= names and "dns" not in names
