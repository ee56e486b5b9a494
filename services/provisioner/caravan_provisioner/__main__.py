"""The command `caravan-provisioner`, also `python -m caravan_provisioner`; configured by its environment."""

from caravan_provisioner.app import build
from caravan_provisioner.settings import Settings
from caravan_shared.plumbing import entry


def main() -> None:
    """Run the service; with `migrate`, only bring its store to the newest version."""
    entry.main(lambda: build(Settings()))


if __name__ == "__main__":
    main()
