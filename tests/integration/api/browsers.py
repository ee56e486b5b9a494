"""Browsers at the web door, as far as they are needed: their cookies, and what they say of where they are."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from tests.integration.api.conftest import ADMIN, Stack

OWN_PAGE = {"Sec-Fetch-Site": "same-origin"}


@asynccontextmanager
async def browser(stack: Stack, token: str | None = ADMIN) -> AsyncIterator[httpx.AsyncClient]:
    """A browser, logged in with that token."""
    async with stack.client(None) as client:
        if token:
            answer = await client.post("/login", data={"token": token}, headers=OWN_PAGE)
            assert answer.status_code == 303, answer.text
        yield client
