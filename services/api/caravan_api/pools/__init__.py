"""Pools keep spare clusters of one template warm; a lease hands one to somebody for a while, and then it is deleted."""
