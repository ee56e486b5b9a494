"""What every Caravan service shares: `contracts` (the language they speak) and `plumbing` (how they speak it)."""
