"""custody: root keys in a token (PKCS#11), reached by a process that lives for one act.

duty        wrap a new root key under a key that never leaves the token; unwrap it at a start; destroy that key
privileges  of whoever runs the cell: it is no compartment, has no edge, and is executed afresh for each act
why         the token's library is a large foreign shared object: it is mapped neither into the supervisor nor into
            auth or keyring, which get 32 bytes by descriptor whatever the custody (docs/decisions/0009)
falls       what the library can do while it runs: the root keys of the tenants it is asked for

    loader.py   START HERE: one act, from an order on standard input
"""
