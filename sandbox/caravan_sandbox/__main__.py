"""`python -m caravan_sandbox`: run the simulated cloud until SIGINT or SIGTERM."""

import asyncio
import signal
import sys

from caravan_sandbox.app import build
from caravan_sandbox.settings import Settings
from caravan_shared.plumbing.log import configure_logging

WARNING = """\
==========================================================================
  CARAVAN SANDBOX: this cloud and its kube-apiservers are SIMULATED.
  Its machines run nothing, its pods do not exist. Never use it for work.
==========================================================================
"""


async def run(settings: Settings) -> None:
    """Run until told to stop."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with build(settings).running():
        await stop.wait()


def main() -> None:
    """Entry point."""
    settings = Settings()
    configure_logging("sandbox", settings.log_level, settings.log_format)
    sys.stderr.write(WARNING)
    asyncio.run(run(settings))


if __name__ == "__main__":
    main()
