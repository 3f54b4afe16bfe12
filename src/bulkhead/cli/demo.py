"""`demo` and `demo breach`: the demonstration's own modules do them."""

import argparse
import importlib


def demo(options: argparse.Namespace) -> int:
    """Run the six tenants."""
    return int(importlib.import_module("bulkhead.demo.run").run(options))


def breach(options: argparse.Namespace) -> int:
    """Break into one of them."""
    return int(importlib.import_module("bulkhead.demo.breach").run(options))
