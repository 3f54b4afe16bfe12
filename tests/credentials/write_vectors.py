"""Writes the vectors of docs/credentials.md, once: a file that exists is never written again.

    python -m tests.credentials.write_vectors

The second implementation makes them, every key, salt and nonce being SHAKE-256 of its name; Bulkhead must agree.
"""

import base64
import hashlib
import json
from pathlib import Path

from tests.credentials import second_implementation as two
from tests.records.record_second_reader import kdf, mac, u32

VECTORS = Path(__file__).parents[1] / "vectors" / "credentials" / "v1"
TENANT = "stnet"
COST = (19456, 2, 1)
PASSWORD = "correct horse battery staple"
KEY_VERSION = 7
LEGACY = (
    ("md5", b"salt"), ("sha1", b""), ("sha256", b"salt"), ("sha512", bytes(range(8))), ("md5-crypt", b"GgvxyNz8"),
    ("sha256-crypt", u32(5000) + b"saltstring"), ("sha512-crypt", u32(1000) + b"saltstringsaltst"),
    ("pbkdf2-sha1", u32(5000) + bytes((20,)) + b"bUnT4Pl7yFtYX0KU"), ("pbkdf2-sha256", u32(2000) + bytes((32,)) + b"s"),
    ("pbkdf2-sha512", u32(1000) + bytes((64,)) + b"salt"),
    ("argon2i", u32(64) + u32(3) + bytes((1, 32)) + b"saltsalt"),
    ("argon2id", u32(64) + u32(2) + bytes((2, 24)) + b"saltsaltsalt"),
)  # fmt: skip
BCRYPT = "$2a$05$CCCCCCCCCCCCCCCCCCCCC.VGOzA784oUp/Z0DY336zx7pLYAy0lwK"  # crypt_blowfish, wrapper.c; of "U*U*"


def fixed(label, size=32):
    return hashlib.shake_256(b"bulkhead credentials " + label.encode()).digest(size)


ACCOUNT, OTHER = fixed("account", 16), fixed("another account", 16)
KEYS = {name: fixed(name) for name in ("k_auth", "k_auth_index", "k_ring", "k_ring_index", "k_tight")}


def bcrypt_octets(text):
    alphabet = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
    usual = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    return base64.b64decode(text[-31:].translate(str.maketrans(alphabet, usual)) + "=")


def record_case(note, cred, g, scope, cost, salt, stretched, *, scheme=b"", legacy_salt=b""):
    """Everything from the stretched password on."""
    label = f"{note} {g}"
    release, seed = fixed(f"release {label}"), fixed("seed") if scope != two.SUBMIT else b""
    nonces = {name: fixed(f"{name} {label}", 12) for name in ("wrap_nonce", "keyring_nonce", "auth_nonce")}
    bids = {name: two.row_of_credential(KEYS[f"k_{name}_index"], ACCOUNT, cred) for name in ("auth", "ring")}
    (tight, wrap_key), generation = stretched, 3
    tag = mac(KEYS["k_tight"], tight)
    tenant = TENANT.encode()
    inside = two.wrap_body(generation, release, seed)
    wrap = two.seal(two.WRAP, 0, wrap_key, nonces["wrap_nonce"], inside, tenant, ACCOUNT, u32(cred), u32(g))
    body = two.keyring_body(scope, two.ACTIVE, tag, wrap)
    at = tenant, bids["ring"], u32(g)
    keyring = two.seal(two.KEYRING_HALF, KEY_VERSION, KEYS["k_ring"], nonces["keyring_nonce"], body, *at)
    body = two.auth_body(scope, two.ACTIVE, cost, salt, release, scheme, legacy_salt)
    at = tenant, bids["auth"], u32(g)
    auth = two.seal(two.AUTH_HALF, KEY_VERSION, KEYS["k_auth"], nonces["auth_nonce"], body, *at)
    kib, passes, lanes = cost or (0, 0, 0)
    return {
        "note": note, "tenant": TENANT, "account": ACCOUNT, "credential": cred, "g": g, **KEYS,
        "key_version": KEY_VERSION, "bid_auth": bids["auth"], "bid_keyring": bids["ring"],
        "owner": two.row_of_account(KEYS["k_auth_index"], ACCOUNT),
        "mid": two.row_of_account(KEYS["k_ring_index"], ACCOUNT),
        "memory_kib": kib, "passes": passes, "lanes": lanes, "salt": salt, "scope": scope, "state": two.ACTIVE,
        "tight": tight, "wrap_key": wrap_key, "tag": tag, "generation": generation, "release": release, "seed": seed,
        "release_digest": hashlib.sha256(release).digest(), **nonces, "wrap": wrap, "auth_half": auth,
        "keyring_half": keyring,
    }  # fmt: skip


def main_passwords():
    for note, g, scope, cost, password in (
        ("first password", 1, two.ALL, COST, PASSWORD),
        ("changed", 2, two.ALL, COST, "another one, with ÄÖ and 日本"),
        ("submit only", 1, two.SUBMIT, COST, PASSWORD),
        ("four lanes", 1, two.IMAP | two.POP, (64, 3, 4), PASSWORD),
    ):
        salt = fixed(f"salt {note}", 16)
        stretched = two.stretch(password.encode(), salt, cost)
        yield {"password": password.encode()} | record_case(note, 0, g, scope, cost, salt, stretched)


