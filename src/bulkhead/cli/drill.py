"""`drill`: the drill's own modules do it."""

import argparse
import importlib


def drill(options: argparse.Namespace) -> int:
    """Measure the blast radius of every compartment."""
    return int(importlib.import_module("bulkhead.drill.run").run(options))
