"""What services ask each other when an answer is needed at once: one class a request, its subject and reply beside it.

Requests go over NATS request/reply and are never the only way to a state: whoever asks can ask again. Replies are
sealed in transit (see `plumbing.requests`), so secrets may be in them and only in them.
"""

from datetime import datetime
from enum import StrEnum
from typing import ClassVar
from uuid import UUID

from pydantic import Field

from caravan_shared.contracts.facts import Connection, FieldProblem, Finding, FindingLevel, Message
from caravan_shared.contracts.machines import MachineEntry, MachineView
from caravan_shared.contracts.states import InventoryState

NODES_NAMED = 10
"""Nodes of a run that are named; there may be a thousand."""
LOG_PAGE = 65_536
"""Characters of a log in one reply: sealed, and of four bytes each, it stays below NATS' 1 MiB."""


class Reply(Message):
    """The answer to a request."""


class Request(Message):
    """A question to the service that owns the answer."""

    subject: ClassVar[str]
    reply: ClassVar[type[Reply]]
    timeout_s: ClassVar[float] = 10.0
    """Seconds that the answer may take."""


class ClusterPki(Reply):
    """All that a control-plane node needs to start: PEM texts, keys included. Names follow kubeadm's file names."""

    ca_cert: str
    ca_key: str
    etcd_ca_cert: str
    etcd_ca_key: str
    front_proxy_ca_cert: str
    front_proxy_ca_key: str
    service_account_key: str
    service_account_public_key: str
    ca_hash: str = Field(description="`sha256:<hex>` of the CA's public key, as kubeadm's caCertHashes wants it.")
    endpoint: str = Field(description="`host:port` of the kube-apiserver.")


class AskClusterPki(Request):
    """bootstrapper → dns: the cluster's authority."""

    subject: ClassVar[str] = "rpc.dns.cluster_pki"
    reply: ClassVar[type[Reply]] = ClusterPki
    cluster_id: UUID


class ClientCertificate(Reply):
    """A client certificate for one of our own services: PEM texts."""

    ca_cert: str
    cert: str
    key: str
    not_after: datetime


class AskClientCertificate(Request):
    """bootstrapper or health → dns: a certificate to talk to the cluster with. health's can only read.

    That of `cilium-etcd` is for the agents of Cilium, and opens their own etcd instead.
    """

    subject: ClassVar[str] = "rpc.dns.client_certificate"
    reply: ClassVar[type[Reply]] = ClientCertificate
    cluster_id: UUID
    purpose: str = Field(pattern="^(health|bootstrapper|cilium-etcd)$")


class Kubeconfig(Reply):
    """An issued kubeconfig, YAML text."""

    grant_id: UUID
    kubeconfig: str
    expires_at: datetime


class AskKubeconfig(Request):
    """api → dns: grant someone access."""

    subject: ClassVar[str] = "rpc.dns.kubeconfig"
    reply: ClassVar[type[Reply]] = Kubeconfig
    cluster_id: UUID
    user: str
    role: str = Field(
        pattern="^(viewer|editor|admin)$", description="Maps to the ClusterRoles view, edit, cluster-admin."
    )
    ttl_s: int = Field(description="Lifetime in seconds; dns caps it.")


class Revoked(Reply):
    """The grant is void."""


class AskRevoke(Request):
    """api → dns: take access away."""

    subject: ClassVar[str] = "rpc.dns.revoke"
    reply: ClassVar[type[Reply]] = Revoked
    cluster_id: UUID
    grant_id: UUID


class TakenBack(Message):
    """A grant that was taken back."""

    cluster_id: UUID
    grant_id: UUID
    role: str
    expires_at: datetime
    pending: str | None = Field(None, description="Why it is not void yet; null: it is.")


class RevokedAll(Reply):
    """All that was taken back; what is pending follows by itself."""

    items: tuple[TakenBack, ...]
    more: int = Field(0, description="Further ones, taken back alike, for which there is no room here.")


class AskRevokeAll(Request):
    """api → dns: take all access of a person away, on the clusters of one team and those named, or on all."""

    subject: ClassVar[str] = "rpc.dns.revoke_all"
    reply: ClassVar[type[Reply]] = RevokedAll
    timeout_s: ClassVar[float] = 20.0
    user: str
    team: str | None = Field(None, description="Null: every team's.")
    clusters: tuple[UUID, ...] = Field((), description="Of other teams, which that team leases.")


class UserData(Reply):
    """cloud-init user-data (`#cloud-config` YAML): lets Ansible in, and joins a worker as soon as it boots."""

    user_data: str
    joins: bool = Field(True, description="False where it lets Ansible in and no more.")


