"""Audit: who changed what, through which door, from what to what. Written with the change, never changed itself."""
