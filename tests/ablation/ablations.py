"""The safety mechanisms, each with what removes it and the test that then has to fail.

A piece is replaced by the same code without the mechanism, which still runs. Where two places guard
the same, either is enough, so both are removed together; `remark` says so.
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
