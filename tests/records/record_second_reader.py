"""A second reader of record version 1, written from docs/formats.md alone: no code of the product, primitives only."""

import hashlib
import hmac
import struct

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, AESGCMSIV
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

SUITE_OF = {1: 1, 2: 1, 3: 1, 4: 1, 5: 3, 6: 1, 7: 1, 8: 6, 9: 6, 10: 3, 11: 1, 16: 3, 17: 4, 18: 4, 19: 5, 20: 1,
            21: 2, 22: 1, 23: 1, 32: 3, 33: 4, 34: 5, 48: 1, 64: 3, 65: 5}  # fmt: skip


def u32(number):
    return number.to_bytes(4, "big")


def lp(*fields):
    return b"".join(len(field).to_bytes(2, "big") + field for field in fields)


def unlp(data):
    fields = []
    while data:
        size = int.from_bytes(data[:2], "big")
        assert len(data) >= 2 + size
        fields.append(data[2 : 2 + size])
        data = data[2 + size :]
    return fields


def kdf(secret, label, *fields, length=32):
    info = lp(b"bulkhead/v1/" + label.encode(), *fields)
    return HKDF(hashes.SHA256(), length, bytes(32), info).derive(secret)


def mac(key, data):
    return hmac.new(key, data, hashlib.sha256).digest()


def bound(record, *fields):
    return lp(record[0:1], record[1:2], record[2:3], record[3:7], *fields)


def check_header(record, kind, key_version):
    assert record[0] == kind
    assert record[1] == 1
    assert record[2] == SUITE_OF[kind]
    assert record[3:7] == u32(key_version)


def open_sealed(record, kind, key_version, key, *fields):
    check_header(record, kind, key_version)
    aad = bound(record, *fields)
    if record[2] == 1:
        return AESGCMSIV(key).decrypt(record[7:19], record[19:], aad)
    if record[2] == 2:
        return AESGCM(key).decrypt(record[7:19], record[19:], aad)
    assert record[2] == 4
    return AESGCM(key).decrypt(bytes(12), record[7:], aad)


def open_body(record, kind, key, *fields):
    check_header(record, kind, 0)
    assert record[2] == 5
    aad, rest, number, out = bound(record, *fields), record[7:], 0, b""
    while True:
        chunk, rest = rest[:65552], rest[65552:]
        nonce = number.to_bytes(11, "big") + (b"\0" if rest else b"\1")
        out += AESGCM(key).decrypt(nonce, chunk, aad)
        number += 1
        if not rest:
            return out


def check_signed(record, kind, key_version, verifying_key, *fields):
    check_header(record, kind, key_version)
    assert unlp(record[7:-64]) == list(fields)
    statement = lp(b"bulkhead/v1/signature") + bound(record, *fields)
    Ed25519PublicKey.from_public_bytes(verifying_key).verify(record[-64:], statement)


def _extract(suite_id, salt, label, ikm):
    return mac(salt or bytes(32), b"HPKE-v1" + suite_id + label + ikm)


def _expand(suite_id, prk, label, info, length):
    data, block, out, count = length.to_bytes(2, "big") + b"HPKE-v1" + suite_id + label + info, b"", b"", 1
    while len(out) < length:
        block = mac(prk, block + data + bytes((count,)))
        out, count = out + block, count + 1
    return out[:length]


