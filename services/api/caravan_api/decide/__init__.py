"""What the api concludes from what it was told. Pure: no network, no clock, no store."""
