"""The command `caravan-dns`, also `python -m caravan_dns`; configured by its environment."""

from caravan_dns.app import build
from caravan_dns.settings import Settings
from caravan_shared.plumbing import entry


def main() -> None:
    """Run the service; with `migrate`, only bring its store to the newest version."""
    entry.main(lambda: build(Settings()))


if __name__ == "__main__":
    main()
