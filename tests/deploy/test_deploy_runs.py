"""What takes its time: the image built and run, every validator, the installer. All ``long``."""

import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy.shipped import DEPLOY, ROOT

pytestmark = pytest.mark.long
_IMAGE_TOOLS = ("buildah", "mmdebstrap", "bwrap", "curl")


def _why_no_image() -> str:
    """Why the image cannot be built here; empty if it can."""
    if platform.system() != "Linux" or os.geteuid() != 0:
        return "the image is built by root on Linux"
    missing = [one for one in _IMAGE_TOOLS if shutil.which(one) is None]
    if missing and shutil.which("apt-get") is None:
        return f"{', '.join(missing)}: not on the path, and no apt to install them"
    return ""


@pytest.mark.skipif(bool(_why_no_image()), reason=_why_no_image() or "-")
def test_the_image_is_built_and_streams_a_chat() -> None:
    done = subprocess.run(
        [str(DEPLOY / "build-image.sh")], capture_output=True, text=True, timeout=580, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    size = re.search(r"size: (\d+) MB unpacked beyond", done.stdout)
    assert size is not None
    assert 20 < int(size[1]) < 120
    assert "chunks, then [DONE]" in done.stdout
    assert "Read-only file system" in done.stdout


def test_every_validator_is_content() -> None:
    done = subprocess.run(
        [sys.executable, str(DEPLOY / "validate.py")],
        capture_output=True, text=True, timeout=400, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 failed, " in done.stdout
    ran = re.findall(r"^(\S+).* ok(?:,.*)?$", done.stdout, re.MULTILINE)
    assert ran, done.stdout
    skipped = re.findall(r"^\S+.* skipped: .*$", done.stdout, re.MULTILINE)
    if skipped:
        pytest.skip(
            f"{len(ran)} checks were ok; " + "; ".join(" ".join(one.split()) for one in skipped)
        )


def test_the_installer_lays_out_what_the_unit_starts(tmp_path: Path) -> None:
    """Twice: the second time it upgrades, and keeps the settings and their key."""
    for _ in range(2):
        done = subprocess.run(
            [str(DEPLOY / "systemd" / "install.sh")],
            env={**os.environ, "DESTDIR": str(tmp_path)},
            capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        settings = tmp_path / "etc/bedrock-openai-proxy/proxy.env"
        text = settings.read_text()
        assert settings.stat().st_mode & 0o777 == 0o600
        assert len(re.findall(r"^BEDROCK_PROXY_API_KEY=[0-9a-f]{64}$", text, re.MULTILINE)) == 1
    assert "settings, with a new API key" not in done.stdout
    assert (tmp_path / "etc/systemd/system/bedrock-openai-proxy@.service").exists()
    venv = tmp_path / "opt/bedrock-openai-proxy/venv"
    program = (venv / "bin/bedrock-openai-proxy").read_text()
    assert program.startswith("#!/opt/bedrock-openai-proxy/venv/bin/python3\n")
    asked = [str(venv / "bin/python3"), "-m", "proxy", "version"]
    version = subprocess.run(asked, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "0.1.0" in version.stdout
    assert ROOT not in tmp_path.parents
