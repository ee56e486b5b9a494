"""How the api asks other services: what the plumbing's `Service.ask` looks like to whoever is given it."""

from typing import Protocol, TypeVar

from caravan_shared.contracts import requests

R = TypeVar("R", bound=requests.Reply)


class Ask(Protocol):
    """Asks another service; raises `Retry` or `GiveUp`."""

    async def __call__(self, request: requests.Request, reply_type: type[R]) -> R:
        """Return the answer."""


class AskAll(Protocol):
    """Asks every replica that listens; raises `Retry`."""

    async def __call__(self, request: requests.Request, reply_type: type[R]) -> list[R]:
        """Return what came in time."""