class AskUserData(Request):
    """provisioner → bootstrapper: what a set's machines shall boot with."""

    subject: ClassVar[str] = "rpc.bootstrapper.user_data"
    reply: ClassVar[type[Reply]] = UserData
    cluster_id: UUID
    node_set: str
    connection: Connection = Field(
        Connection.SANDBOX, description="How the machines will be reached; over SSH every role needs user-data."
    )
    pull: bool = Field(True, description="False: workers are pushed too.")


class Refusal(StrEnum):
    """Why an inventory did not do what was asked."""

    PROBLEMS = "problems"
    """Fields are wrong; every one of them is told."""
    UNKNOWN = "unknown"
    """There is no such machine."""
    STALE = "stale"
    """It changed since the asker looked."""
    STATE = "state"
    """It does not go with the state that the machine is in."""


class Machines(Reply):
    """Machines of inventories; or why nothing was done."""

    items: tuple[MachineView, ...] = ()
    more: bool = Field(False, description="There are further ones after the last of these.")
    refusal: Refusal | None = None
    reason: str = ""
    problems: tuple[FieldProblem, ...] = ()


class AskMachines(Request):
    """api → provisioner: which machines there are, by name."""

    subject: ClassVar[str] = "rpc.provisioner.machines"
    reply: ClassVar[type[Reply]] = Machines
    name: str | None = Field(None, description="This one alone.")
    cloud: str | None = None
    machine_type: str | None = None
    state: InventoryState | None = None
    after: str = ""
    limit: int = Field(100, ge=1, le=500)


class AskMachineImport(Request):
    """api → provisioner: take these machines in, all or none. Entries that are there as given already change nothing.

    `sealed_bmc_passwords`: by machine name, sealed for `machines.bmc_context`.
    """

    subject: ClassVar[str] = "rpc.provisioner.machine_import"
    reply: ClassVar[type[Reply]] = Machines
    entries: tuple[MachineEntry, ...]
    sealed_bmc_passwords: dict[str, str] = Field(default_factory=dict)
    only_look: bool = Field(False, description="Take nothing in; tell what would keep them out.")


class AskMachineChange(Request):
    """api → provisioner: describe a machine anew, unless it changed since `version`."""

    subject: ClassVar[str] = "rpc.provisioner.machine_change"
    reply: ClassVar[type[Reply]] = Machines
    version: int
    entry: MachineEntry
    sealed_bmc_password: str | None = Field(None, description="None: it stays what it is.")


class AskMachineRemoval(Request):
    """api → provisioner: strike a machine off that nobody has claimed."""

    subject: ClassVar[str] = "rpc.provisioner.machine_removal"
    reply: ClassVar[type[Reply]] = Machines
    name: str
    version: int


class AskMachineRelease(Request):
    """api → provisioner: let a machine out of quarantine, checked first; with `wipe`, wiped before that."""

    subject: ClassVar[str] = "rpc.provisioner.machine_release"
    reply: ClassVar[type[Reply]] = Machines
    name: str
    version: int
    wipe: bool


class OperatorKey(Reply):
    """The public key, an `authorized_keys` line, that lets Caravan into the machines of an inventory."""

    public: str


class AskOperatorKey(Request):
    """api → bootstrapper: which key the machines of this cloud have to let in."""

    subject: ClassVar[str] = "rpc.bootstrapper.operator_key"
    reply: ClassVar[type[Reply]] = OperatorKey
    cloud: str


class RunView(Message):
    """One execution of a playbook on some nodes of a cluster."""

    run_id: UUID
    play: str = Field(description="The playbook, such as `site` or `upgrade`.")
    state: str = Field(description="`Pending`, `Running`, `Succeeded`, `Failed`, `Cancelled` or `Interrupted`.")
    nodes: tuple[str, ...] = Field(description=f"The first {NODES_NAMED} of them.")
    node_count: int
    version: str
    step: str | None
    failure: str | None
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None


class Runs(Reply):
    """A cluster's runs, newest first."""

    items: tuple[RunView, ...]
    more: bool = Field(False, description="There are earlier ones.")


class AskRuns(Request):
    """api → bootstrapper: what was executed on a cluster."""

    subject: ClassVar[str] = "rpc.bootstrapper.runs"
    reply: ClassVar[type[Reply]] = Runs
    cluster_id: UUID
    before: UUID | None = Field(None, description="Those that came before this run.")
    limit: int = Field(20, ge=1, le=500)


class RunLog(Reply):
    """A page of what Ansible printed in a run; places are counted in characters from the log's beginning."""

    run: RunView | None = Field(description="Null: the cluster has no such run.")
    text: str = ""
    offset: int = Field(0, description="Where `text` begins.")
    first: int = Field(0, description="Where the part begins that is kept.")
    end: int = Field(0, description="Where the log ends, by now.")


