"""Three real nats-servers that are one JetStream cluster with a password, of which a test stops one or the other."""

from pathlib import Path

from tests.support.nats import NatsServer
from tests.support.ports import free_port

SIZE = 3
_USER, _PASSWORD = "caravan", "of-the-cluster"


class NatsCluster:
    """Its servers, each with a store of its own."""

    def __init__(self, folder: Path) -> None:
        ports = [free_port() for _ in range(SIZE)]
        routes = ", ".join(f'"nats://127.0.0.1:{port}"' for port in ports)
        self.servers = [
            NatsServer(
                folder / f"nats-{number}",
                more=f"server_name: nats-{number}\n"
                f'cluster {{ name: caravan, listen: "127.0.0.1:{port}", routes: [{routes}] }}\n'
                f"authorization {{ user: {_USER}, password: {_PASSWORD} }}\n",
            )
            for number, port in enumerate(ports, 1)
        ]

    @property
    def url(self) -> str:
        """Where clients connect: any of them."""
        return ",".join(server.url_of(_USER, _PASSWORD) for server in self.servers)

    def start(self) -> None:
        """Start all; they elect a leader by themselves."""
        for server in self.servers:
            server.start()

    def stop(self) -> None:
        """End all."""
        for server in self.servers:
            server.stop()
