"""The ad platforms, by their main names: `platform_connections.platform` names one of them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from workers.metrics.facts import Level
from workers.metrics.platforms.google_ads import GoogleAds
from workers.metrics.platforms.linkedin import LinkedIn
from workers.metrics.platforms.meta import Meta
from workers.metrics.platforms.protocol import Platform
from workers.metrics.platforms.tiktok import TikTok

PLATFORMS: Mapping[str, type[Platform]] = MappingProxyType(
    {"meta": Meta, "google_ads": GoogleAds, "tiktok": TikTok, "linkedin": LinkedIn}
)

# The main name for every name, aliases included.
NAMES: Mapping[str, str] = MappingProxyType(
    {name: main for main, platform in PLATFORMS.items() for name in (main, *platform.aliases)}
)

# The keys of requests.metadata that hold each platform's ids, by level.
MAPPING_KEYS: Mapping[str, Mapping[Level, str]] = MappingProxyType(
    {main: platform.mapping_keys for main, platform in PLATFORMS.items()}
)


def find_platform(name: str) -> type[Platform] | None:
    """The platform of that name or alias, in any case; None for an unknown one."""
    main = NAMES.get(name.strip().lower())
    return PLATFORMS[main] if main else None
