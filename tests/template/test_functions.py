"""Each function's code, layer, runtime, sample event, tracing and logs."""

from __future__ import annotations

import json
import re

import pytest

from tests.template.deployed import ROOT, Resource, deployed, folder, functions, of_type

# EventBridge Scheduler starts something at any second of the minute that was asked for.
# https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html
LONGEST_BETWEEN_STARTS_SECONDS = 120


def test_a_notifications_run_may_take_longer_than_the_minute_between_two() -> None:
    assert functions(deployed().resources)["NotificationsFunction"]["Timeout"] > 60


@pytest.mark.parametrize("seconds", ["1", "150", "900"])
def test_a_run_that_lingers_has_the_time_for_it(seconds: str) -> None:
    there = deployed(NotificationLingerSeconds=seconds)
    function = functions(there.resources)["NotificationsFunction"]
    most = float(there.template["Parameters"]["NotificationLingerSeconds"]["MaxValue"])
    (named,) = re.findall(
        r"(\d+) leave no gap",
        there.template["Parameters"]["NotificationLingerSeconds"]["Description"],
    )

    assert function["Environment"]["Variables"]["NOTIFICATION_LINGER_SECONDS"] == seconds
    assert LONGEST_BETWEEN_STARTS_SECONDS < int(named) < most <= function["Timeout"]


def test_every_function_has_its_code_and_its_sample_event(resources: Resource) -> None:
    for name, function in functions(resources).items():
        subject = folder(name)
        assert function["Code"]["S3Key"] == f"functions/{subject}", name
        assert (ROOT / "functions" / subject / "app.py").is_file(), name
        assert isinstance(json.loads((ROOT / "events" / f"{subject}.json").read_text()), dict)
        service = function["Environment"]["Variables"]["POWERTOOLS_SERVICE_NAME"]
        assert service == subject, name


def test_every_function_folder_and_sample_event_belongs_to_a_function(resources: Resource) -> None:
    subjects = {folder(name) for name in functions(resources)}

    assert {path.parent.name for path in ROOT.glob("functions/*/app.py")} == subjects
    # a function may have further samples: retention-scheduled.json
    samples = {path.stem.partition("-")[0] for path in ROOT.glob("events/*.json")}
    assert samples == subjects


def test_every_function_runs_on_the_layer_built_for_it(resources: Resource) -> None:
    (layer_name,) = of_type(resources, "AWS::Lambda::LayerVersion")
    layer = resources[layer_name]["Properties"]

    for name, function in functions(resources).items():
        assert function["Layers"] == [{"Ref": layer_name}], name
        assert function["Architectures"] == layer["CompatibleArchitectures"], name
        assert [function["Runtime"]] == layer["CompatibleRuntimes"], name


def test_the_layer_is_built_for_the_runtime_of_the_template(resources: Resource) -> None:
    recipe = (ROOT / "layers" / "shared" / "Makefile").read_text()
    function = functions(resources)["NotificationsFunction"]

    version = re.search(r"^PYTHON_VERSION \?= (\S+)", recipe, re.MULTILINE)
    platform = re.search(r"^PLATFORM \?= (\w+)-", recipe, re.MULTILINE)
    assert version is not None
    assert platform is not None
    assert function["Runtime"] == f"python{version[1]}"
    assert function["Architectures"] == [{"aarch64": "arm64"}[platform[1]]]


def test_the_layer_leaves_boto3_to_the_runtime() -> None:
    pins = (ROOT / "layers" / "shared" / "requirements.txt").read_text()

    assert not re.search(r"^boto", pins, re.MULTILINE)


def test_every_function_is_traced(resources: Resource) -> None:
    for name, function in functions(resources).items():
        assert function["TracingConfig"] == {"Mode": "Active"}, name


def test_every_function_writes_to_a_log_group_with_a_retention(resources: Resource) -> None:
    groups = of_type(resources, "AWS::Logs::LogGroup")
    used = [
        function["LoggingConfig"]["LogGroup"]["Ref"] for function in functions(resources).values()
    ]

    assert sorted(used) == sorted(groups)
    for name, group in groups.items():
        assert group["RetentionInDays"] == {"Ref": "LogRetentionDays"}, name
