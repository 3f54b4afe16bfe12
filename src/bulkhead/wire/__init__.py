"""PURE: bytes in, events out. One module per standard; nothing here imports a socket, a loop or a clock."""
