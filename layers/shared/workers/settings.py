"""All configuration, read and checked in one place.

The environment takes precedence over `.env` (local only), and that over the Secrets Manager secret
that WORKERS_SECRET_NAME names (in AWS: the only place for keys). For a key, NAME_FILE in the
environment may name a file instead (as Docker and Kubernetes mount secrets). Whatever is missing or
malformed is named in one `ConfigurationError`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

from workers.credentials import flaw_of
from workers.errors import ConfigurationError
from workers.redaction import remember

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

S = TypeVar("S", bound="DataclassInstance")

# What METRICS_FIGURES may name.
OPTIONAL_FIGURES: Final = (
    "conversions", "conversion_value", "cost_per_conversion", "roas", "link_clicks", "video_views",
    "frequency",
)  # fmt: skip
# What NOTIFICATION_LOCALE may be.
LOCALE_NAMES: Final = (
    "en-US", "en-GB", "de-DE", "fr-FR", "es-ES", "it-IT", "nl-NL", "pt-BR", "sv-SE", "da-DK",
    "nb-NO", "pl-PL",
)  # fmt: skip
# Not a setting of any worker: the database owner's password is for the operator only.
DATABASE_URL: Final = "SUPABASE_DB_URL"
_WHERE: Final = "the session pooler's connection string, from Connect on the project's page"
_OF_AWS: Final = ("ECS_CONTAINER_METADATA_URI_V4", "AWS_EXECUTION_ENV")
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
# A value of .env in quotes, perhaps followed by a comment.
_QUOTED: Final = re.compile(r"""(['"])(.*?)\1(\s+#.*)?""")


def text(value: str) -> str:
    return value


def _url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("is not a URL: it starts with https://")
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        raise ValueError("must be https; http is for this machine only")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("must be a plain URL, without user, query or fragment")
    return value.rstrip("/")


def _request_url(value: str) -> str:
    if value.count("{id}") != 1:
        raise ValueError("must contain {id} once, where the request's id goes")
    if re.search(r"[\s<>|\"`\\]", value) or len(value) > 1_000:
        raise ValueError("is not a URL that can be used in a link")
    path = value.partition("{id}")[0].partition("#")[0].partition("?")[0]
    if path.count("/") < 3:
        raise ValueError("must have the host before {id}")
    _url(path)
    return value


def _project_url(value: str) -> str:
    url = _url(value)
    if urlsplit(url).path:  # with /rest/v1 in it, every call would fail with PGRST125
        raise ValueError("must be the project's URL alone (https://<project>.supabase.co)")
    return url


def _slack_url(value: str) -> str:
    if not value.endswith("/api/"):
        raise ValueError("must end in /api/")
    return _url(value) + "/"


def _supabase_key(value: str) -> str:
    # https://supabase.com/docs/guides/api/api-keys: a secret key or the legacy JWT
    if value.startswith("sb_publishable_"):
        raise ValueError("is the publishable key; the workers need the secret one (sb_secret_...)")
    if not value.startswith(("sb_secret_", "eyJ")):
        raise ValueError("starts with sb_secret_ (or eyJ, the legacy service_role key)")
    return value


def _bot_token(value: str) -> str:
    if not value.startswith("xoxb-"):
        raise ValueError("starts with xoxb- (the bot token of the Slack app)")
    return value


def _client_id(value: str) -> str:
    if flaw := flaw_of(value):
        raise ValueError(flaw)
    return value


def number(lowest: float, highest: float) -> Callable[[str], float]:
    def parse(value: str) -> float:
        try:
            found = float(value)
        except ValueError:
            raise ValueError("is not a number") from None
        if not lowest <= found <= highest:  # also false for nan
            raise ValueError(f"must be from {lowest:g} to {highest:g}")
        return found

    return parse


def whole(lowest: int, highest: int) -> Callable[[str], int]:
    def parse(value: str) -> int:
        found = number(lowest, highest)(value)
        if found != int(found):
            raise ValueError("is not a whole number")
        return int(found)

    return parse


def _api_version(pattern: str, example: str) -> Callable[[str], str]:
    def parse(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise ValueError(f"must look like {example}")
        return value

    return parse


def _sentry_dsn(value: str) -> str:
    # https://docs.sentry.io/concepts/key-terms/dsn-explainer/
    parts = urlsplit(value)
    if not (parts.username and parts.hostname and parts.path.strip("/")):
        raise ValueError("must be a Sentry DSN: https://KEY@HOST/PROJECT")
    if parts.scheme != "https" and parts.hostname not in _LOOPBACK:
        raise ValueError("must be https")
    return value


def _queue_url(value: str) -> str:
    if not urlsplit(value).path.strip("/"):
        raise ValueError("must be the URL of an SQS queue")
    return _url(value)


def one_of(*choices: str) -> Callable[[str], str]:
    def parse(value: str) -> str:
        if value not in choices:
            raise ValueError(f"must be one of: {', '.join(choices)}")
        return value

    return parse


def _some_of(*choices: str) -> Callable[[str], tuple[str, ...]]:
    def parse(value: str) -> tuple[str, ...]:
        names = [name for name in re.split(r"[,\s]+", value) if name]
        if set(names) - set(choices):
            raise ValueError(f"may only contain: {', '.join(choices)}")
        return tuple(choice for choice in choices if choice in names)

    return parse


def _action_types(value: str) -> tuple[str, ...]:
    names = [name for name in re.split(r"[,\s]+", value) if name]
    if not names or not all(re.fullmatch(r"[a-z0-9_.:]+", name, re.I) for name in names):
        raise ValueError("must be Meta's action types, separated by commas")
    return tuple(dict.fromkeys(names))


def switch(value: str) -> bool:
    return one_of("true", "false")(value) == "true"


def setting(
    parse: Callable[[str], Any], help: str, *, default: Any = MISSING, secret: bool = False
) -> Any:
    """A field of a dataclass for `load`. `parse` raises ValueError with a clause that says what is
    wrong and quotes nothing; a `secret` may come from a file, and is not in the repr."""
    metadata = {"parse": parse, "help": help, "secret": secret}
    if default is MISSING:
        return field(repr=not secret, metadata=metadata)
    return field(default=default, repr=not secret, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One field per setting; its name in upper case is its name in the environment."""

    supabase_url: str = setting(_project_url, "URL of the Supabase project")
    supabase_service_role_key: str = setting(
        _supabase_key, "its secret key (sb_secret_...) or legacy service_role key", secret=True
    )
    slack_bot_token: str = setting(_bot_token, "bot token of the Slack app", secret=True)
    slack_api_url: str = setting(
        _slack_url, "base URL of Slack's Web API", default="https://slack.com/api/"
    )
    slack_channel_rate: float = setting(
        number(0, 100), "messages per second and channel; 0 = no limit", default=1.0
    )
    slack_workspace_rate: float = setting(
        number(0, 1000),
        "messages per second and workspace, on average; 0 = no limit",
        default=5.0,
    )
    slack_workspace_burst: float = setting(
        number(1, 10_000),
        "messages that may be sent at once before that rate applies",
        default=300.0,
    )
    notification_batch_size: int = setting(
        whole(1, 500), "notifications claimed at first; more while the queue is long", default=100
    )
    notification_concurrency: int = setting(
        whole(1, 128), "channels posted to at the same time", default=64
    )
    notification_expiry_hours: float = setting(
        number(0.01, 8760),
        "hours after which a notification is recorded as expired",
        default=24.0,
    )
    notification_unverifiable: str = setting(
        one_of("repost", "park"),
        "what to do with a message that may have been posted where the bot cannot read: "
        "repost (marked as a possible duplicate) or park its destination",
        default="repost",
    )
    notification_threads: str = setting(
        one_of("off", "on"),
        "whether later messages about a request go into the thread of the first one in their "
        "channel; changes of its status are shown in the channel too",
        default="off",
    )
    notification_linger_seconds: float = setting(
        number(0, 900),
        "seconds for which a run that has drained the queue keeps polling; 0 = it ends",
        default=0.0,
    )
    notification_locale: str = setting(
        one_of(*LOCALE_NAMES),
        "how numbers, money and dates are written if a config has no template",
        default="en-US",
    )
    app_request_url: str | None = setting(
        _request_url,
        "the address of a request in your app, with {id} for its id, such as "
        "https://app.example.com/requests/{id}; messages link to it",
        default=None,
    )
    meta_graph_url: str = setting(
        _url, "base URL of Meta's Graph API, without version", default="https://graph.facebook.com"
    )
    meta_api_version: str = setting(
        _api_version(r"v\d+\.\d+", "v26.0"), "version of Meta's Graph API", default="v26.0"
    )
    google_ads_url: str = setting(
        _url,
        "base URL of the Google Ads API, without version",
        default="https://googleads.googleapis.com",
    )
    google_ads_api_version: str = setting(
        _api_version(r"v\d+", "v26"), "version of the Google Ads API", default="v26"
    )
    google_token_url: str = setting(
        _url,
        "where Google's refresh tokens are exchanged",
        default="https://oauth2.googleapis.com/token",
    )
    google_client_id: str | None = setting(
        _client_id,
        "OAuth client of the Google connections that have none of their own",
        default=None,
    )
    google_client_secret: str | None = setting(
        text, "the secret of that OAuth client", default=None, secret=True
    )
    google_developer_token: str | None = setting(
        text,
        "sent to Google Ads if set; Google has ignored it since September 2026",
        default=None,
        secret=True,
    )
    tiktok_api_url: str = setting(
        _url,
        "base URL of TikTok's Business API, without version",
        default="https://business-api.tiktok.com/open_api",
    )
    tiktok_api_version: str = setting(
        _api_version(r"v\d+\.\d+", "v1.3"), "version of TikTok's Business API", default="v1.3"
    )
    linkedin_api_url: str = setting(
        _url, "base URL of LinkedIn's Marketing API", default="https://api.linkedin.com/rest"
    )
    linkedin_api_version: str = setting(
        _api_version(r"20\d\d(0[1-9]|1[0-2])", "202607"),
        "version of LinkedIn's Marketing API: the month of its release",
        default="202607",
    )
    linkedin_token_url: str = setting(
        _url,
        "where LinkedIn's refresh tokens are exchanged",
        default="https://www.linkedin.com/oauth/v2/accessToken",
    )
    sync_queue_url: str | None = setting(
        _queue_url,
        "the SQS queue between the plan and the syncs; only the metrics_sync function needs it",
        default=None,
    )
    metrics_concurrency: int = setting(
        whole(1, 1000), "ad accounts synced at the same time", default=5
    )
    metrics_look_back_days: int = setting(
        whole(1, 90),
        "complete days before today that are re-read at least once a day",
        default=30,
    )
    metrics_recent_days: int = setting(
        whole(0, 90),
        "days, including today, that an account synced more than once a day reads each time; it "
        "reads the whole look-back once a day (0: each time)",
        default=3,
    )
    metrics_figures: tuple[str, ...] = setting(
        _some_of(*OPTIONAL_FIGURES),
        "figures to derive in addition to the usual seven, separated by commas",
        default=(),
    )
    meta_conversion_actions: tuple[str, ...] = setting(
        _action_types,
        "the action types that count as conversions on Meta, separated by commas",
        default=("omni_purchase", "lead"),
    )
    archive_bucket_name: str | None = setting(
        text,
        "the S3 bucket of the cold archive; without one, no copy of purged rows is kept",
        default=None,
    )
    notifications_enabled: bool = setting(
        switch,
        "whether the notifications are meant to run; false: health ignores them",
        default=True,
    )
    metrics_enabled: bool = setting(
        switch, "whether the metrics sync is meant to run; false: health ignores it", default=True
    )
    retention_enabled: bool = setting(
        switch, "whether retention is meant to run; false: health ignores it", default=True
    )
    sentry_dsn: str | None = setting(
        _sentry_dsn,
        "the DSN that errors are sent to, if you use Sentry",
        default=None,
        secret=True,
    )

    @property
    def switched_off(self) -> frozenset[str]:
        """The workers that are not meant to run."""
        parts = {
            "notifications": self.notifications_enabled,
            "metrics_sync": self.metrics_enabled,
            "retention": self.retention_enabled,
        }
        return frozenset(name for name, is_enabled in parts.items() if not is_enabled)


def load_settings(
    environment: Mapping[str, str],
    *,
    dotenv: Path | None = None,
    read_secret: Callable[[str], Mapping[str, object]] | None = None,
    defaults: Mapping[str, str] = MappingProxyType({}),
) -> Settings:
    """The workers' settings, by `load`."""
    return load(Settings, environment, dotenv=dotenv, read_secret=read_secret, defaults=defaults)


def load(
    kind: type[S],
    environment: Mapping[str, str],
    *,
    dotenv: Path | None = None,
    read_secret: Callable[[str], Mapping[str, object]] | None = None,
    defaults: Mapping[str, str] = MappingProxyType({}),
) -> S:
    """The settings of a dataclass whose fields are made by `setting`: from the environment, `.env`,
    the secret and `defaults`, in this order.

    `read_secret` takes the secret's name and returns its JSON object; it is called only when
    WORKERS_SECRET_NAME is set. Raises ConfigurationError that names every setting that is
    missing or malformed, and no value.
    """
    sources: list[Mapping[str, object]] = [environment]
    if dotenv is not None and dotenv.is_file():
        sources.append(read_dotenv(dotenv))
    secret_name = environment.get("WORKERS_SECRET_NAME")
    if secret_name and read_secret is not None:
        sources.append(read_secret(secret_name))
    sources.append(defaults)

    values: dict[str, Any] = {}
    problems: list[str] = []
    for one in fields(kind):
        try:
            raw = _raw(one, environment, sources)
            if raw is not None:
                values[one.name] = _parsed(one, raw)
        except ValueError as error:
            problems.append(f"{one.name.upper()}{error}")
    if problems:
        raise ConfigurationError("; ".join(problems))
    return kind(**values)


def _raw(
    one: Field[Any], environment: Mapping[str, str], sources: Iterable[Mapping[str, object]]
) -> str | None:
    """The value in the first source that has one. Raises ValueError if a required one is missing,
    or its file cannot be read."""
    name = one.name.upper()
    path = environment.get(f"{name}_FILE") if one.metadata["secret"] else None
    if path:
        if environment.get(name):
            raise ValueError(f" and {name}_FILE are both set: keep one of them")
        return _of_file(Path(path))
    raw = next((str(source[name]) for source in sources if source.get(name)), None)
    if raw is None and one.default is MISSING:
        raise ValueError(f" is missing: {one.metadata['help']}")
    return raw


def _of_file(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:  # ValueError: not text
        kind = getattr(error, "strerror", None) or type(error).__name__
        raise ValueError(f"_FILE: {path} cannot be read: {kind}") from None
    if not text:
        raise ValueError(f"_FILE: {path} is empty")
    return text


def _parsed(one: Field[Any], raw: str) -> Any:
    """Raises ValueError that quotes nothing of it."""
    try:
        if one.metadata["secret"]:
            remember([raw], lasting=True)
            if flaw := flaw_of(raw.strip()):
                raise ValueError(flaw)
        return one.metadata["parse"](raw.strip())
    except ValueError as error:
        raise ValueError(f" {error}") from None


def environment_settings(
    read_secret: Callable[[str], Mapping[str, object]],
    *,
    dotenv: Path | None = None,
    defaults: Mapping[str, str] = MappingProxyType({}),
) -> Settings:
    """`load_settings` over this process's own environment."""
    return load_settings(os.environ, dotenv=dotenv, read_secret=read_secret, defaults=defaults)


def own_settings(kind: type[S], read_secret: Callable[[str], Mapping[str, object]]) -> S:
    """`load` of another program's settings over this process's own environment."""
    return load(kind, os.environ, read_secret=read_secret)


def runs_in_aws() -> bool:
    """Whether an AWS container service runs this process, so that its log goes to CloudWatch.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-metadata-endpoint-v4.html
    """
    return any(os.environ.get(name) for name in _OF_AWS)


def names_a_secret() -> bool:
    """Whether the keys are in AWS Secrets Manager."""
    return bool(os.environ.get("WORKERS_SECRET_NAME"))


@dataclass(frozen=True)
class DatabaseUrl:
    """A connection string of Postgres, in parts; `text` and `password` are hidden from its repr."""

    text: str = field(repr=False)
    host: str
    port: int
    database: str
    password: str | None = field(repr=False)
    sslmode: str


def read_database_url(*, dotenv: Path) -> DatabaseUrl:
    """SUPABASE_DB_URL of the environment, or else of `dotenv`: only `operate` needs it, for what
    the data API cannot do.

    Raises ConfigurationError that says where to find it, and never quotes it.
    """
    kept = read_dotenv(dotenv) if dotenv.is_file() else {}
    text = (os.environ.get(DATABASE_URL) or kept.get(DATABASE_URL) or "").strip()
    if not text:
        raise ConfigurationError(f"{DATABASE_URL} is missing: {_WHERE}")
    try:
        return database_url(text)
    except ValueError as error:
        raise ConfigurationError(f"{DATABASE_URL} {error}") from None


def database_url(text: str) -> DatabaseUrl:
    """A connection string in parts. Raises ValueError that quotes nothing of it."""
    remember([text], lasting=True)
    if flaw := flaw_of(text):
        raise ValueError(f"{flaw}; it is {_WHERE}")
    try:
        parts = urlsplit(text)
        port = parts.port or 5432
        is_one = parts.scheme in ("postgresql", "postgres") and parts.hostname
    except ValueError:  # the port is not a number: a password with a slash or a colon
        is_one = False
    if not is_one or "[YOUR-PASSWORD]" in text:
        raise ValueError(
            "is not postgresql://USER:PASSWORD@HOST/DATABASE with the password "
            f"percent-encoded: {_WHERE}"
        )
    asked = dict(parse_qsl(parts.query)).get("sslmode")
    remember([parts.password or "", unquote(parts.password or "")], lasting=True)
    is_local = parts.hostname in _LOOPBACK
    return DatabaseUrl(
        text=text,
        host=str(parts.hostname),
        port=port,
        database=parts.path.lstrip("/") or "postgres",
        password=unquote(parts.password) if parts.password else None,
        sslmode=asked or ("prefer" if is_local else "require"),
    )


def read_dotenv(path: Path) -> dict[str, str]:
    """NAME=value lines; `export`, quotes, comments and blank lines are allowed.

    Raises ConfigurationError that names a malformed line by its number.
    """
    values: dict[str, str] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        stripped = line.strip().removeprefix("export ").strip()
        if not stripped or stripped.startswith("#"):
            continue
        name, separator, value = stripped.partition("=")
        if not separator or not name.strip().isidentifier():
            raise ConfigurationError(f"{path.name}, line {number}: expected NAME=value")
        value = value.strip()
        quoted = _QUOTED.fullmatch(value)
        values[name.strip()] = quoted[2] if quoted else value.partition(" #")[0].rstrip()
    return values
