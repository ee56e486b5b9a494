"""Run the api alone: `python -m caravan_api`."""

from caravan_api.app import build
from caravan_api.settings import Settings
from caravan_shared.plumbing.service import run

if __name__ == "__main__":
    run(build(Settings()))
