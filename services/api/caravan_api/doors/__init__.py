"""The ways in: each reads a request in its own language and hands it to the same admission and the same `Desired`."""
