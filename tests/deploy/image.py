"""The container image, built and run by `make image`, because that takes minutes.

It needs no registry: the base is a Debian made by debootstrap from apt's own mirror. buildah builds
the image; podman, which uses the same store, runs it as the files in deploy/ do: with a read-only
root file system and as an unprivileged user.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import yaml

from local.control import direct
from tests.conftest import LocalStack
from tests.deploy.files import ROOT, documents
from tests.integration.processes import LONG, eventually

PROGRAMS = ("buildah", "podman", "runc", "catatonit", "debootstrap")
MISSING = [program for program in PROGRAMS if shutil.which(program) is None]
# The debootstrap of a release, kept for later runs.
BASES = ROOT / ".build" / "image"
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
# The most bytes that the image may add to its base: packages and our code.
SIZE = 130_000_000
SECRETS = ("SUPABASE_SERVICE_ROLE_KEY", "SLACK_BOT_TOKEN")
# The limits of docker-compose.yml.
LIMITS = (
    "--read-only", "--cap-drop=all", "--security-opt=no-new-privileges", "--memory=256m",
    "--pids-limit=256", "--network=host",
)  # fmt: skip

pytestmark = [
    pytest.mark.skipif(bool(MISSING), reason=f"apt-get install {' '.join(MISSING)}"),
    pytest.mark.skipif(os.geteuid() != 0, reason="debootstrap and containers need root here"),
]


@dataclass(frozen=True)
class File:
    """A file's properties."""

    mode: int
    owner: int
    size: int
    content: str

    @classmethod
    def of(cls, path: Path) -> File:
        is_link = path.is_symlink()
        content = os.readlink(path) if is_link else sha256(path.read_bytes()).hexdigest()
        known = path.lstat()
        return cls(known.st_mode, known.st_uid, known.st_size, content)


@dataclass(frozen=True)
class Engine:
    """buildah and podman over one store of images."""

    store: Path

    def do(self, program: str, *arguments: object, check: bool = True) -> str:
        """Run a command; returns its output."""
        options = [f"--root={self.store}/images", f"--runroot={self.store}/run"]
        done = subprocess.run(
            [program, *options, "--storage-driver=overlay", *map(str, arguments)],
            env={**os.environ, "CONTAINERS_CONF": str(self.store / "containers.conf")},
            cwd=ROOT, capture_output=True, text=True,
        )  # fmt: skip
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    def build(self, name: str, base: str) -> str:
        """Build an image of this clone without caches; returns its id."""
        return self.do(
            "buildah", "build", "--quiet", "--isolation=chroot", "--format=docker", "--pull-never",
            "--layers=false", "--timestamp=0",
            # this machine's certificates may include a company's proxy
            *([f"--volume={CERTIFICATES}:{CERTIFICATES}:ro", f"--env=PIP_CERT={CERTIFICATES}"]
              if CERTIFICATES.exists() else []),
            f"--build-arg=PYTHON_IMAGE={base}", "--file=deploy/Dockerfile", f"--tag={name}", ".",
        ).splitlines()[-1]  # fmt: skip

    def files(self, image: str) -> dict[str, File]:
        """Every file in the image."""
        container = self.do("buildah", "from", "--pull-never", image)
        root = Path(self.do("buildah", "mount", container))
        found = {
            path.relative_to(root).as_posix(): File.of(path)
            for path in root.rglob("*")
            if path.is_symlink() or path.is_file()
        }
        self.do("buildah", "rm", container)
        return found

    def inspect(self, container: str) -> dict[str, Any]:
        (found,) = json.loads(self.do("podman", "inspect", container))
        assert isinstance(found, dict)
        return found


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    store = tmp_path_factory.mktemp("store")
    # runc, which supports machines with cgroups v1; limits that work there, too
    (store / "containers.conf").write_text(
        '[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]\n'
        '[engine]\nruntime = "runc"\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n'
    )
    made = Engine(store)
    yield made
    made.do("podman", "pod", "rm", "--all", "--force", "--time=0")
    made.do("podman", "rm", "--all", "--force", "--time=0")
    made.do("buildah", "rm", "--all")
    made.do("podman", "rmi", "--all", "--force")


