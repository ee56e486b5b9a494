"""One OpenStack cloud's services, asked from asyncio: the SDK blocks, so it has threads of its own.

One session, opened at the first question, serves all threads. Answers and errors come out in the words of `base`: what
may or may not have been carried out is `CloudUnavailable`, and so is whatever the cloud itself calls passing.
"""

import asyncio
import contextvars
import os
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, Literal, TypeVar, cast

import openstack.config
import openstack.exceptions
import requests
from keystoneauth1 import exceptions as keystone
from keystoneauth1.adapter import Adapter
from keystoneauth1.identity.base import BaseIdentityPlugin
from keystoneauth1.session import Session
from openstack.config.cloud_region import CloudRegion

from caravan_provisioner.clouds.base import CloudRefused, CloudUnavailable, QuotaExceeded
from caravan_provisioner.clouds.openstack_config import OpenStackConfig
from caravan_provisioner.clouds.openstack_http import ASKS_FOR_PEACE, Pace, PacedAdapter, retry_after
from caravan_provisioner.clouds.openstack_names import UnknownName
from caravan_provisioner.clouds.openstack_server import exceeded
from caravan_shared.plumbing.errors import CaravanError

R = TypeVar("R")

Json = dict[str, Any]
ServiceName = Literal["compute", "network", "image", "load-balancer", "block-storage"]

NOVA = "2.67"  # tags at creation (2.52), server groups' policy (2.64), boot volumes' type (2.67); Stein has it
PAGE = 1000  # what services list at most in one page by default
_AFTER_S = 5.0  # before it makes sense to ask a cloud in trouble again, where it names no time
_NEUTRON_NO_ROOM = frozenset({"OverQuota", "IpAddressGenerationFailure"})


class NotFound(CloudRefused):
    """There is no such thing."""


class InTheWay(CloudRefused):
    """The thing is in a state that does not go with what was asked for."""


