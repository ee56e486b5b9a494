"""What is in a filled mirror is what the kubeadm in it expects, and a wrong file in it is found."""

import asyncio
import shutil
from pathlib import Path

import pytest

from caravan_cli.artifacts.mirror import Mirror
from caravan_cli.errors import CliError
from caravan_cli.up.docker import Docker
from tests.real.conftest import OLDER, VERSION

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]


async def printed(program: Path, *arguments: str) -> list[str]:
    """The lines that a program of the mirror prints."""
    process = await asyncio.create_subprocess_exec(program, *arguments, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    assert process.returncode == 0
    return out.decode().split()


@pytest.mark.parametrize("version", [VERSION, OLDER])
async def test_mirror_has_each_image_that_its_kubeadm_expects(docker: Docker, version: str) -> None:
    kubeadm = docker.mirror / "kubernetes" / f"v{version}" / "kubeadm"
    assert await printed(kubeadm, "version", "--output", "short") == [f"v{version}"]
    expected = await printed(kubeadm, "config", "images", "list", "--kubernetes-version", f"v{version}")
    for image in expected:
        name, _, tag = image.rpartition("/")[2].partition(":")
        assert (docker.mirror / "images" / f"{name}-{tag}.tar").is_file(), image


def test_every_file_of_the_mirror_is_what_its_list_says(docker: Docker) -> None:
    assert len(list(Mirror(docker.mirror).verify())) > 20


def test_a_file_that_changed_in_a_mirror_is_named(docker: Docker, tmp_path: Path) -> None:
    pause = next((docker.mirror / "images").glob("pause-*.tar"))
    (tmp_path / "images").mkdir()
    shutil.copy(pause, tmp_path / "images")
    with (tmp_path / "images" / pause.name).open("ab") as file:
        file.write(b"more")
    listed = (docker.mirror / "SHA256SUMS").read_text().splitlines()
    (tmp_path / "SHA256SUMS").write_text("".join(f"{line}\n" for line in listed if line.endswith(pause.name)))
    with pytest.raises(CliError, match=rf"images/{pause.name} has a wrong SHA-256.*expected [0-9a-f]{{64}}, found"):
        list(Mirror(tmp_path).verify())
