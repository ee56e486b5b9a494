"""The parts of a stack by name, in the order in which they start."""

NATS, SANDBOX, API = "nats", "sandbox", "api"
SERVICES = ("dns", "provisioner", "bootstrapper", "health", API)
PARTS = (NATS, SANDBOX, *SERVICES)


def module(part: str) -> str:
    """The module that is this part; nats-server is none of ours."""
    return f"caravan_{part}"