class Api:
    """Asks one cloud."""

    def __init__(self, name: str, config: OpenStackConfig) -> None:
        self.name = name
        self._config = config
        self._transport = PacedAdapter(
            name,
            Pace(per_s=config.requests_per_s, in_flight=config.requests_in_flight),
            config.requests_in_flight,
        )
        self._threads = ThreadPoolExecutor(config.requests_in_flight, thread_name_prefix=f"openstack-{name}")
        self._connecting = threading.Lock()
        self._services: Mapping[ServiceName, Adapter] = {}

    @property
    def calls(self) -> Counter[str]:
        """What was sent, by method and path without ids."""
        return self._transport.calls

    async def get(self, service: ServiceName, path: str, query: Mapping[str, str] | None = None) -> Json:
        """What a service shows. Raises `NotFound`, `CloudRefused` or `CloudUnavailable`."""
        return await self._ask(service, "GET", path, params=query or {})

    async def post(self, service: ServiceName, path: str, body: Json) -> Json:
        """Have something made or done; never repeated. Raises `QuotaExceeded` too."""
        return await self._ask(service, "POST", path, json=body)

    async def put(self, service: ServiceName, path: str, body: Json) -> Json:
        """Have something changed; never repeated."""
        return await self._ask(service, "PUT", path, json=body)

    async def delete(self, service: ServiceName, path: str) -> None:
        """Remove something; if it is not there, that is fine."""
        try:
            await self._ask(service, "DELETE", path)
        except NotFound:
            return

    async def pages(self, service: ServiceName, path: str, query: Mapping[str, str] | None = None) -> list[Json]:
        """All that a service lists under `path`, page by page."""
        items: list[Json] = []
        key = path.removesuffix("/detail").rpartition("/")[2].removeprefix("os-").replace("-", "_")
        asked = {"limit": str(PAGE), **(query or {})}
        while True:
            body = await self.get(service, path, asked)
            items.extend(body[key])
            if not body[key] or not _has_more(body, key):
                return items
            # The link itself may name an address that only the cloud's inside knows.
            asked["marker"] = body[key][-1]["id"]

    async def project(self) -> str:
        """The name of the project that we are in. Raises what `get` raises."""
        return await self._in_thread(self._project)

    async def newest_nova(self) -> tuple[int, ...]:
        """The newest microversion that Nova speaks. Raises what `get` raises."""
        return await self._in_thread(lambda: self._newest("compute", self._connected()["compute"]))

    async def endpoint(self, service: str) -> str | None:
        """Where the catalogue says that a service is; None where the cloud has none."""
        return await self._in_thread(lambda: self._endpoint(service))

    async def close(self) -> None:
        """Let go of connections; what is under way ends by itself."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._transport.close()

    async def _ask(self, service: ServiceName, method: str, path: str, **request: Any) -> Json:
        return await self._in_thread(lambda: self._send(service, method, path, **request))

    async def _in_thread(self, work: Callable[[], R]) -> R:
        try:
            in_trace = contextvars.copy_context()
            return await asyncio.get_running_loop().run_in_executor(self._threads, in_trace.run, work)
        except (keystone.ClientException, openstack.exceptions.SDKException, requests.RequestException) as error:
            raise self._told(error) from error

    def _send(self, service: ServiceName, method: str, path: str, **request: Any) -> Json:
        response: requests.Response = self._connected()[service].request(path, method, raise_exc=False, **request)
        if response.status_code >= 400:
            raise self._refusal(response)
        body: Json = response.json() if response.content else {}
        return body

    def _project(self) -> str:
        session = self._connected()["compute"].session
        plugin = cast("BaseIdentityPlugin", session.auth)
        return str(plugin.get_access(session).project_name)

    def _endpoint(self, service: str) -> str | None:
        compute = self._connected()["compute"]
        try:
            found: str | None = compute.session.get_endpoint(
                service_type=service, region_name=compute.region_name, interface=compute.interface
            )
        except keystone.EndpointNotFound:
            return None
        return found

    def _connected(self) -> Mapping[ServiceName, Adapter]:
        with self._connecting:
            if not self._services:
                self._services = self._connect()
            return self._services

    def _connect(self) -> Mapping[ServiceName, Adapter]:
        region = entry_of(self._config)
        session = region.get_session()
        for scheme in ("http://", "https://"):
            session.session.mount(scheme, self._transport)
        self._ensure_region(region.region_name, session)
        used: tuple[ServiceName, ...] = ("compute", "network", "image")
        if self._config.load_balancer:
            used = (*used, "load-balancer")
        if self._config.boot_volume_gib:
            used = (*used, "block-storage")
        services = {service: _adapter(region, session, service) for service in used}
        for name, service in services.items():
            self._newest(name, service)  # looked up here, by one thread
        return services

    def _ensure_region(self, region: str | None, session: Session) -> None:
        """A region without any endpoint is a name that the cloud does not have."""
        catalogue = cast("BaseIdentityPlugin", session.auth).get_access(session).service_catalog.catalog
        endpoints = [endpoint for service in catalogue for endpoint in service["endpoints"]]
        there = {str(endpoint.get("region_id") or endpoint.get("region")) for endpoint in endpoints}
        if region and region not in there:
            raise UnknownName(self.name, "region", region, there)

    def _newest(self, name: ServiceName, service: Adapter) -> tuple[int, ...]:
        """The newest version that a service speaks. Without one, the SDK would take its bare address for all of it."""
        found = service.get_endpoint_data()
        if found is None or found.api_version is None:
            raise CloudUnavailable(
                f"cloud {self.name!r} has no {name} service, or one that does not tell its versions", after=_AFTER_S
            )
        newest = found.max_microversion or found.api_version
        return tuple(int(part) for part in newest)

    def _refusal(self, response: requests.Response) -> CaravanError:
        """An answer that is no success, in our words."""
        kind, message = _message(response)
        said = f"{response.status_code} {message}"
        if response.status_code in ASKS_FOR_PEACE or response.status_code >= 500:
            after = retry_after(response.headers, datetime.now(UTC)) or _AFTER_S
            return CloudUnavailable(f"cloud {self.name!r} is in trouble: {said}", after=after)
        if response.status_code == requests.codes.not_found:
            return NotFound(self.name, said)
        lacks = exceeded(message)
        if response.status_code == requests.codes.conflict and "immutable" in message:
            return CloudUnavailable(f"cloud {self.name!r} is still at it: {said}", after=_AFTER_S)  # Octavia's way
        if kind in _NEUTRON_NO_ROOM:
            lacks = ("addresses and ports", 1, 0)
        if lacks:
            resource, need, free = lacks
            return QuotaExceeded(project=self.name, resource=resource, need=need, free=free)
        if response.status_code == requests.codes.conflict:
            return InTheWay(self.name, said)
        if response.status_code == requests.codes.unauthorized:
            said += " (look at the credentials in clouds.yaml)"
        return CloudRefused(self.name, said)

    def _told(self, error: Exception) -> CaravanError:
        """An error of the libraries, in our words."""
        if isinstance(error, keystone.HttpError) and error.response is not None:
            return self._refusal(error.response)
        if isinstance(
            error, keystone.ConnectionError | keystone.RetriableConnectionFailure | requests.RequestException
        ):
            return CloudUnavailable(f"cloud {self.name!r} does not answer: {error}", after=_AFTER_S)
        return CloudRefused(self.name, str(error))


def entry_of(config: OpenStackConfig) -> CloudRegion:
    """The entry of clouds.yaml that a cloud is configured with, in its region. Raises what the SDK raises."""
    file = config.clouds_file
    # Where a file is given, the SDK must not prefer the one that the environment names.
    known = openstack.config.OpenStackConfig(config_files=[str(file)] if file else None, load_envvars=file is None)
    cloud = config.cloud or os.environ.get("OS_CLOUD")
    entry = known.cloud_config["clouds"].get(cloud, {})
    if config.region and "region_name" in entry and "regions" not in entry:
        entry["region_name"] = config.region  # the SDK takes the region that an entry names for its only one
    return known.get_one(cloud=cloud, region_name=config.region, api_timeout=config.timeout_s)


def _adapter(region: CloudRegion, session: Session, service: ServiceName) -> Adapter:
    """keystoneauth's own: the SDK's warns of itself and takes longer for each call."""
    major = "3" if service == "block-storage" else "2"
    return Adapter(
        session,
        service_type=region.get_service_type(service),
        interface=region.get_interface(service),
        region_name=region.get_region_name(service),
        endpoint_override=region.get_endpoint(service),
        min_version=major,
        max_version=f"{major}.latest",
        default_microversion=NOVA if service == "compute" else None,
    )


def _has_more(body: Json, key: str) -> bool:
    """Whether a page is not the last: Nova and Neutron link to the next one, Glance names it."""
    links = body.get(f"{key}_links", [])
    return bool(body.get("next")) or any(link.get("rel") == "next" for link in links)


def _message(response: requests.Response) -> tuple[str, str]:
    """The kind and the sentence of an error; each of OpenStack's services wraps theirs in another way."""
    try:
        body = response.json()
    except ValueError:
        return "", response.reason or "without a reason"
    (error,) = body.values() if isinstance(body, dict) and len(body) == 1 else (body,)
    if isinstance(error, dict):
        said = error.get("message") or error.get("detail") or error.get("faultstring") or response.reason
        return str(error.get("type", "")), str(said)
    return "", str(error or response.reason)
