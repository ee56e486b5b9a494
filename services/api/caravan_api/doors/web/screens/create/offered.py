"""What the forms of clusters and pools offer: versions, clouds and their machines, as they are offered right now."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from caravan_api.doors.web.page import Page
from caravan_api.doors.web.screens.create import wish
from caravan_api.offers import offered_clouds, offered_versions
from caravan_shared.contracts.events import CloudOffered
from caravan_shared.contracts.facts import OfferedMachineType


@dataclass(frozen=True, slots=True)
class Choices:
    """What there is, and how it is called in a form."""

    versions: tuple[str, ...]
    clouds: Mapping[str, CloudOffered]

    @property
    def version_names(self) -> Mapping[str, str]:
        """Newest first."""
        return same(self.versions)

    @property
    def cloud_names(self) -> Mapping[str, str]:
        """That nothing real is made there stands beside the name."""
        return {name: f"{name}, simulated" if offer.simulated else name for name, offer in self.clouds.items()}

    def machines(self, cloud: str) -> Mapping[str, str]:
        """The machine types of a cloud, with their sizes."""
        return {each.name: _machine(each) for each in wish.machines_of(cloud, self.clouds)}


async def of(page: Page) -> Choices:
    """What is offered now. Raises `NothingOfferedYet`."""
    async with page.api.db.reading() as session:
        return Choices(await offered_versions(session), await offered_clouds(session))


def same(values: Iterable[str]) -> dict[str, str]:
    """Choices that are called what they are."""
    return {str(value): str(value) for value in values}


def _machine(offered: OfferedMachineType) -> str:
    return f"{offered.name}: {offered.cpus} CPU, {offered.memory_mib / 1024:g} GiB"
