"""What machines boot with."""

from datetime import UTC, datetime
from uuid import UUID

import pytest

from caravan_provisioner.clouds.base import Capabilities
from caravan_provisioner.creation import question_about
from caravan_provisioner.nodes import Node
from caravan_shared.contracts.facts import Connection
from caravan_shared.contracts.spec import Role
from caravan_shared.contracts.states import MachineState

NOW = datetime(2026, 1, 1, tzinfo=UTC)


BOTH = (True, False)


@pytest.mark.parametrize(
    ("role", "connection", "user_data", "pull", "asked"),
    [
        (Role.WORKER, Connection.SANDBOX, True, True, True),
        (Role.WORKER, Connection.SANDBOX, True, False, False),
        *((Role.CONTROL_PLANE, Connection.SANDBOX, True, pull, False) for pull in BOTH),
        *((role, Connection.SSH, True, pull, True) for role in Role for pull in BOTH),
        *((Role.WORKER, Connection.SSH, False, pull, False) for pull in BOTH),
    ],
)
def test_machines_that_must_let_us_in_or_join_by_themselves_get_user_data(
    role: Role, connection: Connection, user_data: bool, pull: bool, asked: bool
) -> None:
    node = Node(UUID(int=1), "n", "set", role, "x", 1, "medium", NOW, MachineState.PLANNED, NOW)
    can = Capabilities(user_data=user_data, pull=pull, max_batch=1, simulated=False, connection=connection)
    question = question_about(node, can)
    assert (question is not None) is asked
    if question:
        assert (question.node_set, question.connection, question.pull) == ("set", connection, pull)
