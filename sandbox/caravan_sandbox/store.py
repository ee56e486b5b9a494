"""The sandbox's own SQLite file: machines and clusters outlive the process, as they do in a cloud.

Changes gather in memory and go to the file in one transaction per `flush`; whoever promises something to a caller
flushes first. It is synchronous on purpose: a batch of a thousand rows takes about ten milliseconds.
"""

import hashlib
import json
import os
import sqlite3
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from caravan_sandbox.kube.cluster import Cluster, Identity
from caravan_sandbox.kube.objects import Key, Stored
from caravan_sandbox.kube.resources import BY_QUALIFIED, Resource
from caravan_sandbox.machines import Machine

LAYOUT = 1  # of the tables below; a file of another layout is refused

_TABLES = """
CREATE TABLE IF NOT EXISTS machines (id TEXT PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS user_data (digest TEXT PRIMARY KEY, content TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS clusters (id TEXT PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS objects (
    cluster TEXT NOT NULL, resource TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL, body BLOB NOT NULL,
    PRIMARY KEY (cluster, resource, namespace, name)
) WITHOUT ROWID;
"""

_ObjectKey = tuple[str, str, str, str]


class WrongLayout(Exception):
    """The file was written by another version of the sandbox."""


class Store:
    """Open with a path; `close` flushes."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))  # it holds the clusters' CA keys
        self._db = sqlite3.connect(path)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")  # a killed process loses nothing; the simulated cloud may
        layout = self._db.execute("PRAGMA user_version").fetchone()[0]
        if layout not in (0, LAYOUT):
            raise WrongLayout(f"{path} has layout {layout}, this sandbox reads {LAYOUT}: delete the file to begin anew")
        self._db.executescript(_TABLES)
        self._db.execute(f"PRAGMA user_version={LAYOUT}")
        self._machines: dict[str, Machine | None] = {}
        self._clusters: dict[str, Identity | None] = {}
        self._objects: dict[_ObjectKey, Stored | None] = {}

    def save_machine(self, machine: Machine) -> None:
        """Note a new or changed machine for the next flush."""
        self._machines[machine.id] = machine

    def drop_machine(self, machine_id: str) -> None:
        """Note that a machine is gone."""
        self._machines[machine_id] = None

    def save_cluster(self, identity: Identity) -> None:
        """Note a new or changed cluster."""
        self._clusters[identity.id] = identity

    def drop_cluster(self, cluster_id: str) -> None:
        """Note that a cluster is gone, with all its objects."""
        self._clusters[cluster_id] = None
        self._objects = {key: value for key, value in self._objects.items() if key[0] != cluster_id}

    def save_object(self, cluster: Cluster, resource: Resource, key: Key, stored: Stored | None) -> None:
        """Note a changed object, or one that is gone; the cluster's version goes with it."""
        self._objects[cluster.identity.id, resource.qualified, *key] = stored
        self.save_cluster(cluster.identity)

    def keep_user_data(self, text: str) -> str:
        """Store user-data once, however many machines boot with it; returns its digest."""
        digest = hashlib.sha256(text.encode()).hexdigest()
        with self._db:
            self._db.execute("INSERT OR IGNORE INTO user_data VALUES (?, ?)", (digest, text))
        return digest

    def flush(self) -> None:
        """Write everything noted, in one transaction."""
        if not (self._machines or self._clusters or self._objects):
            return
        with self._db:
            self._flush_machines()
            self._flush_clusters()
            self._flush_objects()
        self._machines, self._clusters, self._objects = {}, {}, {}

    def machines(self) -> Iterator[Machine]:
        """Every stored machine."""
        for (body,) in self._db.execute("SELECT body FROM machines"):
            yield Machine.from_row(json.loads(body))

    def user_data(self) -> dict[str, str]:
        """Every stored user-data, by digest."""
        return dict(self._db.execute("SELECT digest, content FROM user_data"))

    def clusters(self) -> Iterator[Identity]:
        """Every stored cluster."""
        for (body,) in self._db.execute("SELECT body FROM clusters"):
            yield Identity(**json.loads(body))

    def objects(self, cluster_id: str) -> Iterator[tuple[Resource, Stored]]:
        """Every stored object of a cluster."""
        rows = self._db.execute("SELECT resource, body FROM objects WHERE cluster = ?", (cluster_id,))
        for qualified, body in rows:
            yield BY_QUALIFIED[qualified], Stored(json.loads(body), body)

    def forget_unused_user_data(self, used: set[str]) -> None:
        """Delete user-data that no machine boots with any more: it holds join tokens."""
        unused = [(digest,) for digest in self.user_data() if digest not in used]
        with self._db:
            self._db.executemany("DELETE FROM user_data WHERE digest = ?", unused)

    def close(self) -> None:
        """Flush and close."""
        self.flush()
        self._db.close()

    def _flush_machines(self) -> None:
        kept = [(machine.id, json.dumps(vars(machine))) for machine in self._machines.values() if machine]
        gone = [(machine_id,) for machine_id, machine in self._machines.items() if machine is None]
        self._db.executemany("INSERT OR REPLACE INTO machines VALUES (?, ?)", kept)
        self._db.executemany("DELETE FROM machines WHERE id = ?", gone)

    def _flush_clusters(self) -> None:
        kept = [(identity.id, json.dumps(asdict(identity))) for identity in self._clusters.values() if identity]
        gone = [(cluster_id,) for cluster_id, identity in self._clusters.items() if identity is None]
        self._db.executemany("INSERT OR REPLACE INTO clusters VALUES (?, ?)", kept)
        self._db.executemany("DELETE FROM clusters WHERE id = ?", gone)
        self._db.executemany("DELETE FROM objects WHERE cluster = ?", gone)

    def _flush_objects(self) -> None:
        kept = [(*key, stored.json) for key, stored in self._objects.items() if isinstance(stored, Stored)]
        gone = [key for key, stored in self._objects.items() if stored is None]
        self._db.executemany("INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?, ?)", kept)
        self._db.executemany(
            "DELETE FROM objects WHERE cluster = ? AND resource = ? AND namespace = ? AND name = ?", gone
        )
