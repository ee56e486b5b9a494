"""The provisioner's wiring: what it hears, what it runs, and the clouds it runs on."""

from pathlib import Path

from caravan_provisioner import handlers, store
from caravan_provisioner.check import CloudDesk
from caravan_provisioner.clouds import make_clouds
from caravan_provisioner.clouds.static import StaticCloud
from caravan_provisioner.custody import Custody, handed_back
from caravan_provisioner.desk import MachineDesk
from caravan_provisioner.fleet import Fleet
from caravan_provisioner.installation import Installation
from caravan_provisioner.offers import Crier
from caravan_provisioner.reconcile import Provisioning
from caravan_provisioner.settings import Settings
from caravan_provisioner.site import make_sites
from caravan_provisioner.sweep import Sweeper
from caravan_shared.contracts.events import (
    ClusterDeleted,
    ClusterDeletionRequested,
    ClusterRequested,
    HealthChanged,
    MachinesHandedBack,
    NodesDrained,
    NodesHealthChanged,
    NodesJoined,
)
from caravan_shared.contracts.requests import (
    AskCloudCheck,
    AskMachineChange,
    AskMachineImport,
    AskMachineRelease,
    AskMachineRemoval,
    AskMachines,
    AskSweepRelease,
    AskSweepReport,
    AskUserData,
    UserData,
)
from caravan_shared.plumbing.service import Service

MIGRATIONS = Path(__file__).with_name("migrations")


def build(settings: Settings) -> Service:
    """The provisioner, ready to run."""
    service = Service("provisioner", settings, metadata=store.Table.metadata, migrations=MIGRATIONS)
    sites = make_sites(
        make_clouds(settings.clouds, service.db, service.clock, service.keys).values(),
        service.clock,
        concurrency=settings.creates_in_flight,
        rate_per_s=settings.creates_per_s,
    )
    installation = Installation(service.db, settings.installation)

    async def ask_user_data(question: AskUserData) -> UserData:
        return await service.ask(question, UserData)

    provisioning = Provisioning(
        sites, installation.id, ask_user_data, Fleet(service.db, service.clock, settings), settings
    )
    crier = Crier(sites.values(), service.db, service.clock, settings)

    async def look_again(cloud: str) -> None:
        await crier.look(sites[cloud])

    inventories = [name for name, site in sites.items() if isinstance(site.cloud, StaticCloud)]
    desk = MachineDesk(service.db, service.clock, inventories, look_again)
    cloud_desk = CloudDesk(sites, service.db)

    service.hears(ClusterRequested, handlers.cluster_requested)
    service.hears(ClusterDeletionRequested, handlers.cluster_deletion_requested)
    service.hears(ClusterDeleted, handlers.cluster_deleted)
    service.hears(NodesDrained, handlers.nodes_drained)
    service.hears(NodesJoined, handlers.nodes_joined)
    service.hears(NodesHealthChanged, handlers.nodes_health_changed)
    service.hears(HealthChanged, handlers.health_changed)
    service.hears(MachinesHandedBack, handed_back)
    service.answers(AskMachines, desk.list)
    service.answers(AskMachineImport, desk.take_in)
    service.answers(AskMachineChange, desk.change)
    service.answers(AskMachineRemoval, desk.remove)
    service.answers(AskMachineRelease, desk.release)
    service.answers(AskCloudCheck, cloud_desk.check)
    service.answers(AskSweepReport, cloud_desk.sweep_report)
    service.answers(AskSweepRelease, cloud_desk.release_sweep)
    service.when_restored(lambda tx: store.hold_sweep(tx, service.clock.now()))
    service.reconciles(provisioning.reconcile, give_up=provisioning.give_up, live_keys=store.live_keys)
    service.alongside("offers", crier.run)
    service.alongside("custody", Custody(service.db, service.clock, settings.ask_again_s).run)
    sweeper = Sweeper(sites.values(), installation, service.db, service.clock, service.rounds, settings)
    service.alongside("sweep", sweeper.run)
    return service
