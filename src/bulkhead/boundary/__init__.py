"""START HERE. Which processes exist, who may say what to whom, and how it crosses.

processes.py   PROCESSES: every compartment, its image, duty, reach and what it holds
peers.py       PEERS: the one list of edges, and the messages each may carry
messages/      the messages, one module (or package) per receiver
codec.py       frames and strict decoding: unknown, oversized or leftover bytes end the edge
edge.py        one side of an edge; asking.py its calls, serving.py the peer's, sending.py frames and bodies out
exchange.py    all edges of one process: generations, handlers, quotas
"""
