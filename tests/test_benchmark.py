"""The benchmark runs, checks every answer, and prints its table. (What it prints is judged by eye:
figures depend on the machine.)"""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="CPU time is read from /proc")
def test_one_command_prints_the_table() -> None:
    command = [sys.executable, "tests/bench/proxy.py", "--rounds", "1", "--seconds", "0.2"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    for scenario in ("chat20", "burst500", "paced", "whole200", "prompt200k", "tools30"):
        rows = [line for line in done.stdout.splitlines() if line.startswith(scenario)]
        assert [row.split()[1] for row in rows] == ["pipe", "proxy"]
        assert all(float(row.split()[2]) > 0 for row in rows)
    assert "MB with 1000 streams that wait" in done.stdout