def mirror() -> tuple[str, str]:
    """Address and release of the Debian that apt uses."""
    listed = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI) $(CODENAME) $(RELEASE)",
         "Created-By: Packages", "Origin: Debian", "Component: main"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    for line in listed.stdout.splitlines():
        address, codename, release = line.split()
        if release == codename:  # neither its updates nor its backports
            return address, codename
    raise AssertionError("apt has no list of Debian packages: apt-get update")


@pytest.fixture(scope="module")
def base(engine: Engine) -> str:
    """The name of a minimal Debian image with Python."""
    address, codename = mirror()
    archive = BASES / f"{codename}.tar"
    if not archive.exists():
        root = BASES / f"{codename}.root"
        subprocess.run(
            ["debootstrap", "--variant=minbase", "--include=python3-venv,ca-certificates",
             codename, root, address],
            check=True, stdout=sys.stderr,
        )  # fmt: skip
        subprocess.run(["tar", "-C", root, "-cf", f"{archive}.part", "."], check=True)
        shutil.rmtree(root)
        archive.with_name(f"{archive.name}.part").rename(archive)
    container = engine.do("buildah", "from", "scratch")
    engine.do("buildah", "add", "--quiet", container, archive, "/")
    engine.do("buildah", "commit", "--quiet", "--rm", container, "localhost/base")
    return "localhost/base"


@pytest.fixture(scope="module")
def image(engine: Engine, base: str) -> str:
    return engine.build("localhost/agency-workers", base)


def test_the_same_clone_makes_the_same_files(engine: Engine, base: str, image: str) -> None:
    assert engine.files(engine.build("localhost/again", base)) == engine.files(image)


def test_it_adds_locked_packages_and_no_build_tools(engine: Engine, base: str, image: str) -> None:
    old, new = engine.files(base), engine.files(image)
    added = {path: file for path, file in new.items() if old.get(path) != file}
    assert all(path.startswith("opt/agency-workers/") for path in added), added.keys()
    assert sum(file.size for file in added.values()) < SIZE
    assert not any(
        file.owner or file.mode & 0o022
        for path, file in added.items()
        if not stat.S_ISLNK(file.mode)
    ), "the user could change files"
    installed = {path.split("/")[-2] for path in added if path.endswith(".dist-info/METADATA")}
    lock = (ROOT / "server" / "requirements-all.txt").read_text(encoding="utf-8")
    pinned = {line.split("==")[0] for line in lock.splitlines() if line[:1].isalnum()}
    names = {
        re.sub(r"[._]", "-", each.removesuffix(".dist-info").rpartition("-")[0]).lower()
        for each in installed
    }
    assert names <= pinned
    assert not {"pip", "setuptools", "wheel"} & names
    ours = {path for path in added if path.startswith("opt/agency-workers/app/")}
    assert {path.split("/")[3] for path in ours} == {"workers", "server"}
    assert {path for path in ours if path.endswith(".py")} <= {
        path.removesuffix(".cpython-311.pyc").replace("__pycache__/", "") + ".py"
        for path in ours
        if path.endswith(".pyc")
    }, "some have no bytecode"


@pytest.fixture
def secrets(stack: LocalStack, tmp_path: Path) -> Path:
    """A folder with the keys, readable only by the container's user."""
    folder = tmp_path / "secrets"
    folder.mkdir()
    for name in SECRETS:
        path = folder / name.lower()
        path.write_text(stack.environment()[name] + "\n")
        os.chown(path, 10001, 10001)
        path.chmod(0o400)
    return folder


@pytest.fixture
def others(stack: LocalStack) -> dict[str, str]:
    """All other settings, and a free port."""
    known = {name: value for name, value in stack.environment().items() if name not in SECRETS}
    return {**known, "PORT": "0"}


@pytest.fixture
def settings(secrets: Path, others: dict[str, str]) -> list[str]:
    """Options that pass the settings to a container."""
    return [
        f"--volume={secrets}:/run/secrets:ro",
        *(f"--env={name}_FILE=/run/secrets/{name.lower()}" for name in SECRETS),
        *(f"--env={name}={value}" for name, value in others.items()),
    ]


