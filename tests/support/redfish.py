"""BMCs that are none and speak Redfish all the same: one process of sushy-emulator, with a system for each machine."""

import hashlib
import json
import ssl
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from os import environ
from pathlib import Path
from typing import Any

import aiohttp
import bcrypt
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from caravan_cli.up.processes import Process, Program
from tests.support.eventually import eventually
from tests.support.http import answers
from tests.support.ports import free_port
from tests.support.redfish_emulator import Meddling

USER, PASSWORD = "operator", "canary-of-the-bmc-pässword"
_STARTS_WITHIN_S = 30.0


@dataclass
class Redfish:
    """The running emulator. Its systems are numbered; what was meddled with lasts until `meddle` is called again."""

    folder: Path
    url: str
    fingerprint: str
    authority: Path
    """PEM file of what signed its certificate: the certificate itself."""
    http: aiohttp.ClientSession

    def bmc(self, number: int, **changes: Any) -> dict[str, Any]:
        """What an inventory's entry says of the BMC of the machine with this number. The password comes apart."""
        address = f"{self.url.replace('https', 'redfish')}/redfish/v1/Systems/{system(number)}"
        return {"address": address, "user": USER, "fingerprint": self.fingerprint, **changes}

    def meddle(self, **meddling: Any) -> None:
        """Have it behave so from now on."""
        told: Meddling = meddling  # type: ignore[assignment]
        draft = self.folder / "meddling.draft"
        draft.write_text(json.dumps(told))
        draft.replace(self.folder / "meddling.json")

    async def power(self, number: int) -> str:
        """On or Off."""
        async with self.http.get(f"/redfish/v1/Systems/{system(number)}") as response:
            return str((await response.json())["PowerState"])

    async def set_power(self, number: int, *, on: bool) -> None:
        """Have a machine on or off, as a person at it would."""
        path = f"/redfish/v1/Systems/{system(number)}/Actions/ComputerSystem.Reset"
        async with self.http.post(path, json={"ResetType": "On" if on else "ForceOff"}) as response:
            response.raise_for_status()

        async def is_so() -> bool:
            return await self.power(number) == ("On" if on else "Off")

        await eventually(is_so, within=_STARTS_WITHIN_S, saying="the power is as wanted")

    def resets(self, number: int) -> int:
        """How many it was asked for, whatever came of them."""
        return (self.folder / "log").read_text().count(f"POST /redfish/v1/Systems/{system(number)}/Actions/")


def system(number: int) -> str:
    """The id of a system."""
    return f"00000000-0000-0000-0000-{number:012d}"


@asynccontextmanager
async def emulating(folder: Path, numbers: Iterable[int]) -> AsyncIterator[Redfish]:
    """An emulator with a system, switched on, for each of these machines."""
    port = free_port()
    certificate = _write_certificate(folder)
    (folder / "users").write_text(f"{USER}:{bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()}\n")
    nics: list[str] = []
    systems = [{"uuid": system(n), "name": f"machine-{n}", "power_state": "On", "nics": nics} for n in numbers]
    (folder / "config.py").write_text(
        f"SUSHY_EMULATOR_FAKE_DRIVER = True\n"
        f"SUSHY_EMULATOR_STATE_DIR = {str(folder)!r}\n"
        f"SUSHY_EMULATOR_AUTH_FILE = {str(folder / 'users')!r}\n"
        f"SUSHY_EMULATOR_SSL_CERT = {str(folder / 'cert.pem')!r}\n"
        f"SUSHY_EMULATOR_SSL_KEY = {str(folder / 'key.pem')!r}\n"
        f"SUSHY_EMULATOR_FAKE_SYSTEMS = {systems!r}\n"
    )
    words = (sys.executable, "-m", "tests.support.redfish_emulator")
    told = (str(folder / "config.py"), str(port), str(folder / "meddling.json"))
    url = f"https://127.0.0.1:{port}"
    trust = ssl.create_default_context(cafile=folder / "cert.pem")
    headers = {"Authorization": aiohttp.encode_basic_auth(USER, PASSWORD, encoding="utf-8")}
    async with aiohttp.ClientSession(url, headers=headers, connector=aiohttp.TCPConnector(ssl=trust)) as http:
        redfish = Redfish(folder, url, certificate, folder / "cert.pem", http)
        redfish.meddle()
        running = Process(Program("redfish", (*words, *told), port, None), folder / "log", environ)
        try:
            await eventually(
                lambda: answers(http, "/redfish/v1/Systems", running), within=_STARTS_WITHIN_S, saying="the BMCs answer"
            )
            yield redfish
        finally:
            running.stop(within_s=_STARTS_WITHIN_S)


def _write_certificate(folder: Path) -> str:
    """One that it signed itself, as BMCs have; returns its SHA-256."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "bmc")])
    address = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(address, critical=False)
        .sign(key, SHA256())
    )
    (folder / "cert.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    (folder / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return hashlib.sha256(certificate.public_bytes(Encoding.DER)).digest().hex(":")
