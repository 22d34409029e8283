"""systemd accepts the units, and rates what they allow a process to do."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.deploy.files import SYSTEMD, unit

ANALYZE = shutil.which("systemd-analyze")
UNITS = Path("/usr/lib/systemd/system")
TIMERS = sorted(path.name for path in SYSTEMD.glob("*.timer"))
SERVICES = ["agency-workers-serve.service", "agency-workers-once@metrics.service"]
# Of 10, by `systemd-analyze security`. Most of the rest is the network.
EXPOSURE = 1.5

pytestmark = pytest.mark.skipif(
    ANALYZE is None or not UNITS.is_dir(),
    reason="systemd is not installed: apt-get install systemd",
)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree with systemd's units and ours, installed as in docs/deploy/systemd.md."""
    tree = tmp_path_factory.mktemp("root")
    shutil.copytree(UNITS, tree / "usr/lib/systemd/system", symlinks=True)
    shutil.copytree(SYSTEMD, tree / "etc/systemd/system")
    for program in ("opt/agency-workers/.venv/bin/python", "usr/bin/kill"):
        path = tree / program
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)
    return tree


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    assert ANALYZE is not None
    return subprocess.run([ANALYZE, "--no-pager", *arguments], capture_output=True, text=True)


def verify(root: Path) -> subprocess.CompletedProcess[str]:
    return analyze(
        "verify", f"--root={root}", "--man=no", "--recursive-errors=one", SERVICES[0], *TIMERS
    )


def test_systemd_accepts_the_units_without_warnings(root: Path) -> None:
    verified = verify(root)
    assert (verified.returncode, verified.stderr) == (0, "")


@pytest.mark.parametrize("mistake", ["MemoryMaximum=1G", "MemoryMax=much", "RestartSecs=5"])
def test_systemd_reports_mistakes(root: Path, mistake: str, tmp_path: Path) -> None:
    tree = tmp_path / "root"
    shutil.copytree(root, tree, symlinks=True)
    with (tree / "etc/systemd/system/agency-workers-.service.d/hardening.conf").open("a") as file:
        file.write(f"{mistake}\n")
    verified = verify(tree)
    assert verified.returncode != 0 or verified.stderr, mistake
    assert "hardening.conf" in verified.stderr


@pytest.mark.parametrize("service", SERVICES)
def test_the_units_confine_the_process(root: Path, service: str) -> None:
    rated = analyze("security", "--offline=true", f"--root={root}", service)
    (exposure,) = re.findall(r"Overall exposure level for \S+: ([\d.]+)", rated.stdout)
    assert float(exposure) <= EXPOSURE, rated.stdout


@pytest.mark.parametrize("timer", TIMERS)
def test_systemd_reads_the_timers(timer: str) -> None:
    assert analyze("calendar", unit(timer)["Timer"]["OnCalendar"]).returncode == 0


def test_each_worker_has_a_timer() -> None:
    assert [timer.partition("@")[2] for timer in TIMERS] == [
        "metrics.timer", "notifications.timer", "retention.timer",
    ]  # fmt: skip
