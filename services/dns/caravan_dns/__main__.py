"""`python -m caravan_dns`: run the service alone, configured by its environment."""

from caravan_dns.app import build
from caravan_dns.settings import Settings
from caravan_shared.plumbing.service import run

run(build(Settings()))
