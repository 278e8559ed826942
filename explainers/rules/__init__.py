"""Rule sets of the engine, one family per module."""
