"""ledger: the tenant's append-only, tamper-evident log of security events.

Duty        keep events in order; sign what is there; prove that nothing was changed or taken away.
Privileges  no network; its own directory and nothing else; the log's Ed25519 signing key.
Holds       events that name accounts by HMAC, never by address.
Standards   RFC 9162 section 2 (Merkle trees), C2SP tlog-tiles, signed-note, tlog-checkpoint, tlog-cosignature.
If it is compromised  it can withhold new events and sign a second history. The partner's own copy and cosignatures
            show the second history at the next check; no address, verifier, key of another compartment or mail is here.

merkle, tiles, note, event and journal are PURE. files and log are storage. export and verify carry the log to the
partner and check it there; sessions says who of the staff reads it by the console. See docs/ledger.md.
"""
