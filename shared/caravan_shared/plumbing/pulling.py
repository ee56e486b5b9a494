"""Make FastStream's pull loop patient: it pulls again at once, whatever went wrong.

On a connection that is closed for good that loop never yields: it would freeze the process, its liveness route
included, just when a supervisor has to see it. While a consumer is missing it would ask the server without a pause.
"""

import asyncio
from typing import Any

import nats.errors
from nats.aio.msg import Msg
from nats.js import JetStreamContext

from caravan_shared.plumbing.log import get_logger

_TRY_AGAIN_S = 0.5

log = get_logger(__name__)


def make_patient(subscription: JetStreamContext.PullSubscription) -> None:
    """Have `subscription` pause after an error, end with its connection, and take an idle pull as no messages."""
    pull = subscription.fetch

    async def fetch(*args: Any, **kwargs: Any) -> list[Msg]:
        try:
            return await pull(*args, **kwargs)
        except TimeoutError:
            return []
        except nats.errors.ConnectionClosedError as error:
            raise asyncio.CancelledError from error  # for good: end the loop
        except nats.errors.Error as error:
            log.debug("cannot pull", reason=str(error) or type(error).__name__)
            await asyncio.sleep(_TRY_AGAIN_S)
            return []

    subscription.fetch = fetch  # type: ignore[method-assign]
