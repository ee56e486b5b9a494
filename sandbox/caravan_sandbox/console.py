"""A machine's console: the commands that stand in for what Ansible does over SSH on a real machine. Idempotent all."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from caravan_sandbox.apiservers import ApiServers, PortTaken
from caravan_sandbox.cloud import Cloud
from caravan_sandbox.faults import FaultKind, Faults
from caravan_sandbox.kube.cluster import Cluster
from caravan_sandbox.kube.resources import BY_KIND, NODES
from caravan_sandbox.kube.statuses import StatusError
from caravan_sandbox.kubeadm import KubeadmConfigError, parse_init, parse_join
from caravan_sandbox.kubelets import Kubelets
from caravan_sandbox.machines import MACHINE_TYPES, OS_IMAGE, Machine, MachineState
from caravan_sandbox.membership import KubeadmError, Membership
from caravan_sandbox.pki import PkiError
from caravan_sandbox.scheduler import Scheduler
from caravan_sandbox.store import Store
from caravan_sandbox.yamltext import load_mappings

Arguments = Mapping[str, Any]
Outcome = tuple[bool, dict[str, Any]]
"""(changed, result)."""

PKI_FIELDS = ("ca_cert", "ca_key", "etcd_ca_cert", "etcd_ca_key", "front_proxy_ca_cert", "front_proxy_ca_key")


class NotReachable(Exception):
    """Nobody answers on the machine's console. `code`: not_booted or powered_off."""

    def __init__(self, code: str) -> None:
        super().__init__(f"the machine is {code.replace('_', ' ')}")
        self.code = code


