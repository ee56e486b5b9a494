"""What can go wrong here, beyond the two families that everybody shares.

Retry
├── ClusterUnknown        the cluster, or this set of it, has not been heard of yet
└── ApiserverUnreachable  the cluster's kube-apiserver did not answer
GiveUp
├── NotJoinable           machines of this set are not joined by user-data
├── MachinesSilent        machines that the cloud calls running do not answer over SSH
└── OperatorKeyUnreadable the file with the key for inventories' machines is not there, or no key
"""

from collections.abc import Sequence
from pathlib import Path

from caravan_shared.contracts.facts import WhoCanFix
from caravan_shared.plumbing.errors import GiveUp, Retry


class ClusterUnknown(Retry):
    """Asked about a cluster, or a set of it, that no `cluster.requested` has told of yet."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} has not been heard of yet", after=0.5)


class ApiserverUnreachable(Retry):
    """The kube-apiserver did not answer, or not as expected."""

    def __init__(self, host: str, why: str) -> None:
        super().__init__(f"the kube-apiserver of {host} cannot be asked: {why}", after=1.0)


class NotJoinable(GiveUp):
    """Only workers join by themselves."""

    def __init__(self, node_set: str) -> None:
        super().__init__(
            f"nodes of the set {node_set} are joined by Ansible, not by user-data", who_can_fix=WhoCanFix.OPERATOR
        )


class MachinesSilent(GiveUp):
    """Machines run and do not answer as SSH servers. The run fails; the next one asks again."""

    def __init__(self, nodes: Sequence[str], within_s: float) -> None:
        names = ", ".join(nodes[:3]) + (f" and {len(nodes) - 3} more" if len(nodes) > 3 else "")
        super().__init__(
            f"{names}: no SSH server answered within {within_s:g} s of the machine being ready; look at its console "
            "and at what lies between it and the bootstrapper",
            who_can_fix=WhoCanFix.OPERATOR,
        )


class OperatorKeyUnreadable(GiveUp):
    """The setting `operator_key` names a file that holds no private key we can use."""

    def __init__(self, file: Path, error: Exception) -> None:
        super().__init__(
            f"{file} holds no private key without a passphrase in OpenSSH's format: {error}",
            who_can_fix=WhoCanFix.OPERATOR,
        )
