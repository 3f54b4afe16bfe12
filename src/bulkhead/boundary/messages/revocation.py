"""What a revocation of a tenant's credentials names; auth and keyring are told alike."""


class RevokedKind:
    """Bits."""

    MAIN = 1
    APP = 2
    ALL = 3
