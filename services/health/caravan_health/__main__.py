"""`python -m caravan_health`: run the health service alone."""

from caravan_health.app import build
from caravan_health.settings import Settings
from caravan_shared.plumbing.service import run

run(build(Settings()))
