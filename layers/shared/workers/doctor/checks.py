"""The whole examination, in the order in which things can be wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from workers.clock import Clock
from workers.database import Database
from workers.doctor.database_checks import (
    check_access,
    check_clock,
    check_configs,
    check_policies,
    check_row_cap,
    check_version,
    check_workers,
)
from workers.doctor.platform_checks import check_connections, check_mappings
from workers.doctor.sections import Section, of_error
from workers.doctor.slack_checks import check_slack, post_test
from workers.errors import ConfigurationError, WorkerError
from workers.findings import Finding, failed, ok
from workers.notifications.slack import Slack
from workers.settings import Settings


@dataclass(frozen=True)
class Tools:
    """What the examination uses. `now` is the time of this machine."""

    database: Database
    slack: Slack
    clock: Clock
    now: Callable[[], datetime]
    random_fraction: Callable[[], float]


def examine(
    settings: Settings, tools: Tools, deadline: float, post_to: str | None = None
) -> Iterator[Section]:
    """Section after section. `post_to`: a channel that is to get a test message."""
    project = f"all that is needed for {settings.supabase_url} is set, and well formed"
    yield Section("Settings", [ok(project)])
    database = Section("Database")
    report = _report(tools.database, database.findings)
    if report is not None:
        database.findings += check_version(report["version"])
        database.findings += check_clock(report["now"], tools.now())
        database.findings += check_row_cap(tools.database)
    yield database
    if report is not None:
        yield Section("Access", list(check_access(report)))
    slack_report = report or {"configs": [], "channels": []}
    slack = Section("Slack", list(check_slack(tools.slack, slack_report)))
    if post_to is not None:
        now = tools.now().timestamp()
        slack.findings += post_test(tools.slack, tools.clock, post_to, now)
    yield slack
    if report is None:
        return
    yield Section("Notification configs", list(check_configs(report["configs"])))
    yield Section(
        "Ad platforms",
        list(
            check_connections(
                report["connections"], settings, tools.clock, deadline, tools.random_fraction
            )
        ),
    )
    yield Section("Ads of requests", list(check_mappings(tools.database)))
    yield Section("Retention", list(check_policies(report["policies"])))
    yield Section("Workers", list(check_workers(report["health"])))


def of_settings(error: ConfigurationError) -> Section:
    """The one section there is when the settings cannot be read."""
    mend = "Set it: in .env here; in AWS the template's parameters and the secret"
    return Section("Settings", [failed(problem, mend) for problem in str(error).split("; ")])


def _report(database: Database, findings: list[Finding]) -> dict[str, Any] | None:
    try:
        report: dict[str, Any] = database.call("doctor_report")
    except WorkerError as error:
        findings.append(of_error("the database", error))
        return None
    findings.append(ok("the database answers, and the key is the right one"))
    return report
