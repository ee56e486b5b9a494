"""What services ask each other when an answer is needed at once: one class a request, its subject and reply beside it.

Requests go over NATS request/reply and are never the only way to a state: whoever asks can ask again. Replies are
sealed in transit (see `plumbing.requests`), so secrets may be in them and only in them.
"""

from datetime import datetime
from typing import ClassVar
from uuid import UUID

from pydantic import Field

from caravan_shared.contracts.facts import Connection, Message


class Reply(Message):
    """The answer to a request."""


class Request(Message):
    """A question to the service that owns the answer."""

    subject: ClassVar[str]
    reply: ClassVar[type[Reply]]


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