def open_hpke(record, kind, key_version, private_key, *fields):
    """RFC 9180: DHKEM(X25519, HKDF-SHA256) = 0x0020, HKDF-SHA256 = 1, AES-256-GCM = 2, base mode."""
    check_header(record, kind, key_version)
    private = X25519PrivateKey.from_private_bytes(private_key)
    enc, sealed = record[7:39], record[39:]
    shared = private.exchange(X25519PublicKey.from_public_bytes(enc))
    kem = b"KEM" + b"\x00\x20"
    context = enc + private.public_key().public_bytes_raw()
    secret = _expand(kem, _extract(kem, b"", b"eae_prk", shared), b"shared_secret", context, 32)
    suite = b"HPKE" + b"\x00\x20\x00\x01\x00\x02"
    info_hash = _extract(suite, b"", b"info_hash", bound(record, *fields))
    schedule = b"\0" + _extract(suite, b"", b"psk_id_hash", b"") + info_hash
    prk = _extract(suite, secret, b"secret", b"")
    key, nonce = _expand(suite, prk, b"key", schedule, 32), _expand(suite, prk, b"base_nonce", schedule, 12)
    return AESGCM(key).decrypt(nonce, sealed, b"")


def argon2id(password, salt, memory_kib, passes, lanes):
    kdf = Argon2id(salt=salt, length=64, iterations=passes, lanes=lanes, memory_cost=memory_kib)
    return kdf.derive(password)


def read_auth_half(body):
    """(scope, state, method, memory, passes, lanes, salt, release hash, scheme, legacy salt)"""
    at = 62 + body[61]
    scheme, legacy_salt = body[62:at], body[at + 1 :]
    assert len(legacy_salt) == body[at]
    numbers = struct.unpack(">HBBIIB", body[:13])
    return (*numbers, body[13:29], body[29:61], scheme, legacy_salt)


def read_page(body):
    count = int.from_bytes(body[:2], "big")
    ends = [int.from_bytes(body[2 + 4 * i : 6 + 4 * i], "big") for i in range(count)]
    data = body[2 + 4 * count :]
    assert len(data) == (ends[-1] if ends else 0)
    return [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def read_msgpack(data):
    """(value, rest) of the MessagePack that a key set uses."""
    first = data[0]
    if first < 0x80:
        return first, data[1:]
    if first in (0xCC, 0xCD, 0xCE):
        size = 1 << (first - 0xCC)
        return int.from_bytes(data[1 : 1 + size], "big"), data[1 + size :]
    if first in (0xC4, 0xC5):
        start = 2 + (first - 0xC4)
        size = int.from_bytes(data[1:start], "big")
        return data[start : start + size], data[start + size :]
    if 0xA0 <= first < 0xC0 or first == 0xD9:
        start, size = (2, data[1]) if first == 0xD9 else (1, first & 0x1F)
        return data[start : start + size].decode(), data[start + size :]
    assert 0x90 <= first < 0xA0 or first == 0xDC
    start, count = (3, int.from_bytes(data[1:3], "big")) if first == 0xDC else (1, first & 0x0F)
    rest, out = data[start:], []
    for _ in range(count):
        item, rest = read_msgpack(rest)
        out.append(item)
    return out, rest


def read_backup_lead(stream):
    """(head, shares, record of the chunks)"""
    assert stream[:4] == b"BHBK"
    assert stream[4] in (1, 2)
    at, parts = 5, []
    for _ in range(3):
        size = int.from_bytes(stream[at : at + 2], "big")
        parts.append(stream[at + 2 : at + 2 + size])
        at += 2 + size
    return parts[0], parts[1:], stream[at:]


def put_changed_blocks(before, data):
    """The file after, from the file before."""
    block, size = int.from_bytes(data[:4], "big"), int.from_bytes(data[4:12], "big")
    whole, data = data[12:44], data[44:]
    after = bytearray(before[:size].ljust(size, b"\0"))
    while data:
        at = int.from_bytes(data[:4], "big") * block
        length = min(block, size - at)
        after[at : at + length] = data[4 : 4 + length]
        data = data[4 + length :]
    assert hashlib.sha256(after).digest() == whole
    return bytes(after)


def read_backup_files(data):
    files = []
    while size := int.from_bytes(data[:2], "big"):
        name, data = data[2 : 2 + size], data[2 + size :]
        length = int.from_bytes(data[:8], "big")
        files.append((name, data[8 : 8 + length]))
        data = data[8 + length :]
    assert data == b"\0\0"
    return files