class CommandFailed(Exception):
    """The command ran and failed."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Console:
    """Runs commands: one at a time on each machine, many machines side by side."""

    def __init__(
        self,
        cloud: Cloud,
        membership: Membership,
        kubelets: Kubelets,
        apiservers: ApiServers,
        scheduler: Scheduler,
        store: Store,
        faults: Faults,
    ) -> None:
        self._cloud, self._membership, self._kubelets, self._apiservers = cloud, membership, kubelets, apiservers
        self._scheduler, self._store, self._faults = scheduler, store, faults
        self._busy: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._commands: dict[str, Callable[[Machine, Arguments], Awaitable[Outcome]]] = {
            "inspect": self._inspect,
            "install": self._install,
            "etcd": self._etcd,
            "kubeadm-init": self._init,
            "kubeadm-join": self._join,
            "apply": self._apply,
            "drain": self._drain,
            "remove-node": self._remove_node,
            "upgrade": self._upgrade,
            "reset": self._reset,
        }

    async def run(self, machine: Machine, command: str, arguments: Arguments) -> Outcome:
        """Run a command. Raises NotReachable, CommandFailed."""
        run = self._commands.get(command)
        if run is None:
            raise CommandFailed("unknown_command", f"{command!r} is none of {', '.join(self._commands)}")
        async with self._busy[machine.id]:
            _check_reachable(machine)
            if self._faults.take(FaultKind.COMMAND_ERROR, machine=machine.id, command=command):
                raise CommandFailed("simulated_fault", f"simulated fault: {command} failed")
            try:
                return await run(machine, arguments)
            except (KubeadmError, KubeadmConfigError, PkiError) as error:
                raise CommandFailed("kubeadm_failed", str(error)) from error
            except PortTaken as error:
                raise CommandFailed("port_taken", str(error)) from error
            except StatusError as error:
                raise CommandFailed("refused_by_apiserver", error.message) from error
            finally:
                self._store.flush()

    async def _inspect(self, machine: Machine, arguments: Arguments) -> Outcome:
        size = MACHINE_TYPES[machine.machine_type]
        return False, {
            "os": OS_IMAGE,
            "cpus": size.cpus,
            "memory_mib": size.memory_mib,
            "kubelet_version": machine.kubelet_version,
            "member": self._membership.is_member(machine),
        }

    async def _install(self, machine: Machine, arguments: Arguments) -> Outcome:
        version = _text(arguments, "version").removeprefix("v")
        if machine.kubelet_version == version:
            return False, {"version": version}
        if self._membership.is_member(machine):
            raise CommandFailed("member", f"the machine runs {machine.kubelet_version} as a member: upgrade it instead")
        machine.kubelet_version = version
        self._store.save_machine(machine)
        return True, {"version": version}

    async def _etcd(self, machine: Machine, arguments: Arguments) -> Outcome:
        _pki(arguments, ("etcd_ca_cert", "etcd_ca_key"))
        members = sorted(str(address) for address in arguments.get("members") or [])
        if machine.address not in members:
            raise CommandFailed("bad_arguments", f"members does not name this machine's address {machine.address}")
        if machine.etcd_peers == members:
            return False, {"members": members}
        machine.etcd_peers = members
        self._store.save_machine(machine)
        return True, {"members": members}

    async def _init(self, machine: Machine, arguments: Arguments) -> Outcome:
        config, pki = parse_init(_text(arguments, "config")), _pki(arguments, PKI_FIELDS)
        changed = not self._membership.is_member(machine)
        if changed:
            await self._takes(machine, self._cloud.settings.init_s)
            self._membership.init(machine, config, pki)
        return changed, await self._serve(machine)

    async def _join(self, machine: Machine, arguments: Arguments) -> Outcome:
        config = parse_join(_text(arguments, "config"))
        pki = _pki(arguments, PKI_FIELDS) if arguments.get("pki") else None
        changed = not self._membership.is_member(machine)
        if changed:
            await self._takes(machine, self._cloud.settings.join_s)
            self._membership.join(machine, config, pki)
        return changed, await self._serve(machine)

    async def _takes(self, machine: Machine, seconds: float) -> None:
        await self._scheduler.sleep(self._cloud.spread(seconds))
        _check_reachable(machine)

    async def _serve(self, machine: Machine) -> dict[str, Any]:
        cluster = self._membership.of(machine)
        assert cluster is not None  # it has just become a member
        if machine.control_plane:
            await self._apiservers.open(machine, cluster)
        return {"node": machine.node, "ca_hash": cluster.identity.id}

    async def _apply(self, machine: Machine, arguments: Arguments) -> Outcome:
        cluster = self._administered(machine)
        try:
            manifests = load_mappings(_text(arguments, "manifests"))
        except ValueError as error:
            raise CommandFailed("bad_arguments", str(error)) from error
        outcomes = [_apply_one(cluster, manifest) for manifest in manifests]
        return any(changed for changed, _ in outcomes), {"objects": [name for _, name in outcomes]}

    async def _drain(self, machine: Machine, arguments: Arguments) -> Outcome:
        cluster, name = self._administered(machine), _text(arguments, "node")
        if not cluster.exists(NODES, name):
            return False, {"found": False}
        body = cluster.get(NODES, name).body
        if body["spec"].get("unschedulable"):
            return False, {"found": True}
        cluster.replace(NODES, {**body, "spec": {**body["spec"], "unschedulable": True}})
        return True, {"found": True}

    async def _remove_node(self, machine: Machine, arguments: Arguments) -> Outcome:
        return self._membership.remove_node(self._administered(machine), _text(arguments, "node")), {}

    async def _upgrade(self, machine: Machine, arguments: Arguments) -> Outcome:
        version = _text(arguments, "version").removeprefix("v")
        return self._membership.upgrade(machine, version), {"version": version}

    async def _reset(self, machine: Machine, arguments: Arguments) -> Outcome:
        self._apiservers.close(machine.id)
        self._kubelets.stopped(machine)
        return self._membership.reset(machine), {}

    def _administered(self, machine: Machine) -> Cluster:
        """The cluster that the machine has admin.conf for."""
        cluster = self._membership.of(machine)
        if cluster is None or not machine.control_plane:
            raise CommandFailed("no_control_plane", "the machine is no control plane: it has no admin.conf")
        if not self._membership.has_quorum(cluster):
            raise CommandFailed("refused_by_apiserver", "etcdserver: request timed out")
        return cluster


def _check_reachable(machine: Machine) -> None:
    if machine.state is not MachineState.ACTIVE or machine.rebooting:
        raise NotReachable("not_booted")
    if not machine.running:
        raise NotReachable("powered_off")


def _apply_one(cluster: Cluster, manifest: dict[str, Any]) -> tuple[bool, str]:
    api_version, kind = str(manifest.get("apiVersion")), str(manifest.get("kind"))
    resource = BY_KIND.get((api_version, kind))
    if resource is None:
        raise CommandFailed("unknown_kind", f'no matches for kind "{kind}" in version "{api_version}"')
    metadata = dict(manifest.get("metadata") or {})
    if not metadata.get("name"):
        raise CommandFailed("bad_arguments", f"a {kind} has no metadata.name")
    if resource.namespaced:
        metadata.setdefault("namespace", "default")
    return cluster.apply(resource, {**manifest, "metadata": metadata}), f"{resource.qualified}/{metadata['name']}"


def _text(arguments: Arguments, name: str) -> str:
    value = arguments.get(name)
    if not isinstance(value, str) or not value:
        raise CommandFailed("bad_arguments", f"{name} is missing")
    return value


def _pki(arguments: Arguments, fields: tuple[str, ...]) -> dict[str, str]:
    pki = arguments.get("pki")
    if not isinstance(pki, dict) or not all(isinstance(pki.get(field), str) for field in fields):
        raise CommandFailed("bad_arguments", f"pki has to hold {', '.join(fields)}")
    return {str(name): str(value) for name, value in pki.items()}
