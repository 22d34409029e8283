"""The parsed files of deploy/: which workers each runs, with which settings, and how it stops."""

from __future__ import annotations

import configparser
import json
import re
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from local.services.node import find

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
SYSTEMD = DEPLOY / "systemd"


@dataclass(frozen=True)
class Run:
    """A server that a file runs."""

    file: str
    command: list[str]
    # The settings of the file, with the values of CloudFormation's functions unresolved.
    variables: dict[str, Any]
    # Seconds between the signal that stops it and SIGKILL; None if it ends by itself.
    grace: float | None = None

    @property
    def arguments(self) -> list[str]:
        """The arguments of `python -m server`."""
        program, *words = self.command
        assert Path(program).name == "python", self
        assert words[:2] == ["-m", "server"], self
        return words[2:]


def runs() -> list[Run]:
    """Every server that the files run."""
    return [
        *_of_dockerfile(),
        *_of_compose(),
        *_of_systemd(),
        *_of_pm2(),
        *_of_ecs(),
        *_of_kubernetes(),
        *_of_cloud_run(),
        *_of_render(),
        *_of_railway(),
    ]


def parsed(name: str) -> Any:
    """A YAML or JSON file with one document."""
    return yaml.safe_load((DEPLOY / name).read_text(encoding="utf-8"))


def documents(name: str) -> list[Any]:
    """A YAML file with several documents."""
    return list(yaml.safe_load_all((DEPLOY / name).read_text(encoding="utf-8")))


def dockerfile() -> dict[str, str]:
    """The last of each of the Dockerfile's instructions, on one line."""
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line.split(maxsplit=1) for line in text.splitlines() if re.match("[A-Z]", line)]
    return {instruction: " ".join(rest.split()) for instruction, rest in lines}


class _CloudFormation(yaml.SafeLoader):
    """Reads !Ref, !Sub and the like as their arguments."""


def _applied_to(loader: yaml.SafeLoader, _: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.ScalarNode):
        return loader.construct_scalar(node)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    assert isinstance(node, yaml.MappingNode)
    return loader.construct_mapping(node, deep=True)


_CloudFormation.add_multi_constructor("!", _applied_to)


def ecs() -> dict[str, Any]:
    """Its resources."""
    text = (DEPLOY / "ecs.yaml").read_text(encoding="utf-8")
    # a SafeLoader, with its tags
    resources: dict[str, Any] = yaml.load(text, _CloudFormation)["Resources"]  # noqa: S506
    return resources


def ecs_containers() -> list[dict[str, Any]]:
    """The containers of its task definitions."""
    return [
        container
        for resource in ecs().values()
        if resource["Type"] == "AWS::ECS::TaskDefinition"
        for container in resource["Properties"]["ContainerDefinitions"]
    ]


def pods() -> list[dict[str, Any]]:
    """The specs of the Kubernetes pods."""
    found = []
    for document in documents("kubernetes.yaml"):
        if document["kind"] == "Deployment":
            found.append(document["spec"]["template"]["spec"])
        elif document["kind"] == "CronJob":
            found.append(document["spec"]["jobTemplate"]["spec"]["template"]["spec"])
    return found


def unit(name: str) -> configparser.ConfigParser:
    """A systemd unit, with the last value of each key."""
    found = configparser.ConfigParser(interpolation=None, strict=False, delimiters="=")
    found.optionxform = str  # type: ignore[assignment,method-assign]
    found.read(SYSTEMD / name)
    return found


def ecosystem(environment: dict[str, str]) -> list[dict[str, Any]]:
    """PM2's apps, as Node evaluates them in that environment."""
    script = (
        f"console.log(JSON.stringify(require({json.dumps(str(DEPLOY / 'ecosystem.config.cjs'))})))"
    )
    made = subprocess.run(
        [find().executable, "--eval", script],
        env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    apps: list[dict[str, Any]] = json.loads(made.stdout)["apps"]
    return apps


def _of_dockerfile() -> Iterator[Run]:
    found = dockerfile()
    variables = dict(pair.split("=", 1) for pair in found["ENV"].split())
    # the default of `docker stop`
    yield Run("Dockerfile", json.loads(found["CMD"]), variables, 10)


def _of_compose() -> Iterator[Run]:
    for service in parsed("docker-compose.yml")["services"].values():
        grace = float(service["stop_grace_period"].removesuffix("s"))
        yield Run("docker-compose.yml", service["command"], service["environment"], grace)


def _of_systemd() -> Iterator[Run]:
    hardening = (SYSTEMD / "agency-workers-.service.d" / "hardening.conf").read_text("utf-8")
    pairs = [
        pair.split("=", 1)
        for line in re.findall(r"^Environment=(.+)$", hardening, re.MULTILINE)
        for pair in line.split()
    ]
    for name in ("agency-workers-serve.service", "agency-workers-once@.service"):
        service = unit(name)["Service"]
        grace = float(service["TimeoutStopSec"].removesuffix("s"))
        timers = [timer.stem.partition("@")[2] for timer in SYSTEMD.glob("*.timer")]
        for instance in timers if "@" in name else [""]:
            command = shlex.split(service["ExecStart"].replace("%i", instance))
            yield Run(f"systemd/{name}", command, dict(pairs), grace)


def _of_pm2() -> Iterator[Run]:
    for app in ecosystem({"SUPABASE_URL": "https://abc.supabase.co"}):
        command = [app["script"], *app["args"].split()]
        yield Run("ecosystem.config.cjs", command, app["env"], app["kill_timeout"] / 1000)


def _of_ecs() -> Iterator[Run]:
    for container in ecs_containers():
        variables = {each["Name"]: each["Value"] for each in container["Environment"]}
        yield Run("ecs.yaml", container["Command"], variables, container["StopTimeout"])


def _of_kubernetes() -> Iterator[Run]:
    (known,) = [each for each in documents("kubernetes.yaml") if each["kind"] == "ConfigMap"]
    for pod in pods():
        (container,) = pod["containers"]
        grace = pod["terminationGracePeriodSeconds"]
        yield Run("kubernetes.yaml", container["command"], known["data"], grace)


def _of_cloud_run() -> Iterator[Run]:
    service = parsed("cloud-run/service.yaml")["spec"]["template"]["spec"]
    job = parsed("cloud-run/retention-job.yaml")["spec"]["template"]["spec"]["template"]["spec"]
    for name, spec in (("service.yaml", service), ("retention-job.yaml", job)):
        (container,) = spec["containers"]
        variables = {each["name"]: each["value"] for each in container["env"]}
        # fixed: https://docs.cloud.google.com/run/docs/container-contract#instance-shutdown
        yield Run(f"cloud-run/{name}", container["command"], variables, 10)


def _of_render() -> Iterator[Run]:
    for service in parsed("render.yaml")["services"]:
        variables = {each["key"]: each.get("value") for each in service["envVars"]}
        # not configurable for a cron job: https://render.com/docs/deploys#graceful-shutdown
        grace = service.get("maxShutdownDelaySeconds", 30)
        yield Run("render.yaml", shlex.split(service["dockerCommand"]), variables, grace)


def _of_railway() -> Iterator[Run]:
    deploy = parsed("railway.json")["deploy"]
    yield Run("railway.json", shlex.split(deploy["startCommand"]), {}, deploy["drainingSeconds"])
