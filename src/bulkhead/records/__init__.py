"""Record formats: every byte Bulkhead keeps at rest (docs/formats.md), bytes in and bytes out.

Pure: no I/O, no clock. Keys are arguments; so is randomness, drawn from the system only where none is given.
Imported by vault compartments (`auth`, `keyring`, `store` tools) and by gates, which seal and open messages.

    record      header, kinds, suites; AEAD records            chunks     bodies in 64 KiB chunks
    derive      fields with lengths, HKDF                      message    key box, three parts
    hpke        records sealed to a public key                 slot       message key under the account's slot key
    signed      clear records with an Ed25519 signature        page       summaries by 256
    seed        keys of a mailbox                              name       folder names and keywords
    credential  row keys, scopes, states, costs                queued     a message that waits to leave
    stretch     Argon2id, apart from the rest
    halves      the two halves of a credential                 keyfile    key set of a compartment
    mailbox     mailbox key, bindings, recovery                recovery_file  recovery keys as text

Anything that does not match raises IntegrityError; a caller's mistake raises ValueError. No message and no repr
carries a key, a password or plaintext.
"""
