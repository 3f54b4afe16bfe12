"""Octets of messages in memory in one front process: a bound, so that many large ones at once cannot exhaust it."""


class Budget:
    """What is left of a number of octets; a gate that is out of it asks to be tried again."""

    def __init__(self, octets: int) -> None:
        self._left = octets

    def has(self, octets: int) -> bool:
        """Whether there is room now; it is not kept."""
        return octets <= self._left

    def take(self, octets: int) -> bool:
        """Whether there was room."""
        if octets > self._left:
            return False
        self._left -= octets
        return True

    def give(self, octets: int) -> None:
        """They are free again."""
        self._left += octets
