"""Every message that may cross between compartments: one module per receiver, `to_<receiver>.py`.

A message is a frozen array with an explicit tag number. Tags are never reused; fields are only added at the end,
with defaults. `docs/messages.md` has a row for each; a test fails on a message without sender, handler or row.
"""
