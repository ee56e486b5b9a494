"""What can be set on the bootstrapper: `CARAVAN_BOOTSTRAPPER_<FIELD>`, or `CARAVAN_<FIELD>` for all services."""

from pathlib import Path

from pydantic import Field, SecretStr

from caravan_bootstrapper.upkeep import CERTIFICATE_DAYS
from caravan_shared.plumbing.settings import ServiceSettings, settings_config

_CHECKOUT = Path(__file__).resolve().parents[3]
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  # a tmpfs on purpose: what a run leaves there never reaches a disk


class Settings(ServiceSettings):
    """The bootstrapper's knobs."""

    model_config = settings_config("bootstrapper")

    playbooks_dir: Path = Field(
        _CHECKOUT / "playbooks", description="Directory of site.yml, its roles and versions.yml."
    )
    runs_dir: Path = Field(
        _SHARED_MEMORY,
        description="Where runs keep their files while they last; a tmpfs, because secrets are among them. "
        "Where it does not exist, `state_dir` is used and a warning says so.",
    )
    max_runs: int = Field(4, gt=0, description="Playbook runs side by side, all clusters together; each is a process.")
    run_timeout_s: float = Field(3600.0, gt=0, description="Seconds after which a run is ended; image pulls are slow.")
    run_logs: int = Field(20, ge=0, description="Newest runs of each cluster whose logs are kept.")
    run_log_chars: int = Field(
        262_144, gt=0, description="Characters that are kept of a run's log at most, its last ones."
    )
    max_attempts: int = Field(5, gt=0, description="Failures of runs in a row after which a person has to look.")
    joins_in_flight: int = Field(
        10, gt=0, description="Pushed joins at the same time in a run; kubeadm's timeouts are hit at some hundreds."
    )
    upgrades_in_flight: int = Field(10, gt=0, description="Workers upgraded at the same time in a run.")
    upgrades_share: float = Field(
        0.1,
        gt=0,
        le=1,
        description="Share of a cluster's workers that is upgraded at the same time at most, though always one: the "
        "others have to take the pods.",
    )
    grace_s: float = Field(
        3.0,
        ge=0,
        description="Seconds without a further machine after which those that are ready start without the rest.",
    )
    poll_s: float = Field(
        0.5, gt=0, description="Seconds between looks at a cluster's nodes while joins are outstanding."
    )
    join_deadline_s: float = Field(
        900.0,
        gt=0,
        description="Seconds a node may take to join once the control plane runs; then a person has to look.",
    )
    renew_after_days: float = Field(
        270.0,
        gt=0,
        lt=CERTIFICATE_DAYS,
        description="Days after which certificates on control planes and etcd nodes are made anew; kubeadm's live 365.",
    )
    backup_every_s: float = Field(
        0.0, ge=0, description="Seconds between backups of each cluster's etcd; 0: none, because no place is known."
    )
    ssh_within_s: float = Field(
        180.0, gt=0, description="Seconds a machine that its cloud calls running may take to answer over SSH."
    )
    operator_key: Path | None = Field(
        None,
        description="File with the private key that lets into the machines of inventories. Default: a key pair of our "
        "own for each cloud of kind `static`; `caravan machine key` shows its public half.",
    )
    machine_tries: int = Field(
        3, gt=0, description="Tries of each piece of work on an inventory's machine before it is told to have failed."
    )
    machine_work_s: float = Field(
        600.0, gt=0, description="Seconds that a piece of work on inventories' machines may take; a wipe takes some 30."
    )
    artifacts: str = Field(
        "",
        description="The mirror that machines take binaries and images from: a URL, or a directory that they have at "
        "the same path. Empty: the official release hosts.",
    )
    resolvers: list[str] = Field(
        default_factory=list,
        description='DNS servers that machines ask for the endpoints\' names, `["<ip>:<port>"]`, where the resolvers '
        "they have do not know them.",
    )
    sandbox_url: str = Field("http://127.0.0.1:8790", description="Where the sandbox cloud answers.")
    sandbox_token: SecretStr = Field(SecretStr("sandbox"), description="Bearer token for the sandbox cloud.")
