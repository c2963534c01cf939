"""Names of asyncpg's lower half that programs import: ``pgproto.UUID`` and the classes of ``types``."""
