"""A tenant's mail, carried away: sealed as it leaves the cell, and opened by whoever has both recovery keys.

`sealed.py` is the form on disk; `seeds.py`, `maildir.py` and `opening.py` run wherever the copy is opened, far from any
cell, and need nothing of one. No compartment imports this.
"""
