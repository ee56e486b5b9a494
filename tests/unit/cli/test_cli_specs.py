"""Requests out of flags and files."""

import io
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caravan_cli.errors import UsageProblem
from caravan_cli.specs import SpecFlags, counts, from_file, from_flags
from caravan_shared.contracts.spec import ClusterSpec


def test_no_flags_ask_for_nothing_so_that_the_defaults_count() -> None:
    assert from_flags(SpecFlags()) == {}


def test_bare_number_of_workers_is_the_usual_set_and_names_make_sets_of_their_own() -> None:
    spec = from_flags(SpecFlags(workers=("10", "gpu=2", "spare")))
    assert spec["workers"] == [{"name": "workers", "count": 10}, {"name": "gpu", "count": 2}, {"name": "spare"}]


def test_machine_type_of_one_set_wins_over_that_of_all() -> None:
    spec = from_flags(SpecFlags(workers=("1", "gpu=2"), machine_types=("medium", "gpu=large")))
    assert spec["control_plane"]["machine_type"] == "medium"
    assert [each["machine_type"] for each in spec["workers"]] == ["medium", "large"]


def test_etcd_nodes_of_their_own_mean_an_external_topology() -> None:
    spec = from_flags(SpecFlags(etcd=3, machine_types=("etcd=large",)))
    assert (spec["topology"], spec["etcd"]) == ("external", {"count": 3, "machine_type": "large"})


def test_virtual_ip_is_part_of_the_network() -> None:
    assert from_flags(SpecFlags(virtual_ip="10.0.0.250", cni="flannel"))["network"] == {
        "cni": "flannel",
        "virtual_ip": "10.0.0.250",
    }


@pytest.mark.parametrize(
    "flags",
    [
        SpecFlags(workers=("1", "2")),
        SpecFlags(workers=("gpu=1", "gpu=2")),
        SpecFlags(workers=("gpu=many",)),
        SpecFlags(workers=("etcd=1",)),
        SpecFlags(machine_types=("gpu=large",)),
    ],
)
def test_flags_that_contradict_each_other_are_refused(flags: SpecFlags) -> None:
    with pytest.raises(UsageProblem):
        from_flags(flags)


@settings(max_examples=50)
@given(
    control_planes=st.none() | st.integers(1, 9),
    workers=st.lists(st.integers(0, 20), max_size=4),
    etcd=st.none() | st.integers(1, 7),
    machine_type=st.none() | st.sampled_from(["small", "large"]),
)
def test_what_flags_ask_for_is_a_spec(
    control_planes: int | None, workers: list[int], etcd: int | None, machine_type: str | None
) -> None:
    flags = SpecFlags(
        version="1.34.2",
        control_planes=control_planes,
        workers=tuple(f"set{number}={count}" for number, count in enumerate(workers)),
        machine_types=(machine_type,) if machine_type else (),
        etcd=etcd,
    )
    spec = ClusterSpec.model_validate(from_flags(flags))
    assert [each.count for each in spec.workers] == (workers or [2])
    assert spec.control_plane.count == (control_planes or 1)
    assert {each.machine_type for each in spec.node_sets()} == {machine_type or "medium"}


def test_file_holds_a_whole_request_or_a_bare_spec(tmp_path: Path) -> None:
    file = tmp_path / "cluster.yaml"
    file.write_text("name: demo\nspec: {version: 1.34.2}\n")
    assert from_file(str(file)) == {"name": "demo", "spec": {"version": "1.34.2"}}
    file.write_text("version: 1.34.2\n")
    assert from_file(str(file)) == {"spec": {"version": "1.34.2"}}


def test_dash_reads_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("version: 1.34.2\n"))
    assert from_file("-") == {"spec": {"version": "1.34.2"}}


@pytest.mark.parametrize("text", ["- a\n- b\n", "{", "!!python/object/apply:os.getcwd []"])
def test_file_that_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "cluster.yaml"
    file.write_text(text)
    with pytest.raises(UsageProblem, match=r"cluster\.yaml"):
        from_file(str(file))


def test_counts_name_sets() -> None:
    assert counts(["workers=4", "gpu=0"]) == {"workers": 4, "gpu": 0}


@pytest.mark.parametrize("pairs", [["workers"], ["=4"], ["workers=-1"], ["workers=4.5"], ["workers=1", "workers=2"]])
def test_what_is_no_count_is_refused(pairs: list[str]) -> None:
    with pytest.raises(UsageProblem):
        counts(pairs)


def test_cloud_is_for_all_sets_or_for_one() -> None:
    spec = from_flags(SpecFlags(clouds=("docker", "workers=metal")))
    assert spec == {"cloud": "docker", "workers": [{"name": "workers", "cloud": "metal"}]}
    with pytest.raises(UsageProblem, match="--cloud names the set 'gpu'"):
        from_flags(SpecFlags(clouds=("gpu=metal",)))
