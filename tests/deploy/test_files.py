"""Each file of deploy/ runs a server correctly. `make check` (check-deploy) and the other tests in
this folder check that the programs which read these files accept them."""

from __future__ import annotations

from dataclasses import fields

import pytest

from server.command_line import _parser
from server.runs import WORKERS
from server.serving import STOP_WITHIN
from server.settings import ServerSettings
from tests.deploy.files import (
    DEPLOY,
    ROOT,
    Run,
    dockerfile,
    documents,
    ecs_containers,
    parsed,
    pods,
    runs,
)
from tests.server.process import EXITS_WITHIN
from workers.settings import Settings

RUNS = runs()
# Python's own variables, and the names of CloudWatch's namespace and of the secret.
NO_SETTINGS = {
    "PATH", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE", "PYTHONTZPATH", "LOG_LEVEL",
    "POWERTOOLS_METRICS_NAMESPACE", "WORKERS_SECRET_NAME",
}  # fmt: skip

each_run = pytest.mark.parametrize("run", RUNS, ids=lambda run: f"{run.file}: {run.command[3:]}")


def files() -> set[str]:
    return {path.relative_to(DEPLOY).as_posix() for path in DEPLOY.rglob("*") if path.is_file()}


def workers_of(run: Run) -> list[str]:
    return _parser().parse_args(run.arguments).workers or list(WORKERS)


def test_every_file_that_runs_a_server_is_covered() -> None:
    others = {name for name in files() if name.endswith((".timer", ".conf"))}
    assert {run.file for run in RUNS} == files() - others - {"cloud-run/schedule.yaml"}


@each_run
def test_it_runs_existing_workers(run: Run) -> None:
    assert set(workers_of(run)) <= set(WORKERS)


@pytest.mark.parametrize("place", sorted({run.file.partition("/")[0] for run in RUNS}))
def test_every_place_runs_all_workers(place: str) -> None:
    here = [run for run in RUNS if run.file.startswith(place)]
    assert {worker for run in here for worker in workers_of(run)} == set(WORKERS)


@each_run
def test_it_sets_existing_settings(run: Run) -> None:
    known = [*fields(Settings), *fields(ServerSettings)]
    names = {one.name.upper() for one in known} | NO_SETTINGS
    names |= {f"{one.name.upper()}_FILE" for one in known if one.metadata["secret"]}
    assert set(run.variables) <= names


@each_run
def test_its_grace_period_is_longer_than_a_shutdown(run: Run) -> None:
    assert STOP_WITHIN < EXITS_WITHIN
    assert run.grace is not None
    assert run.grace > EXITS_WITHIN


def test_restarts_depend_on_the_liveness_endpoint() -> None:
    assert "/live" in dockerfile()["HEALTHCHECK"]
    asked = [container["HealthCheck"]["Command"] for container in ecs_containers()[:1]]
    assert all(command[0] == "CMD" and "/live" in command[-1] for command in asked)
    service = parsed("cloud-run/service.yaml")["spec"]["template"]["spec"]["containers"][0]
    for container in (pods()[0]["containers"][0], service):
        for probe in ("startupProbe", "livenessProbe"):
            assert container[probe]["httpGet"]["path"] == "/live"
    assert parsed("railway.json")["deploy"]["healthcheckPath"] == "/live"


def test_containers_run_unprivileged_on_a_read_only_root() -> None:
    user, group = dockerfile()["USER"].split(":")
    assert user == group == "10001"
    for pod in pods():
        known = pod["securityContext"]
        assert known["runAsNonRoot"] is True
        assert (known["runAsUser"], known["runAsGroup"]) == (10001, 10001)
        assert pod["automountServiceAccountToken"] is False
        (container,) = pod["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert "memory" in container["resources"]["limits"]
    for container in ecs_containers():
        assert container["ReadonlyRootFilesystem"] is True
        assert container["LinuxParameters"]["Capabilities"] == {"Drop": ["ALL"]}
    for service in parsed("docker-compose.yml")["services"].values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service["mem_limit"]
        assert service["restart"] == "unless-stopped"


def test_compose_starts_three_services_or_one() -> None:
    services = parsed("docker-compose.yml")["services"]
    started = {name for name, service in services.items() if "profiles" not in service}
    assert started == set(WORKERS)
    (other,) = set(services) - started
    assert services[other]["command"] != services["retention"]["command"]


def test_compose_passes_on_any_setting_of_a_file_that_may_be_missing() -> None:
    for service in parsed("docker-compose.yml")["services"].values():
        assert service["env_file"] == [{"path": ".env", "required": False}]


def test_no_file_contains_a_key() -> None:
    for run in RUNS:
        assert not {"SUPABASE_SERVICE_ROLE_KEY", "SLACK_BOT_TOKEN"} & {
            name for name, value in run.variables.items() if value is not None
        }, run


def test_retention_is_off_until_it_is_enabled() -> None:
    (cron,) = [each for each in documents("kubernetes.yaml") if each["kind"] == "CronJob"]
    assert cron["spec"]["suspend"] is True
    template = (DEPLOY / "ecs.yaml").read_text(encoding="utf-8")
    assert "RetentionState:\n    Type: String\n    Default: DISABLED" in template


def test_the_build_context_has_only_what_the_image_copies() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    taken = [line for line in lines if line and not line.startswith("#")]
    assert taken == ["*", "!layers/shared/workers", "!server", "**/__pycache__"]
