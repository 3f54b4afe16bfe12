"""The digests of other servers: made as their authors published, kept with their costs, never above a cap."""

import hashlib
import string
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.records.legacy_vectors import VECTORS

from bulkhead.imports.digest_text import parse_password
from bulkhead.records.crypt import md5_crypt, sha_crypt
from bulkhead.records.halves import Legacy
from bulkhead.records.legacy import DEAREST, PBKDF2, Recipe, Scheme
from bulkhead.records.legacy_digest import legacy_digest
from bulkhead.records.legacy_text import (
    read_bcrypt64,
    read_md5_crypt64,
    read_sha256_crypt64,
    read_sha512_crypt64,
    write_bcrypt64,
)

READ = {"1": read_md5_crypt64, "5": read_sha256_crypt64, "6": read_sha512_crypt64}
SALTS = st.text(string.ascii_letters + string.digits + "./", max_size=16)


def crypt3(password: str, setting: str) -> str:
    """crypt(3) of this host, by the module that Python had until 3.12."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        crypt = pytest.importorskip("crypt", reason="this Python has no crypt")
        made = crypt.crypt(password, setting)
    if made is None:
        pytest.skip("crypt(3) of this host does not know it")
    return str(made)


@pytest.mark.parametrize(("source", "text", "password"), VECTORS)
def test_a_published_digest_is_made_again_from_its_password_and_from_no_other(
    source: str, text: str, password: bytes
) -> None:
    imported = parse_password(text, clear=False)
    assert imported.recipe is not None
    assert imported.recipe.octets == len(imported.octets)
    recipe = Recipe.of(imported.recipe.legacy())
    assert legacy_digest(recipe, password) == imported.octets
    assert legacy_digest(recipe, b"x" + password) != imported.octets


@settings(max_examples=40, deadline=None)
@given(st.text(st.characters(min_codepoint=1, max_codepoint=0x2FF), max_size=90), SALTS)
def test_md5_crypt_and_sha_crypt_are_those_of_crypt3(password: str, salt: str) -> None:
    octets = password.encode()
    for setting, made in (
        (f"$1${salt[:8]}$", md5_crypt(octets, salt[:8].encode())),
        (f"$5$rounds=1043${salt}$", sha_crypt("sha256", octets, salt.encode(), 1043)),
        (f"$6$rounds=1042${salt}$", sha_crypt("sha512", octets, salt.encode(), 1042)),
    ):
        theirs = crypt3(password, setting)
        assert READ[theirs[1]](theirs.rpartition("$")[2]) == made


@pytest.mark.parametrize(
    ("name", "scheme", "password", "salt", "rounds", "expected"),
    [  # RFC 6070 section 2, RFC 7914 section 11 (its first 32 octets)
        ("sha1", Scheme.PBKDF2_SHA1, b"password", b"salt", 4096, "4b007901b765489abead49d926f721d065a429c1"),
        ("sha256", Scheme.PBKDF2_SHA256, b"passwd", b"salt", 1,
         "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc"),
    ],
)  # fmt: skip
def test_pbkdf2_is_that_of_the_rfcs(
    name: str, scheme: Scheme, password: bytes, salt: bytes, rounds: int, expected: str
) -> None:
    assert PBKDF2[scheme] == name
    digest = bytes.fromhex(expected)
    assert legacy_digest(Recipe(scheme, salt, rounds, len(digest)), password) == digest


@pytest.mark.parametrize("recipe", DEAREST, ids=lambda recipe: recipe.scheme.value)
def test_the_dearest_recipe_fits_and_one_that_costs_more_does_not(recipe: Recipe) -> None:
    assert Recipe.of(recipe.legacy()) == recipe
    with pytest.raises(ValueError, match="can be taken"):
        Recipe(recipe.scheme, recipe.salt, recipe.cost + 1, recipe.length, recipe.kib, recipe.lanes)


@pytest.mark.parametrize(
    "legacy",
    [
        Legacy("scrypt", b"salt"),
        Legacy("plain", b""),
        Legacy("sha512-crypt", b"\0\0"),
        Legacy("sha512-crypt", (100_001).to_bytes(4, "big") + b"salt"),
        Legacy("sha512-crypt", (999).to_bytes(4, "big") + b"salt"),
        Legacy("md5-crypt", b"ninechars"),
        Legacy("bcrypt", b"$2b$13$abcdefghijklmnopqrstuu"),
        Legacy("bcrypt", b"$2b$03$abcdefghijklmnopqrstuu"),
        Legacy("bcrypt", b"$2x$05$abcdefghijklmnopqrstuu"),
        Legacy("bcrypt", b"$2b$05$abcdefghijklmnopqrstuu."),
        Legacy("pbkdf2-sha1", b"\0\0\0\0\x14salt"),
        Legacy("pbkdf2-sha1", b"\0\0\0\1\x15salt"),
        Legacy("pbkdf2-sha512", (300_001).to_bytes(4, "big") + b"\x40salt"),
        Legacy("argon2id", bytes(10) + b"saltsalt"),
        Legacy("argon2id", b"\0\1\xff\xff\0\0\0\5\x01\x20saltsalt"),
        Legacy("argon2id", b"\xff\xff\xff\xff\0\0\0\1\x01\x20saltsalt"),
    ],
)
def test_what_is_not_in_the_closed_list_or_above_a_cap_is_no_recipe(legacy: Legacy) -> None:
    with pytest.raises(ValueError):
        Recipe.of(legacy)


@given(st.binary(max_size=60), st.sampled_from(Scheme))
def test_any_octets_are_a_recipe_within_the_caps_or_none(salt: bytes, scheme: Scheme) -> None:
    try:
        recipe = Recipe.of(Legacy(scheme.value, salt))
    except ValueError:
        return
    again = recipe.legacy()
    assert Recipe.of(again) == recipe
    assert len(again.salt) <= 255


@given(st.binary(min_size=1, max_size=40))
def test_base_64_of_bcrypt_comes_back(octets: bytes) -> None:
    assert read_bcrypt64(write_bcrypt64(octets)) == octets


def test_an_unsalted_hash_is_the_hash() -> None:
    assert legacy_digest(Recipe(Scheme.SHA256, b""), b"x") == hashlib.sha256(b"x").digest()


def test_a_password_with_nul_or_none_is_answered_by_every_scheme() -> None:
    for recipe in (
        Recipe(Scheme.MD5_CRYPT, b"salt"), Recipe(Scheme.SHA256_CRYPT, b"salt", 1000),
        Recipe(Scheme.BCRYPT, bytes(16), 4), Recipe(Scheme.PBKDF2_SHA1, b"salt", 1, 20),
        Recipe(Scheme.ARGON2I, b"saltsalt", 1, 16, 8, 1), Recipe(Scheme.SHA1, b""),
    ):  # fmt: skip
        digests = {legacy_digest(recipe, password) for password in (b"", b"a\0b", b"a", b"\xff" * 1024)}
        assert len(digests) == 4
        assert {len(digest) for digest in digests} == {recipe.octets}
