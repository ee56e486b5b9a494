"""Run the provisioner: `python -m caravan_provisioner`."""

from caravan_provisioner.app import build
from caravan_provisioner.settings import Settings
from caravan_shared.plumbing.service import run

if __name__ == "__main__":
    run(build(Settings()))
