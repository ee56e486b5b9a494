"""Artifact mirrors: every file a cluster's machines need, fetched or built once, checked by SHA-256, served from anywhere."""
