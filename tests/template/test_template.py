"""Two stacks of the template fit in one account."""

from __future__ import annotations

import json

from tests.template.deployed import Resource, of_type


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
