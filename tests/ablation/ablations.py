"""The safety mechanisms, each with what takes it out and the test that has to fail then.

What a piece is replaced by is the same code without the mechanism: it still runs. Where two
places guard the same, either alone would do, and both are taken out at once; `remark` says so.
"""

from __future__ import annotations

from tests.ablation import console, metrics, notifications, platforms, retention, shared

ABLATIONS = (
    *notifications.ABLATIONS,
    *shared.REDIRECTS,
    *metrics.ABLATIONS,
    *platforms.ABLATIONS,
    *shared.SECRETS,
    *retention.ABLATIONS,
    *shared.ACCESS,
    *console.ABLATIONS,
)