def app_passwords():
    for note, cred, scope in (("first", 1, two.IMAP | two.SUBMIT), ("submit only", 65535, two.SUBMIT)):
        secret = fixed(f"app secret {note}", 16)
        case = record_case(note, cred, 1, scope, None, bytes(16), two.stretch_app(secret, ACCOUNT, cred))
        nonce, body = fixed(f"note {note}", 12), two.note_body(1_790_000_000, 0, b"", b"a telephone")
        at = TENANT.encode(), case["bid_auth"], u32(1)
        made = two.seal(two.NOTE, KEY_VERSION, KEYS["k_auth"], nonce, body, *at)
        check = int.from_bytes(kdf(secret, "app-password-text", u32(cred), length=5), "big") >> 4
        more = {"check": f"{check:09x}", "text": two.app_text(secret, cred), "note_nonce": nonce, "note_record": made}
        yield {"secret": secret, "created": 1_790_000_000, "label": "a telephone"} | case | more


def cached_logins():
    for note, epoch, g, seed in (("no stop yet", 0, 1, fixed("seed")), ("after a stop", 1_790_000_000_000, 4, b"")):
        key, nonce, release = fixed("cache key"), fixed(f"cache nonce {note}", 12), fixed("release of the cached")
        x = two.cached_x(key, epoch, ACCOUNT, 0, PASSWORD.encode())
        entry = two.cached_entry(x, ACCOUNT, 0, g, nonce, 3, release, seed)
        yield {
            "note": note, "cache_key": key, "epoch": epoch, "account": ACCOUNT, "credential": 0,
            "password": PASSWORD.encode(), "g": g, "generation": 3, "release": release, "seed": seed, "nonce": nonce,
            "x": x, "entry": entry,
        }  # fmt: skip


def legacy():
    setting = BCRYPT[:-31].replace("$2a$", "$2b$").encode()
    typed = PASSWORD.encode()
    made = [(scheme, salt, typed, two.legacy_digest(scheme, salt, typed)) for scheme, salt in LEGACY]
    for scheme, salt, password, digest in (*made, ("bcrypt", setting, b"U*U*", bcrypt_octets(BCRYPT))):
        argon2_salt = fixed(f"salt {scheme}", 16)
        stretched = two.stretch(digest, argon2_salt, (64, 2, 1))
        case = record_case(
            scheme, 0, 1, two.ALL, (64, 2, 1), argon2_salt, stretched, scheme=scheme.encode(), legacy_salt=salt
        )
        yield {"password": password, "legacy_scheme": scheme, "legacy_salt": salt, "digest": digest} | case


def index_keys():
    index, network = KEYS["k_auth_index"], bytes((192, 0, 2))
    yield {
        "account": ACCOUNT, "k_auth_index": index, "decoy_salt": two.decoy_salt(index, ACCOUNT),
        "network": network, "network_tag": two.network_tag(index, ACCOUNT, network),
    }  # fmt: skip


def moved():
    """Each sealed record, where it lies, and one thing changed at a time: none of these may open."""
    main = next(iter(main_passwords()))
    app = next(iter(app_passwords()))
    tenant, account, g = TENANT.encode(), ACCOUNT, u32(1)
    other_auth = two.row_of_credential(KEYS["k_auth_index"], OTHER, 0)
    other_ring = two.row_of_credential(KEYS["k_ring_index"], OTHER, 0)
    places = (
        (two.AUTH_HALF, main["auth_half"], KEYS["k_auth"], KEY_VERSION,
         {"tenant": tenant, "bid": main["bid_auth"], "g": g}, {"bid": other_auth}),
        (two.KEYRING_HALF, main["keyring_half"], KEYS["k_ring"], KEY_VERSION,
         {"tenant": tenant, "bid": main["bid_keyring"], "g": g}, {"bid": other_ring}),
        (two.WRAP, main["wrap"], main["wrap_key"], 0,
         {"tenant": tenant, "account": account, "credential": u32(0), "g": g},
         {"account": OTHER, "credential": u32(1)}),
        (two.NOTE, app["note_record"], KEYS["k_auth"], KEY_VERSION,
         {"tenant": tenant, "bid": app["bid_auth"], "g": g}, {"bid": other_auth}),
    )  # fmt: skip
    for kind, record, key, version, fields, others in places:
        base = {"kind": kind, "key": key, "key_version": version}
        yield base | {"changed": "nothing", "opens": True, "record": record, "fields": list(fields.values())}
        for name, value in ({"tenant": b"other", "g": u32(2)} | others).items():
            changed = list((fields | {name: value}).values())
            yield base | {"changed": name, "opens": False, "record": record, "fields": changed}
        for name, at, value in (
            ("kind", 0, bytes((kind % 3 + 1,))), ("version", 1, b"\2"), ("suite", 2, b"\2"),
            ("key version", 3, u32(version + 1)), ("nonce", 7, bytes((record[7] ^ 1,))),
            ("ciphertext", 19, bytes((record[19] ^ 1,))), ("tag", len(record) - 1, bytes((record[-1] ^ 128,))),
        ):  # fmt: skip
            changed = record[:at] + value + record[at + len(value) :]
            yield base | {"changed": name, "opens": False, "record": changed, "fields": list(fields.values())}
        yield base | {
            "changed": "cut by an octet",
            "opens": False,
            "record": record[:-1],
            "fields": list(fields.values()),
        }


FILES = {
    "main_password": main_passwords, "app_password": app_passwords, "cached_login": cached_logins, "legacy": legacy,
    "index_key": index_keys, "moved": moved,
}  # fmt: skip


def plain(value):
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value


if __name__ == "__main__":
    VECTORS.mkdir(parents=True, exist_ok=True)
    for stem, make in FILES.items():
        cases = [{name: plain(value) for name, value in case.items()} for case in make()]
        path = VECTORS / f"{stem}.json"
        if not path.exists():
            path.write_text(json.dumps({"cases": cases}, indent=1) + "\n")
