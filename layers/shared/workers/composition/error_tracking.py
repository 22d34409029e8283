"""Sentry, if SENTRY_DSN is set: imported only then, and sent no secrets and no personal data.

https://docs.sentry.io/platforms/python/integrations/aws-lambda/
"""

from __future__ import annotations

from typing import Any

from workers.redaction import redact

# Within the time that a run keeps free at its end.
FLUSH_SECONDS = 1.0
# What an event may contain; not requests, users, headers or local variables.
_KEPT = frozenset(
    {
        "event_id", "timestamp", "platform", "level", "logger", "exception", "message", "tags",
        "contexts", "sdk", "release", "environment", "server_name", "transaction",
    }
)  # fmt: skip

_is_on = False


def start_error_tracking(dsn: str) -> None:
    """From now on unhandled errors are sent there, and a warning before a timeout."""
    global _is_on  # noqa: PLW0603 - the SDK is a singleton of the process as well
    if _is_on:
        return
    # imported here because it costs about forty milliseconds of a cold start
    import sentry_sdk  # noqa: PLC0415
    from sentry_sdk.integrations.aws_lambda import AwsLambdaIntegration  # noqa: PLC0415
    from sentry_sdk.integrations.dedupe import DedupeIntegration  # noqa: PLC0415

    sentry_sdk.init(
        dsn=dsn,
        default_integrations=False,
        integrations=[AwsLambdaIntegration(timeout_warning=True), DedupeIntegration()],
        include_local_variables=False,
        include_source_context=True,
        max_breadcrumbs=0,
        max_request_body_size="never",
        send_default_pii=False,
        before_send=_scrub,
    )
    _is_on = True


def track(error: Exception, worker: str) -> None:
    """Sends an error that ended a run; does nothing if tracking is off.

    Once per error, even if the SDK's Lambda integration sees it too.
    """
    if not _is_on:
        return
    import sentry_sdk  # noqa: PLC0415

    with sentry_sdk.new_scope() as scope:
        scope.set_tag("worker", worker)
        scope.set_tag("code", str(getattr(error, "code", "none")))
        scope.capture_exception(error)
    sentry_sdk.flush(FLUSH_SECONDS)


def _scrub(event: Any, hint: Any) -> Any:
    """The event without what is not needed, and without what looks like a secret."""
    kept = {name: value for name, value in event.items() if name in _KEPT}
    kept["contexts"] = {
        name: value for name, value in kept.get("contexts", {}).items() if name == "runtime"
    }
    for exception in kept.get("exception", {}).get("values", []):
        exception["value"] = redact(str(exception.get("value") or ""))
    if isinstance(kept.get("message"), str):
        kept["message"] = redact(kept["message"])
    return kept