def lines(engine: Engine, container: str) -> list[dict[str, Any]]:
    """The lines that it has logged."""
    logs = engine.do("podman", "logs", container)
    return [json.loads(line) for line in logs.splitlines() if line.startswith("{")]


def address(engine: Engine, container: str) -> str:
    """The address that it serves at, once it does."""
    found: list[str] = []

    def is_ready() -> bool:
        found[:] = [line["address"] for line in lines(engine, container) if "address" in line]
        return bool(found)

    eventually(is_ready, f"{engine.do('podman', 'logs', container)} is its whole log")
    return found[0].replace("0.0.0.0", "127.0.0.1")  # noqa: S104 - only read


def test_it_serves_as_an_unprivileged_user_on_a_read_only_root(
    engine: Engine, image: str, settings: list[str]
) -> None:
    container = engine.do("podman", "run", "--detach", *LIMITS, *settings, image)
    port = address(engine, container).rpartition(":")[2]
    with direct.open(f"http://127.0.0.1:{port}/live", timeout=LONG) as answer:
        assert answer.status == 200
    identity = engine.do(
        "podman", "exec", container, "python", "-c", "import os; print(os.getuid())"
    )
    assert identity == "10001"
    written = engine.do(
        "podman", "exec", "--user=0", container, "sh", "-c", "touch /x /opt/agency-workers/x 2>&1",
        check=False,
    )  # fmt: skip
    assert written.count("Read-only file system") == 2
    # in a test the port is not 3001
    check = engine.inspect(container)["Config"]["Healthcheck"]["Test"]
    assert check[0] == "CMD"
    engine.do("podman", "exec", f"--env=PORT={port}", container, *check[1:])
    engine.do("podman", "stop", "--time=10", container)
    assert engine.inspect(container)["State"]["ExitCode"] == 0
    assert [line["action"] for line in lines(engine, container)][-1] == "stopped"


def test_it_runs_once(engine: Engine, image: str, settings: list[str]) -> None:
    command = ("python", "-m", "server", "notifications", "retention", "--once")
    engine.do("podman", "run", "--rm", *LIMITS, *settings, image, *command)


def test_it_reports_missing_settings(engine: Engine, image: str) -> None:
    container = engine.do("podman", "create", *LIMITS, image)
    log = engine.do("podman", "start", "--attach", container, check=False)
    assert engine.inspect(container)["State"]["ExitCode"] == 2
    assert "SUPABASE_URL" in log


def test_the_kubernetes_manifest_serves(
    engine: Engine, image: str, secrets: Path, others: dict[str, str], tmp_path: Path
) -> None:
    """Play its ConfigMap, with the local stack's settings, and its Deployment as podman 4.3
    can: keys come from a folder, because it passes on secrets undecoded; port and probes, which it
    does not support in the host's network, are left out."""
    known, deployment = (
        next(each for each in documents("kubernetes.yaml") if each["kind"] == kind)
        for kind in ("ConfigMap", "Deployment")
    )
    known["data"] |= others
    pod = deployment["spec"]["template"]["spec"]
    (volume,) = pod["volumes"]
    assert volume.pop("secret")["secretName"] == "agency-workers"
    volume["hostPath"] = {"path": str(secrets), "type": "Directory"}
    for key in ("ports", "startupProbe", "livenessProbe"):
        del pod["containers"][0][key]
    manifest = tmp_path / "kubernetes.yaml"
    manifest.write_text(yaml.safe_dump_all([known, deployment]))
    engine.do("podman", "play", "kube", "--network=host", manifest)
    (container,) = engine.do(
        "podman", "ps", "--filter=name=workers$", "--format={{.Names}}"
    ).split()
    port = address(engine, container).rpartition(":")[2]
    with direct.open(f"http://127.0.0.1:{port}/live", timeout=LONG) as answer:
        assert answer.status == 200
    engine.do("podman", "stop", "--time=15", container)
    assert engine.inspect(container)["State"]["ExitCode"] == 0
