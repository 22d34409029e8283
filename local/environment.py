"""The environment of everything that must never touch a real project: made from nothing.

A developer's shell and `.env` may hold the keys of a real project. What runs against the local
stack therefore keeps only what programs need to run at all, by name, and gets its settings from the
stack.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from local.stack import Running

# What programs need to be found, to write temporary files, to speak to a terminal and to fetch
# packages; and what the tests are told.
_KEPT = re.compile(
    r"PATH|HOME|USER|LOGNAME|SHELL|LANG|LC_\w+|TZ|TERM|COLORTERM|COLUMNS|LINES|NO_COLOR|FORCE_COLOR"
    r"|TMPDIR|XDG_\w+|CI|MAKE\w*|VIRTUAL_ENV|PYENV_\w+|PYTHON\w+|PIP_\w+|UV_\w+|npm_config_\w+"
    r"|(?i:https?_proxy|no_proxy|all_proxy)|SSL_CERT_\w+|REQUESTS_CA_BUNDLE|NODE_EXTRA_CA_CERTS"
    r"|SAM_CLI_TELEMETRY|PYTEST_\w+|HYPOTHESIS_\w+|COVERAGE_\w+"
    r"|POSTGREST|DELIVERY_EXAMPLES|KILL_SEEDS|OUTAGE_EACH|RETENTION_ROWS|LARGE_ACCOUNT_\w+"
)
# Nor do AWS clients look for a developer's own credentials; time zones are those of the pinned
# tzdata, as in the functions.
_SET = {
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
    "PYTHONTZPATH": "",
}


def bare(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What is left of `environment`: nothing that is a setting or a credential."""
    kept = {name: value for name, value in environment.items() if _KEPT.fullmatch(name)}
    return {**kept, **_SET}


def of_stack(running: Running) -> dict[str, str]:
    """What a function needs to run against that stack, and against nothing else."""
    return {**bare(), **running.environment()}


def isolate() -> None:
    """Leave this process, and what it starts, with no more than that."""
    kept = bare()
    os.environ.clear()
    os.environ.update(kept)
