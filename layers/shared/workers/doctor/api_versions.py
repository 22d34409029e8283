"""When the versions of the ad platforms' APIs end: the one table to keep up to date.

LinkedIn's need no table: each is supported for about a year (metrics/platforms/linkedin.py).

https://developers.facebook.com/docs/marketing-api/marketing-api-changelog/versions
https://developers.google.com/google-ads/api/docs/sunset-dates
https://business-api.tiktok.com/portal/docs?id=1740029169927169
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from typing import Final

from workers.findings import Finding, failed, ok, warning
from workers.settings import Settings

NOTICE: Final = timedelta(days=90)

# By setting: the first day on which a version is no longer supported, as announced; for Google's
# newer ones the first day of the month in its release schedule. Others have no end yet.
ENDS: Final[Mapping[str, Mapping[str, date]]] = {
    "META_API_VERSION": {
        "v22.0": date(2026, 2, 19),
        "v23.0": date(2026, 6, 9),
        "v24.0": date(2026, 11, 10),
        "v25.0": date(2027, 2, 23),
    },
    "GOOGLE_ADS_API_VERSION": {
        "v20": date(2026, 6, 10),
        "v21": date(2026, 8, 5),
        "v22": date(2026, 10, 7),
        "v23": date(2027, 2, 1),
        "v24": date(2027, 5, 1),
        "v25": date(2027, 8, 1),
        "v26": date(2027, 11, 1),
    },
    "TIKTOK_API_VERSION": {},
}


def check_api_versions(settings: Settings, today: date) -> Iterator[Finding]:
    """Each version in use against its end; a version older than any in the table has ended."""
    for setting, ends in ENDS.items():
        version = str(getattr(settings, setting.lower()))
        end = ends.get(version)
        if end is None and any(_number(version) < _number(known) for known in ends):
            yield failed(f"{setting} {version} has ended", "Set it to a supported version")
        elif end is None:
            yield ok(f"{setting} {version}: no end has been announced")
        elif end <= today:
            yield failed(f"{setting} {version} has ended on {end}", "Set it to a supported version")
        elif end - today <= NOTICE:
            yield warning(f"{setting} {version} ends on {end}", "Set it to a newer version soon")
        else:
            yield ok(f"{setting} {version} is supported until {end}")


def _number(version: str) -> tuple[int, ...]:
    """v1.3 as (1, 3), for comparison."""
    return tuple(map(int, version.removeprefix("v").split(".")))
