"""Library of the front compartments.

serve.py      accepts, counts, idles out; a Connection is read and written by one session coroutine
tls.py        the gate's own certificate, loaded from its own directory, reloaded without restart
login.py      directory, auth, keyring: from a login name to a session handle
delivery.py   summarise, seal and hand to store, for every local recipient in one transaction
"""
