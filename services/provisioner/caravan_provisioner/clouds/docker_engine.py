"""The one place that talks to a Docker engine: each question is one call, counted, its errors put into a cloud's words.

Errors:

    CloudUnavailable   nobody answered, or the engine is in trouble (5xx)
    EngineRefused      the engine said no: `status` and `message` are its own, 404 where it has no such thing
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import aiohttp
from aiodocker import Docker
from aiodocker.exceptions import DockerError

from caravan_provisioner.clouds.base import INSTALLATION, CloudRefused, CloudUnavailable
from caravan_provisioner.metrics import cloud_call

NOT_FOUND, CONFLICT = 404, 409
_SHUTS_DOWN_WITHIN_S = 30  # a node's systemd ends its containers first
_CUT_OFF_AFTER_S = 2  # who is restarted has not been heard of for minutes
_NO_CONNECTION = 900  # what aiodocker calls it
_RUNTIME = "OCI runtime"  # below the engine: it answers 500 there although asking again is no use
_CAPABILITIES = "unable to apply caps"


class EngineRefused(CloudRefused):
    """The engine said no."""

    def __init__(self, cloud: str, status: int, message: str) -> None:
        super().__init__(cloud, message)
        self.status, self.message = status, message

    @property
    def for_capabilities(self) -> bool:
        """The engine itself lacks a capability that the container was to have."""
        return _CAPABILITIES in self.message


class Engine:
    """A Docker engine at `url`. `calls` counts what was sent, by method and path."""

    def __init__(self, cloud: str, url: str, timeout_s: float) -> None:
        self.calls: Counter[str] = Counter()
        self._cloud, self._url, self._timeout_s = cloud, url, timeout_s
        self._docker: Docker | None = None

    async def info(self) -> Mapping[str, Any]:
        """What the engine is and can do."""
        with self._asking("GET", "/info"):
            info: Mapping[str, Any] = await self._opened().system.info()
            return info

    async def require_image(self, name: str) -> None:
        """EngineRefused where the engine has no image of this name."""
        with self._asking("GET", "/images/{name}"):
            await self._opened().images.inspect(name)

    async def containers(self, installation: str | None = None) -> list[Mapping[str, Any]]:
        """Machines' containers in any state, of one installation or of all."""
        label = INSTALLATION if installation is None else f"{INSTALLATION}={installation}"
        with self._asking("GET", "/containers"):
            found = await self._opened().containers.list(all=True, filters=json.dumps({"label": [label]}))
            return [container._container for container in found]

    async def create_container(self, name: str, config: Mapping[str, Any]) -> str:
        """Its id. It isn't started."""
        with self._asking("POST", "/containers"):
            return (await self._opened().containers.create(config, name=name)).id

    async def start(self, container: str) -> None:
        """Start it; fine where it runs, which an engine answers with 304."""
        with self._asking("POST", "/containers/{id}/start"):
            await self._opened().containers.container(container).start()

    async def stop(self, container: str) -> None:
        """Shut it down, by force once it has taken too long; fine where it is stopped or gone."""
        with self._asking("POST", "/containers/{id}/stop", fine=(NOT_FOUND,)):
            timeout_s = self._timeout_s + _SHUTS_DOWN_WITHIN_S
            stopped = self._opened().containers.container(container)
            await stopped.stop(t=_SHUTS_DOWN_WITHIN_S, timeout=timeout_s)

    async def restart(self, container: str) -> None:
        """Cut it off, unless it shuts down very soon, and start it again."""
        with self._asking("POST", "/containers/{id}/restart"):
            timeout_s = self._timeout_s + _CUT_OFF_AFTER_S
            await self._opened().containers.container(container).restart(t=_CUT_OFF_AFTER_S, timeout=timeout_s)

    async def state(self, container: str) -> Mapping[str, Any] | None:
        """How it is, with exit code and error where it has stopped; None where it is gone."""
        try:
            with self._asking("GET", "/containers/{id}"):
                shown = await self._opened().containers.container(container).show()
        except EngineRefused as error:
            if error.status == NOT_FOUND:
                return None
            raise
        state: Mapping[str, Any] = shown["State"]
        return state

    async def put_files(self, container: str, folder: str, archive: bytes) -> None:
        """Unpack a tar archive in a folder that the container has."""
        with self._asking("PUT", "/containers/{id}/archive"):
            await self._opened().containers.container(container).put_archive(folder, archive)  # type: ignore[no-untyped-call]

    async def read_file(self, container: str, path: str) -> bytes | None:
        """A small file's content; None where there is no such file or container (any more)."""
        try:
            with self._asking("GET", "/containers/{id}/archive"):
                archive = await self._opened().containers.container(container).get_archive(path)
        except EngineRefused as error:
            if error.status in (NOT_FOUND, CONFLICT):
                return None
            raise
        with archive:
            file = archive.extractfile(archive.getmembers()[0])
            return file.read() if file else None

    async def remove_container(self, container: str) -> None:
        """Kill it and remove it with its volumes; fine where it is gone or on its way."""
        with self._asking("DELETE", "/containers/{id}", fine=(NOT_FOUND, CONFLICT)):
            await self._opened().containers.container(container).delete(force=True, v=True)

    async def networks(self) -> list[Mapping[str, Any]]:
        """All networks, ours or not."""
        with self._asking("GET", "/networks"):
            found: list[Mapping[str, Any]] = [*await self._opened().networks.list()]
            return found

    async def create_network(self, config: Mapping[str, Any]) -> str:
        """Its id."""
        with self._asking("POST", "/networks"):
            return str((await self._opened().networks.create(dict(config))).id)

    async def remove_network(self, network: str) -> None:
        """Remove it; fine where it is gone."""
        with self._asking("DELETE", "/networks/{id}", fine=(NOT_FOUND,)):
            await (await self._opened().networks.get(network)).delete()

    async def keep_address(self, network: str, container: str, address: str) -> None:
        """Give a container its address of a network for good: else it gets another one whenever it is started."""
        with self._asking("POST", "/networks/{id}/connect"):
            joined = await self._opened().networks.get(network)
            await joined.disconnect({"Container": container, "Force": True})
            await joined.connect({"Container": container, "EndpointConfig": {"IPAMConfig": {"IPv4Address": address}}})

    async def close(self) -> None:
        """Let go of connections."""
        if self._docker:
            await self._docker.close()

    def _opened(self) -> Docker:
        if self._docker is None:
            self._docker = Docker(url=self._url, timeout=aiohttp.ClientTimeout(total=self._timeout_s))
        return self._docker

    @contextmanager
    def _asking(self, method: str, path: str, fine: tuple[int, ...] = ()) -> Iterator[None]:
        self.calls[f"{method} {path}"] += 1
        with cloud_call(self._cloud, method, path):
            try:
                yield
            except DockerError as error:
                if error.status not in fine:
                    raise self._translated(error) from error
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                raise self._unanswered(method, path, error) from error

    def _translated(self, error: DockerError) -> CloudUnavailable | EngineRefused:
        if error.status == _NO_CONNECTION:
            return CloudUnavailable(f"cloud {self._cloud!r}: {error.message}", after=2)
        if error.status >= 500 and _RUNTIME not in error.message:
            return CloudUnavailable(f"cloud {self._cloud!r} is in trouble: {error.message}", after=2)
        return EngineRefused(self._cloud, error.status, error.message)

    def _unanswered(self, method: str, path: str, error: Exception) -> CloudUnavailable:
        return CloudUnavailable(f"cloud {self._cloud!r} did not answer {method} {path}: {error!r}")