class AskRunLog(Request):
    """api → bootstrapper: what Ansible printed; by default its end."""

    subject: ClassVar[str] = "rpc.bootstrapper.run_log"
    reply: ClassVar[type[Reply]] = RunLog
    cluster_id: UUID
    run_id: UUID
    offset: int | None = Field(None, ge=0, description="Where to begin. Null: so that the page reaches the end.")
    limit: int = Field(LOG_PAGE, ge=1, le=LOG_PAGE, description="Characters at most.")


class CloudCheck(Reply):
    """Whether a cloud is usable, and all that was looked at."""

    cloud: str
    kind: str
    findings: tuple[Finding, ...]

    @property
    def usable(self) -> bool:
        """True where nothing is in the way of a cluster."""
        return all(finding.level is not FindingLevel.FATAL for finding in self.findings)


class AskCloudCheck(Request):
    """api → provisioner: look at a cloud now, from every side."""

    subject: ClassVar[str] = "rpc.provisioner.check_cloud"
    reply: ClassVar[type[Reply]] = CloudCheck
    timeout_s: ClassVar[float] = 28.0
    cloud: str


class SweepSighted(Message):
    """A machine of ours that seems to belong to no cluster, and what the sweep does about it."""

    machine_id: str
    name: str
    cluster_id: UUID
    reason: str
    verdict: str = Field(description="What happens to it, and when.")
    first_seen_at: datetime
    last_seen_at: datetime


class SweepReport(Reply):
    """What the sweep of one cloud has seen in the last days, newest first."""

    items: tuple[SweepSighted, ...]


class AskSweepReport(Request):
    """api → provisioner: what the sweep is about to do, or did."""

    subject: ClassVar[str] = "rpc.provisioner.sweep_report"
    reply: ClassVar[type[Reply]] = SweepReport
    cloud: str


class SweepReleased(Reply):
    """The sweep takes machines of unknown clusters for leaks again."""

    was_held: bool


class AskSweepRelease(Request):
    """api → provisioner: an operator has seen to the machines that a restored store does not know."""

    subject: ClassVar[str] = "rpc.provisioner.sweep_release"
    reply: ClassVar[type[Reply]] = SweepReleased


class SmokeTest(Reply):
    """What keeps a cluster from being handed to somebody, in sentences; none: it is fit."""

    problems: tuple[str, ...] = ()


class AskSmokeTest(Request):
    """api → health: are all nodes there, does each run pods, is cluster DNS up? Nothing is put into the cluster."""

    subject: ClassVar[str] = "rpc.health.smoke_test"
    reply: ClassVar[type[Reply]] = SmokeTest
    timeout_s: ClassVar[float] = 20.0
    cluster_id: UUID
    nodes: int = Field(description="How many nodes it should have; etcd's own are none.")


class SecondLooks(Reply):
    """What a replica of health sees of clusters from where it stands; of those in neither list it cannot say."""

    answering: tuple[UUID, ...] = ()
    silent: tuple[UUID, ...] = ()


class AskSecondLooks(Request):
    """health → another replica of it, by name: do these clusters answer you? Here they do not."""

    subject: ClassVar[str] = "rpc.health.second_looks"
    reply: ClassVar[type[Reply]] = SecondLooks
    timeout_s: ClassVar[float] = 2.5
    """Seconds: less than three looks take, so that an outage is told no later for it."""
    cluster_ids: tuple[UUID, ...]


class Wellbeing(Reply):
    """How one replica of a service is, as it sees itself."""

    service: str
    instance: str = Field(description="The replica's name.")
    version: str
    now: datetime = Field(description="Its clock.")
    store_problem: str = Field("", description="Why its store cannot be used; empty: it can.")
    migration: str = Field("", description="The newest migration that its store has had.")
    newest_migration: str = Field("", description="The newest that this version knows.")
    stuck: tuple[str, ...] = Field((), description="Subscriptions whose backlog does not move.")
    unsent_for_s: float = Field(0, description="Seconds for which the oldest event that the bus has not stored waits.")
    disk_free_bytes: int = Field(description="Where it keeps its state.")
    disk_total_bytes: int
    findings: tuple[Finding, ...] = Field((), description="What else the service looks after.")


class AskWellbeing(Request):
    """api → every replica of every service: how are you? All answer."""

    subject: ClassVar[str] = "rpc.everyone.wellbeing"
    reply: ClassVar[type[Reply]] = Wellbeing
    timeout_s: ClassVar[float] = 2.0
    """Seconds for which answers are gathered: nobody knows how many there will be."""
