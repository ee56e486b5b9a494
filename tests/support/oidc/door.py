"""An api of two routes: the real `/v1/login`, and a `/v1/whoami` that takes whomever the real `Issuers` recognise.

It knows no teams and no roles: what somebody may do is another matter than who they are.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import uvicorn
from fastapi import FastAPI, Request
from tests.support.nats import accepts, free_port

from caravan_api.doors.rest import login
from caravan_api.doors.rest.problems import handle_errors
from caravan_api.errors import Unauthenticated
from caravan_api.oidc.issuers import Issuers
from caravan_api.settings import Settings
from caravan_shared.plumbing.clock import SystemClock


@contextmanager
def door(settings: Settings) -> Iterator[str]:
    """The url of such an api, which runs meanwhile."""
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(_app(settings), port=port, lifespan="off", log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not accepts(port):
        time.sleep(0.02)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join()


def _app(settings: Settings) -> FastAPI:
    app, issuers = FastAPI(), Issuers.configured(settings, SystemClock())
    app.state.api = SimpleNamespace(settings=settings)
    app.include_router(login.router)
    handle_errors(app)

    @app.get("/v1/whoami")
    async def whoami(request: Request) -> dict[str, str]:
        identity = await issuers.verify(request.headers.get("Authorization", "").removeprefix("Bearer "))
        if identity is None:
            raise Unauthenticated
        return {"user": identity.user, "team": "none", "role": "none"}

    return app
