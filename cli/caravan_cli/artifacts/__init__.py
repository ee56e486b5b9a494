"""Mirrors of every file that a cluster's machines need: fetched or built once, checked by SHA-256, used anywhere."""
