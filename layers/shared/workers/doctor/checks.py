"""The whole examination, in the order in which things can be wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from workers.answers import Answer
from workers.clock import Clock
from workers.database import Database
from workers.doctor.api_versions import check_api_versions
from workers.doctor.archive_checks import ArchiveBucket, check_archive
from workers.doctor.database_checks import (
    check_access,
    check_clock,
    check_configs,
    check_hazards,
    check_parked,
    check_policies,
    check_row_cap,
    check_version,
    check_workers,
)
from workers.doctor.health import read_worker_health
from workers.doctor.platform_checks import check_connections, check_mappings
from workers.doctor.report import (
    read_access,
    read_accounts,
    read_channels,
    read_configs,
    read_parked,
    read_people,
)
from workers.doctor.sections import Section, of_error
from workers.doctor.slack_checks import check_slack, post_test
from workers.doctor.template_checks import check_templates, read_templates
from workers.errors import ConfigurationError, WorkerError
from workers.findings import Finding, failed, ok, warning
from workers.notifications.slack import Slack
from workers.redaction import redact
from workers.retention.hazards import read_hazards
from workers.settings import Settings

# The share of the remaining time that a section with requests of its own may take, so that one that
# hangs leaves some to the next. A request in progress ends by its own timeout.
SLACK_SHARE: Final = 0.4
# The section of the message that `post_to` asks for.
TEST_MESSAGE: Final = "Test message"
ARCHIVE_SHARE: Final = 0.4
PLATFORMS_SHARE: Final = 0.85


@dataclass(frozen=True)
class Tools:
    """What the examination uses. `now` returns the time of this machine, `open_archive` the bucket
    of the cold archive, or None if there is none."""

    database: Database
    slack: Slack
    clock: Clock
    now: Callable[[], datetime]
    random_fraction: Callable[[], float]
    open_archive: Callable[[], ArchiveBucket | None] = lambda: None


def examine(
    settings: Settings, tools: Tools, deadline: float, post_to: str | None = None
) -> Iterator[Section]:
    """Section after section, until `deadline`, in the clock's seconds. `post_to` is a channel to
    post a test message to. Whatever goes wrong in a section is one of its findings."""
    clock = tools.clock

    def until(share: float) -> float:
        now = clock.now()
        return now + max(0.0, deadline - now) * share

    yield _section("Settings", lambda: _settings(settings))
    answers: list[Answer] = []
    yield _section("Database", lambda: _database(tools, answers))
    report = answers[0] if answers else None
    if report is not None:
        yield _section("Access", lambda: check_access(read_access(report)))
    yield _section("Slack", lambda: _slack(tools, report, until(SLACK_SHARE)))
    if post_to is not None:
        now = tools.now().timestamp()
        yield _section(TEST_MESSAGE, lambda: post_test(tools.slack, tools.clock, post_to, now))
    if settings.archive_bucket_name is not None:
        yield _section("Archive", lambda: _archive(tools, until(ARCHIVE_SHARE)))
    yield _section("API versions", lambda: check_api_versions(settings, tools.now().date()))
    if report is None:
        return
    yield _section(
        "Notification configs",
        lambda: [
            *check_parked(read_parked(report)),
            *check_configs(read_configs(report)),
            *check_templates(read_templates(tools.database.call("config_templates"))),
        ],
    )
    yield _section(
        "Ad platforms",
        lambda: check_connections(
            read_accounts(report), settings, clock, until(PLATFORMS_SHARE), tools.random_fraction
        ),
    )
    yield _section("Ads of requests", lambda: check_mappings(tools.database))
    yield _section("Retention", lambda: _retention(report))
    yield _section(
        "Workers",
        lambda: check_workers(read_worker_health(report.json("health")), settings.switched_off),
    )


def of_settings(error: ConfigurationError) -> Section:
    """The only section, if the settings cannot be read."""
    fix = "Set it: here in .env; in AWS in the template's parameters and the secret"
    return Section("Settings", [failed(problem, fix) for problem in str(error).split("; ")])


def _section(title: str, check: Callable[[], Iterable[Finding]]) -> Section:
    """What the check finds; an unexpected error ends this section only."""
    section = Section(title)
    try:
        for finding in check():
            section.findings.append(finding)
    except WorkerError as error:
        section.findings.append(of_error("this could not be checked", error))
    except Exception as error:  # noqa: BLE001 - a bug: the other sections matter more
        section.findings.append(
            failed(
                f"this could not be checked: {type(error).__name__}: {redact(str(error))}",
                "A bug in the doctor itself: please report it, with this line",
            )
        )
    return section


def _settings(settings: Settings) -> Iterator[Finding]:
    yield ok(f"all settings needed for {settings.supabase_url} are set and well-formed")


def _database(tools: Tools, answers: list[Answer]) -> Iterator[Finding]:
    """Puts the report into `answers`, if there is one."""
    try:
        report = Answer.of("doctor_report", tools.database.call("doctor_report"))
    except WorkerError as error:
        yield of_error("the database", error)
        return
    answers.append(report)
    yield ok("the database answers, and the key is the right one")
    yield from check_version(report.text("version"))
    yield from check_clock(report.text("now"), tools.now())
    yield from check_row_cap(tools.database)


def _slack(tools: Tools, report: Answer | None, until: float) -> Iterator[Finding]:
    channels = read_channels(report) if report else []
    people = read_people(report) if report else []
    yield from check_slack(tools.slack, channels, people, lambda: tools.clock.now() < until)


def _archive(tools: Tools, until: float) -> Iterator[Finding]:
    bucket = tools.open_archive()
    if bucket is None:
        return
    for finding in check_archive(bucket):
        yield finding
        if tools.clock.now() >= until:
            yield warning("the rest was not checked, for lack of time", "Run the doctor again")
            return


def _retention(report: Answer) -> Iterator[Finding]:
    yield from check_policies(report.inners("policies"))
    yield from check_hazards(read_hazards(report.json("hazards")))
