"""Turns machines into a Kubernetes cluster: playbook runs, join tokens, and who has really joined."""
