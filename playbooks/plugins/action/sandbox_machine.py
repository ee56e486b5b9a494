"""Run one command on a simulated machine, over the console that the sandbox cloud serves. The sandbox's only plugin.

It runs inside the Ansible worker: no module is copied and no Python is started, because a machine that exists only as a
row in the sandbox has no shell to start one in. Secrets come as files (`pki_file`, `caravan_sandbox_token_file`), so
that they are no task argument; what still carries one (a kubeadm config with its token) belongs under `no_log`.

Results are Ansible's own three: `changed`, `failed` (the machine answered and refused) and `unreachable` (it is
switched off, has not booted, or the sandbox does not answer).
"""

from __future__ import annotations

import http.client
import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure
from ansible.plugins.action import ActionBase

TIMEOUT_S = 60  # the sandbox's slowest command is kubeadm, a few simulated seconds
READ_ONLY = frozenset({"inspect"})
POWER_PROBLEMS = frozenset({"not_booted", "powered_off"})


class ActionModule(ActionBase):
    """`sandbox_machine: {command, arguments?, pki_file?, machine_id?}`; see the sandbox's README for the commands."""

    _requires_connection = False
    _supports_check_mode = True
    _VALID_ARGS = frozenset({"command", "arguments", "pki_file", "machine_id"})

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Send the command and translate the answer."""
        super().run(tmp, task_vars)
        given, variables = self._task.args, task_vars or {}
        if not given.get("command"):
            raise AnsibleActionFail("sandbox_machine needs a command")
        if self._task.check_mode and given["command"] not in READ_ONLY:
            return {"skipped": True, "msg": "not sent in check mode"}
        arguments = dict(given.get("arguments") or {})
        if given.get("pki_file"):
            arguments["pki"] = json.loads(Path(given["pki_file"]).read_text())
        machine_id = given.get("machine_id") or variables["caravan_machine_id"]
        status, answer = self._send(
            url=variables["caravan_sandbox_url"],
            token=Path(variables["caravan_sandbox_token_file"]).read_text().strip(),
            path=f"/v1/machines/{machine_id}/commands",
            body={"command": given["command"], "arguments": arguments},
        )
        return _result(status, answer)

    def _send(self, *, url: str, token: str, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        where = urlsplit(url)
        connection_type = http.client.HTTPSConnection if where.scheme == "https" else http.client.HTTPConnection
        connection = connection_type(where.netloc, timeout=TIMEOUT_S)
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        try:
            connection.request("POST", path, body=json.dumps(body), headers=headers)
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        except (OSError, http.client.HTTPException) as error:
            raise AnsibleConnectionFailure(f"the sandbox cloud at {url} does not answer: {error}") from error
        except json.JSONDecodeError as error:
            raise AnsibleActionFail(f"the sandbox cloud at {url} answered something that is not JSON") from error
        finally:
            connection.close()


def _result(status: int, answer: dict[str, Any]) -> dict[str, Any]:
    if status == http.HTTPStatus.OK:
        return {"changed": bool(answer["changed"]), "machine": answer.get("result") or {}}
    error = answer.get("error") or {}
    code, message = error.get("code", f"http_{status}"), error.get("message", f"HTTP {status}")
    if status == http.HTTPStatus.NOT_FOUND:
        return {"unreachable": True, "msg": "the cloud has no such machine"}
    if code in POWER_PROBLEMS or status == http.HTTPStatus.SERVICE_UNAVAILABLE:
        return {"unreachable": True, "msg": f"the machine cannot be reached: {message}"}
    return {"failed": True, "code": code, "msg": message}
