"""dialer: connects, and hands over the connected socket.

Duty: the only compartment with socket(). It connects where courier and resolver ask it to and reads no byte.
Privileges: TCP and UDP connections outward; no file, no listener.   Peers: courier, resolver.
Refuses: every address that is not global, unless `courier.allow_networks` names its network; other ports than
`courier.port` for courier; other servers than `resolver.nameservers` for resolver.
Standards: RFC 6890 (special-purpose addresses).   If it falls: connections to any address that the host reaches.
"""
