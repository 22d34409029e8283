"""Runs a function once through its real handler, as Lambda would."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml

from local import distribute
from local.stack import ROOT

FUNCTIONS = ROOT / "functions"
REGION = "eu-west-1"
LOOPBACK = "127.0.0.1,localhost"
STDOUT, STDERR = 1, 2
DRY_RUN = {"dry_run": True}
EFFECTS = {
    "notifications": "posts what is queued to Slack",
    "metrics_sync": "reads the ad accounts that are due and stores their figures",
    "connection_sync": "reads an ad account and stores its figures",
    "retention": "archives and purges what the retention policies say, for good",
    "doctor": "posts a test message to Slack and deletes it",
}


class InvokeError(RuntimeError):
    """There is no such function or event; the message names those that exist."""


@dataclass
class Context:
    """What the handlers use of Lambda's context object."""

    function_name: str
    timeout: float
    memory_limit_in_mb: int
    aws_request_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    function_version: str = "$LATEST"
    log_stream_name: str = "local"
    _started: float = field(default_factory=time.monotonic)

    @property
    def invoked_function_arn(self) -> str:
        """An ARN of the right form, of an account that does not exist."""
        return f"arn:aws:lambda:{REGION}:123456789012:function:{self.function_name}"

    @property
    def log_group_name(self) -> str:
        """The name of the group that Lambda would log to."""
        return f"/aws/lambda/{self.function_name}"

    def get_remaining_time_in_millis(self) -> int:
        """The time left of the function's timeout."""
        left = self.timeout - (time.monotonic() - self._started)
        return max(0, int(left * 1000))


def known_functions() -> list[str]:
    """The names of the folders below functions/."""
    return sorted(path.parent.name for path in FUNCTIONS.glob("*/app.py"))


def read_event(function: str, path: Path | None) -> Any:
    """The event of a file, by default events/<function>.json. Raises InvokeError if there is
    no such function, or if the file is missing or not JSON."""
    if function not in known_functions():
        raise InvokeError(
            f"There is no function {function!r}; there are: {', '.join(known_functions())}."
        )
    chosen = path or ROOT / "events" / f"{function}.json"
    try:
        return json.loads(chosen.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvokeError(f"The event {chosen} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise InvokeError(f"The event {chosen} is not JSON: {error}.") from error


def scheduled_event(function: str) -> Any:
    """The event with which a schedule starts the function; the sample may be a safer one."""
    scheduled = ROOT / "events" / f"{function}-scheduled.json"
    return read_event(function, scheduled if scheduled.exists() else None)


def effect_of(function: str, event: Any, settings: Mapping[str, str]) -> str | None:
    """What an invocation changes in a project, as a phrase; None if it only reads."""
    given = event if isinstance(event, dict) else {}
    reads_only = {"health": True, "doctor": "post" not in given, "retention": given == DRY_RUN}
    if reads_only.get(function):
        return None
    if function == "retention" and not settings.get("ARCHIVE_BUCKET_NAME"):
        return f"{EFFECTS[function]}; ARCHIVE_BUCKET_NAME is not set, so no copy is kept"
    return EFFECTS.get(function, "runs a function that may change it")


def invoke(function: str, event: Any, environment: Mapping[str, str], *, log: int = STDERR) -> Any:
    """Returns what the handler returns; its logs and metrics go to the file descriptor `log`.

    `environment` is its whole environment; nothing of this process's reaches it. The messages of a
    planning function are handled as well, unless a queue is configured, and the summary includes
    their results. Raises whatever the handler raises.
    """
    whole = _with_lambdas_own(function, environment)
    consumer = distribute.CONSUMERS.get(function)
    if consumer is None or whole.get("SYNC_QUEUE_URL"):
        return _run(function, event, whole, log)
    queue = distribute.local_queue()
    summary = _run(function, event, queue.environment(whole), log)
    events = queue.events(whole["AWS_REGION"])
    counts = distribute.distribute(events, consumer, _with_lambdas_own(consumer, environment), log)
    return {**summary, **counts}


def _run(function: str, event: Any, whole: Mapping[str, str], log: int) -> Any:
    # Imported here, because that takes longer than all else that a command does.
    from workers.composition.container import forget_clients

    context = new_context(function)
    forget_clients()  # each function has its own containers
    with _process_environment(whole), _stdout_to(log):
        return load(function).lambda_handler(event, context)


def new_context(function: str) -> Context:
    """Lambda's context for an invocation that starts now, with the template's properties."""
    properties = _properties(function)
    return Context(
        function_name=function,
        timeout=float(properties["Timeout"]),
        memory_limit_in_mb=int(properties["MemorySize"]),
    )


def _with_lambdas_own(function: str, environment: Mapping[str, str]) -> dict[str, str]:
    """What Lambda and the template set, overridden by `environment`."""
    defaults = {
        "AWS_REGION": REGION,
        "POWERTOOLS_SERVICE_NAME": function,
        "POWERTOOLS_METRICS_NAMESPACE": "AgencyDashboardWorkers",
    }
    return _without_proxy({**defaults, **environment})


@cache
def _properties(function: str) -> dict[str, Any]:
    """The function's properties in the template, which override its Globals."""
    text = (ROOT / "template.yaml").read_text(encoding="utf-8")
    template = yaml.load(text, _TemplateLoader)  # noqa: S506 - a SafeLoader with tags
    common = template["Globals"]["Function"]
    for resource in template["Resources"].values():
        if resource.get("Properties", {}).get("CodeUri") == f"functions/{function}":
            return {"MemorySize": 128, "Timeout": 3, **common, **resource["Properties"]}
    raise InvokeError(f"template.yaml has no function with CodeUri functions/{function}.")


class _TemplateLoader(yaml.CSafeLoader):
    """Reads CloudFormation's short tags (!Ref, !Sub) as their bare values."""


def _bare(loader: _TemplateLoader, suffix: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.ScalarNode):
        return node.value
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    assert isinstance(node, yaml.MappingNode)
    return loader.construct_mapping(node, deep=True)


def _by_default(loader: _TemplateLoader, node: yaml.Node) -> Any:
    """The else branch of an !If: all conditions of a function are off by default."""
    assert isinstance(node, yaml.SequenceNode)
    return loader.construct_sequence(node, deep=True)[2]


_TemplateLoader.add_multi_constructor("!", _bare)
_TemplateLoader.add_constructor("!If", _by_default)


def load(function: str) -> ModuleType:
    """The function's app module, loaded again as in a cold start."""
    name = f"functions.{function}.app"
    spec = importlib.util.spec_from_file_location(name, FUNCTIONS / function / "app.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _without_proxy(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment with this machine exempt from a company's proxy."""
    exempt = environment.get("NO_PROXY") or environment.get("no_proxy") or ""
    both = exempt if exempt.strip() == "*" else f"{exempt},{LOOPBACK}".strip(",")
    return {**environment, "NO_PROXY": both, "no_proxy": both}


@contextmanager
def _process_environment(values: Mapping[str, str]) -> Iterator[None]:
    """Make `values` this process's environment while the handler runs."""
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def _stdout_to(descriptor: int) -> Iterator[None]:
    """Redirect stdout, so that it has the summary only, not the logs and metrics that Lambda reads
    there. This redirects the file descriptor, because the logger keeps the stream that it found.
    """
    sys.stdout.flush()
    kept = os.dup(STDOUT)
    os.dup2(descriptor, STDOUT)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, STDOUT)
        os.close(kept)
