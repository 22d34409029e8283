"""The template as a whole: SAM accepts it, and two stacks of it fit in one account."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from tests.template.deployed import ROOT, Resource, of_type


def test_two_stacks_in_one_account_do_not_collide(resources: Resource) -> None:
    for name, schedule in of_type(resources, "AWS::Scheduler::Schedule").items():
        assert "Name" not in schedule, name
    for kind, key in (
        ("AWS::Lambda::Function", "FunctionName"),
        ("AWS::SQS::Queue", "QueueName"),
        ("AWS::IAM::Role", "RoleName"),
        ("AWS::Logs::LogGroup", "LogGroupName"),
        ("AWS::SNS::Topic", "TopicName"),
        ("AWS::CloudWatch::Alarm", "AlarmName"),
        ("AWS::CloudWatch::Dashboard", "DashboardName"),
    ):
        for name, properties in of_type(resources, kind).items():
            assert "AWS::StackName" in json.dumps(properties.get(key, "AWS::StackName")), name


def test_sam_accepts_the_template_without_network_credentials_or_region(tmp_path: Path) -> None:
    validated = subprocess.run(
        [ROOT / ".venv" / "bin" / "sam", "validate", "--lint"],
        check=False,
        cwd=ROOT,
        env={
            "PATH": "/usr/bin:/bin",
            "HOME": str(tmp_path),
            "SAM_CLI_TELEMETRY": "0",
            "https_proxy": "http://127.0.0.1:9",
            "LC_ALL": "C.UTF-8",
        },
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert validated.returncode == 0, validated.stdout + validated.stderr
