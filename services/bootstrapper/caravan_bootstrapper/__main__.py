"""Run the bootstrapper: `python -m caravan_bootstrapper`."""

from caravan_bootstrapper.app import build
from caravan_bootstrapper.settings import Settings
from caravan_shared.plumbing.service import run

if __name__ == "__main__":
    run(build(Settings()))
