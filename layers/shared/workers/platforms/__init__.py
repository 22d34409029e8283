"""The ad platforms, by their main names: `platform_connections.platform` names one of them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from workers.platforms.google_ads import GoogleAds
from workers.platforms.meta import Meta
from workers.platforms.protocol import Platform

PLATFORMS: Mapping[str, type[Platform]] = MappingProxyType({"meta": Meta, "google_ads": GoogleAds})

# Every name, aliases included, to the main one.
NAMES: Mapping[str, str] = MappingProxyType(
    {name: main for main, platform in PLATFORMS.items() for name in (main, *platform.aliases)}
)


def find_platform(name: str) -> type[Platform] | None:
    """The platform of that name or alias, in any case; None for an unknown one."""
    main = NAMES.get(name.strip().lower())
    return PLATFORMS[main] if main else None
