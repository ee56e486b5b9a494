"""The local stack: nats-server, the sandbox and the five services as processes of their own, in one state directory."""

from caravan_cli.up import command
from caravan_cli.up.errors import StackError, StackTaken
from caravan_cli.up.layout import Layout, Ports
from caravan_cli.up.stack import Stack

__all__ = ["Layout", "Ports", "Stack", "StackError", "StackTaken", "command"]
