"""Bulkhead: a mail platform on which a breach of one compartment stays in that compartment."""

__version__ = "0.1.0"
