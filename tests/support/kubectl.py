"""The real `kubectl` under a kubeconfig that Caravan handed out, as a user runs it."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Answer:
    """How a command ended."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Kubectl:
    """kubectl with one kubeconfig."""

    binary: Path
    kubeconfig: Path
    env: Mapping[str, str] | None = None
    """All that it finds in its environment; None: what the test does."""

    async def run(self, *arguments: str, stdin: str | None = None, within: float = 60) -> Answer:
        """Run it to its end, whatever that is."""
        process = await asyncio.create_subprocess_exec(
            self.binary,
            "--kubeconfig",
            self.kubeconfig,
            *arguments,
            env=self.env,
            stdin=asyncio.subprocess.PIPE if stdin is not None else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            out, err = await asyncio.wait_for(
                process.communicate(stdin.encode() if stdin is not None else None), within
            )
        except TimeoutError as error:
            process.kill()
            await process.wait()
            raise AssertionError(f"kubectl {' '.join(arguments)} took longer than {within} s") from error
        return Answer(process.returncode or 0, out.decode(), err.decode())

    async def __call__(self, *arguments: str, stdin: str | None = None, within: float = 60) -> str:
        """Its output; the test fails with its own words where it fails."""
        answer = await self.run(*arguments, stdin=stdin, within=within)
        assert answer.code == 0, f"kubectl {' '.join(arguments)}: {answer.err or answer.out}"
        return answer.out

    async def get(self, *arguments: str) -> list[dict[str, Any]]:
        """The objects that `kubectl get` lists."""
        items: list[dict[str, Any]] = json.loads(await self("get", *arguments, "--output", "json"))["items"]
        return items

    async def apply(self, manifest: str) -> None:
        """`kubectl apply` of this YAML."""
        await self("apply", "--filename", "-", stdin=manifest)

    async def ready_nodes(self) -> set[str]:
        """Names of the nodes that are Ready."""
        return {
            node["metadata"]["name"]
            for node in await self.get("nodes")
            if any(one["type"] == "Ready" and one["status"] == "True" for one in node["status"]["conditions"])
        }
