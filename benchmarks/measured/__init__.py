"""The measurements: each file is one, and its `measure` is one round of it."""
