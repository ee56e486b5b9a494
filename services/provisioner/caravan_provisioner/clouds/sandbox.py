"""The sandbox cloud: machines that a separate process simulates, behind an HTTP API shaped like Nova's.

Like Nova's, its names are not unique and its create has no client token: a lost reply is `CloudUnavailable`, and only a
listing tells what was made. The client repeats nothing; whoever called comes back when it is safe.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

import aiohttp
from pydantic import BaseModel, Field, SecretStr

from caravan_provisioner.clouds.base import (
    INSTALLATION,
    Capabilities,
    CloudMachineState,
    CloudRefused,
    CloudUnavailable,
    Machine,
    MachineBatch,
    Offers,
    Owner,
    QuotaExceeded,
    UnknownMachineType,
)
from caravan_provisioner.metrics import cloud_call
from caravan_shared.contracts.facts import CloudQuota, Connection, OfferedMachineType

PAGE = 1000  # machines; what the sandbox returns at most in one page


class SandboxConfig(BaseModel):
    """How to reach a sandbox."""

    kind: Literal["sandbox"] = "sandbox"
    url: str = "http://127.0.0.1:8790"
    token: SecretStr = SecretStr("sandbox")
    timeout_s: float = Field(30, gt=0, description="Seconds for one call; longer than any listing takes.")
    pull: bool = Field(True, description="Workers join by themselves through their user-data; else Ansible joins them.")


class SandboxCloud:
    """Client of one sandbox. `calls` counts what was sent, by method and path."""

    def __init__(self, name: str, config: SandboxConfig) -> None:
        self.name, self.kind = name, str(config.kind)
        self.capabilities = Capabilities(
            user_data=True, pull=config.pull, max_batch=100, simulated=True, connection=Connection.SANDBOX
        )
        self.calls: Counter[str] = Counter()
        self._config = config
        self._session: aiohttp.ClientSession | None = None

    async def offers(self) -> Offers:
        """See `Cloud.offers`."""
        body = await self._call("GET", "/v1/cloud")
        return Offers(
            machine_types=tuple(OfferedMachineType.model_validate(offered) for offered in body["machine_types"]),
            quota=CloudQuota.model_validate(body["quota"]),
            seconds_to_boot=body["seconds_to_boot"],
        )

    async def create(self, batch: MachineBatch) -> Sequence[Machine]:
        """See `Cloud.create`."""
        asked = {
            "names": batch.names(),
            "machine_type": batch.machine_type,
            "tags": batch.owner.tags(),
            "user_data": batch.user_data,
        }
        body = await self._call("POST", "/v1/machines", json=asked)
        return [_machine(listed) for listed in body["machines"]]

    async def machines(self, installation: str) -> Sequence[Machine]:
        """See `Cloud.machines`."""
        found: list[Machine] = []
        query = {"tag": f"{INSTALLATION}={installation}", "limit": str(PAGE)}
        while True:
            body = await self._call("GET", "/v1/machines", params=query)
            found.extend(_machine(listed) for listed in body["machines"])
            if not body["next"]:
                return found
            query["after"] = body["next"]

    async def delete(self, ids: Sequence[str]) -> None:
        """See `Cloud.delete`."""
        for start in range(0, len(ids), PAGE):
            await self._call("POST", "/v1/machines/delete", json={"ids": list(ids[start : start + PAGE])})

    async def stop(self, ids: Sequence[str]) -> None:
        """See `Stoppable.stop`."""
        await self._power(ids, on=False)

    async def start(self, ids: Sequence[str]) -> None:
        """See `Stoppable.start`."""
        await self._power(ids, on=True)

    async def reboot(self, machine_id: str) -> None:
        """See `Rebootable.reboot`."""
        await self._call("POST", "/v1/machines/reboot", json={"id": machine_id})

    async def close(self) -> None:
        """See `Cloud.close`."""
        if self._session:
            await self._session.close()

    async def _power(self, ids: Sequence[str], *, on: bool) -> None:
        for start in range(0, len(ids), PAGE):
            await self._call("POST", "/v1/machines/power", json={"ids": list(ids[start : start + PAGE]), "on": on})

    async def _call(self, method: str, path: str, **request: Any) -> dict[str, Any]:
        self.calls[f"{method} {path}"] += 1
        with cloud_call(self.name, method, path):
            try:
                return await self._answer(method, path, **request)
            except (aiohttp.ClientError, TimeoutError) as error:
                raise CloudUnavailable(f"cloud {self.name!r} did not answer {method} {path}: {error!r}") from error

    async def _answer(self, method: str, path: str, **request: Any) -> dict[str, Any]:
        async with self._opened().request(method, self._config.url + path, **request) as response:
            body: dict[str, Any] = await response.json() if response.content_type == "application/json" else {}
            if response.status >= 400:
                raise self._error(response, body.get("error") or {}, request)
            return body

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None or self._session.closed:
            self._session = aiohttp.ClientSession(
                headers={"Authorization": f"Bearer {self._config.token.get_secret_value()}"},
                timeout=aiohttp.ClientTimeout(total=self._config.timeout_s),
            )
        return self._session

    def _error(self, response: aiohttp.ClientResponse, error: dict[str, Any], request: dict[str, Any]) -> Exception:
        match error.get("code"):
            case "quota_exceeded":
                return QuotaExceeded(
                    project=self.name, resource=error["resource"], need=error["need"], free=error["free"]
                )
            case "unknown_machine_type":
                return UnknownMachineType(self.name, request["json"]["machine_type"])
        said = f"{response.status} {error.get('message') or error.get('code') or response.reason}"
        if response.status >= 500 or response.status == 429:
            return CloudUnavailable(
                f"cloud {self.name!r} is in trouble: {said}", after=float(response.headers.get("Retry-After", 1))
            )
        return CloudRefused(self.name, said)


def _machine(listed: dict[str, Any]) -> Machine:
    return Machine(
        id=listed["id"],
        name=listed["name"],
        state=_state(listed),
        address=listed["address"],
        machine_type=listed["machine_type"],
        owner=Owner.of(listed["tags"]),
        created_at=datetime.fromisoformat(listed["created_at"]),
        fault=listed["fault"],
        touched_at=datetime.fromisoformat(listed["boots_at"]),
    )


def _state(listed: dict[str, Any]) -> CloudMachineState:
    state = CloudMachineState(listed["state"])
    if state is not CloudMachineState.ACTIVE or listed["deleting"] or listed["running"]:
        return state
    return CloudMachineState.BUILDING if listed["powered_on"] else CloudMachineState.STOPPED
