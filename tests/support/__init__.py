"""Real far ends for tests, and the few helpers that many tests share."""
