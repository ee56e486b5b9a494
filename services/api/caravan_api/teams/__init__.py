"""Teams: who belongs to them, and how much they may have."""
