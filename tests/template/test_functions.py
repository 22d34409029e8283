"""Each function's code, layer, runtime, sample event, tracing and logs."""

from __future__ import annotations

import json
import re

from tests.template.deployed import ROOT, Resource, folder, functions, of_type

# The database's leases on claimed rows end after this; a function that outlives them would post
# what the next run has taken over.
LONGEST_ROW_LEASE_SECONDS = 180


def test_the_notifications_function_ends_before_its_row_leases(resources: Resource) -> None:
    timeout = functions(resources)["NotificationsFunction"]["Timeout"]

    assert 60 < timeout < LONGEST_ROW_LEASE_SECONDS


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
