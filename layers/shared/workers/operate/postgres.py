"""The database itself, through psycopg: for what the data API cannot do. Only for the command line,
never in the layer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from workers.errors import ConfigurationError
from workers.settings import DatabaseUrl

if TYPE_CHECKING:
    import psycopg

CONNECT_SECONDS: Final = 15


@contextmanager
def connected(url: DatabaseUrl, command: str) -> Iterator[psycopg.Connection[Any]]:
    """For `operate <command>`; raises ConfigurationError that never quotes the URL, which holds the
    password."""
    try:
        import psycopg  # noqa: PLC0415 - not in the layer
    except ModuleNotFoundError:
        raise ConfigurationError(
            "psycopg is not installed here: run `make install`, then "
            f"`.venv/bin/python -m workers.operate {command}`"
        ) from None
    try:
        connection = psycopg.connect(
            url.text,
            autocommit=True,
            connect_timeout=CONNECT_SECONDS,
            sslmode=url.sslmode,
            prepare_threshold=None,  # a pooler in transaction mode keeps no statements
            application_name=f"agency-dashboard-workers {command}",
        )
    except psycopg.OperationalError as error:
        raise ConfigurationError(
            f"SUPABASE_DB_URL: {url.host} refuses the connection: {_reason(error, url)}"
        ) from None
    except psycopg.ProgrammingError:  # its text may quote the password
        raise ConfigurationError(
            "SUPABASE_DB_URL is not a connection string; a password with special characters must "
            "be percent-encoded in it"
        ) from None
    with connection:
        yield connection


def _reason(error: Exception, url: DatabaseUrl) -> str:
    """The last line of the error, and what helps."""
    said = str(error).strip().splitlines()[-1].rpartition("failed: ")[2] or type(error).__name__
    said = said.replace(url.password, "[redacted]") if url.password else said
    if "password authentication" in said:
        return f"{said}. Reset the database's password in the project's settings if it is lost"
    if "unreachable" in said or "resolve" in said or "not known" in said:
        return (
            f"{said}. The direct connection of a project is IPv6 only: use the session pooler's "
            "string"
        )
    return said
