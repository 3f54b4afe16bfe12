"""One act on a token: `python -I -m bulkhead.custody.loader`, its order as one line of JSON on standard input.

    {"act": "wrap", "module": PATH, "token": LABEL, "pin_file": PATH, "label": LABEL, "content": HEX}   HEX, wrapped
    {"act": "unwrap", ...}                                                                              HEX
    {"act": "destroy", ...}                                                                             empty

wrap makes the key of that label: AES-256, kept by the token, sensitive, not extractable, for encryption alone.
Where one was left by a wrap that was cut short, it is destroyed first. The wrapped form is 12 octets of nonce and what
AES-GCM makes, bound to the label. Exits with 0, or with 1 and a reason on standard error, which never holds a secret.
"""

import importlib
import json
import secrets
import sys
from pathlib import Path
from typing import Any

ORDER_MAX = 16_384  # octets
NONCE_BYTES = 12


def main() -> int:
    """Do what the order says."""
    order = json.loads(sys.stdin.read(ORDER_MAX))
    try:
        pkcs11 = importlib.import_module("pkcs11")  # no part of set-up: who has no token does without it
    except ImportError:
        return _fail("python-pkcs11 is not installed; see docs/dependencies.md")
    try:
        pin = Path(order["pin_file"]).read_text(encoding="utf-8").strip()
    except OSError as error:
        return _fail(f"{order['pin_file']}: {error.strerror}")
    try:
        token = pkcs11.lib(order["module"]).get_token(token_label=order["token"])
        with token.open(rw=order["act"] != "unwrap", user_pin=pin) as session:
            print(_act(pkcs11, session, order))
    except (pkcs11.PKCS11Error, RuntimeError) as error:
        return _fail(f"the token did not do it: {type(error).__name__} {error}".strip())
    return 0


def _act(pkcs11: Any, session: Any, order: dict[str, str]) -> str:
    label, content = order["label"], bytes.fromhex(order["content"])
    sought = {pkcs11.Attribute.LABEL: label, pkcs11.Attribute.CLASS: pkcs11.ObjectClass.SECRET_KEY}
    found = list(session.get_objects(sought))
    if order["act"] == "unwrap":
        if len(found) != 1:
            raise RuntimeError(f"it has {len(found)} keys named {label}")
        nonce, sealed = content[:NONCE_BYTES], content[NONCE_BYTES:]
        parameter = pkcs11.GCMParams(nonce, label.encode())
        return bytes(found[0].decrypt(sealed, mechanism=pkcs11.Mechanism.AES_GCM, mechanism_param=parameter)).hex()
    for key in found:
        key.destroy()
    if order["act"] == "destroy":
        return ""
    key = session.generate_key(
        pkcs11.KeyType.AES, 256, label=label, store=True,
        capabilities=pkcs11.MechanismFlag.ENCRYPT | pkcs11.MechanismFlag.DECRYPT,
        template={
            pkcs11.Attribute.SENSITIVE: True, pkcs11.Attribute.EXTRACTABLE: False, pkcs11.Attribute.PRIVATE: True,
        },
    )  # fmt: skip
    if not key[pkcs11.Attribute.NEVER_EXTRACTABLE]:
        key.destroy()
        raise RuntimeError("it made a key that could be taken out")
    nonce = secrets.token_bytes(NONCE_BYTES)
    parameter = pkcs11.GCMParams(nonce, label.encode())
    sealed = key.encrypt(content, mechanism=pkcs11.Mechanism.AES_GCM, mechanism_param=parameter)
    return bytes(nonce + sealed).hex()


def _fail(reason: str) -> int:
    print(reason, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
