"""What a machine's packet filter keeps when Kubernetes goes."""

from tests.support.machine_modules import carried

node_reset = carried("node_reset")

SAVED = """\
*nat
:PREROUTING ACCEPT [0:0]
:KUBE-SERVICES - [0:0]
:DOCKER - [0:0]
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -m comment --comment "flanneld masq" -j FLANNEL-POSTRTG
-A POSTROUTING -s 10.0.0.0/8 -m comment --comment "not KUBE- at all" -j MASQUERADE
-A KUBE-SERVICES -d 10.96.0.1/32 -p tcp -j KUBE-SVC-X
-A OUTPUT -g CILIUM_OUTPUT_nat
COMMIT
"""


def test_chains_of_kubernetes_go_and_others_stay() -> None:
    assert node_reset.rest_of_rules(SAVED).splitlines() == [
        "*nat",
        ":PREROUTING ACCEPT [0:0]",
        ":DOCKER - [0:0]",
        "-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER",
        '-A POSTROUTING -s 10.0.0.0/8 -m comment --comment "not KUBE- at all" -j MASQUERADE',
        "COMMIT",
    ]


def test_machine_without_rules_of_kubernetes_keeps_all() -> None:
    rest = node_reset.rest_of_rules(SAVED)
    assert node_reset.rest_of_rules(rest) == rest
    assert node_reset.rest_of_rules("") == ""


def test_interfaces_of_pod_networks_are_known_by_name() -> None:
    names = ("cni0", "flannel.1", "flannel-v6.1", "cilium_host", "lxc1234", "kube-ipvs0", "eth0", "docker0", "lo")
    assert [name for name in names if node_reset.INTERFACES.fullmatch(name)] == list(names[:6])
