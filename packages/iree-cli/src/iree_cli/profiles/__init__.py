"""``iree profile``: what was measured, what would be possible, and how that is shown."""
