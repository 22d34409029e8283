"""A minimal environment for everything that must never touch a real project.

A developer's shell and `.env` may hold the keys of a real project. What runs against the local
stack therefore keeps only the named variables that programs need to run at all; its settings come
from the stack.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from local.stack import Running

# For finding programs, temporary files, the terminal and fetching packages; and the tests' options.
_KEPT = re.compile(
    r"PATH|HOME|USER|LOGNAME|SHELL|LANG|LC_\w+|TZ|TERM|COLORTERM|COLUMNS|LINES|NO_COLOR|FORCE_COLOR"
    r"|TMPDIR|XDG_\w+|CI|MAKE\w*|VIRTUAL_ENV|PYENV_\w+|PYTHON\w+|PIP_\w+|UV_\w+|npm_config_\w+"
    r"|(?i:https?_proxy|no_proxy|all_proxy)|SSL_CERT_\w+|REQUESTS_CA_BUNDLE|NODE_EXTRA_CA_CERTS"
    r"|SAM_CLI_TELEMETRY|PYTEST_\w+|HYPOTHESIS_\w+|COVERAGE_\w+"
    r"|POSTGREST|DELIVERY_EXAMPLES|KILL_SEEDS|OUTAGE_EACH|RETENTION_ROWS|LARGE_ACCOUNT_\w+"
)
# AWS clients do not look for a developer's credentials; time zones are those of the pinned tzdata,
# as in the functions.
_SET = {
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
    "PYTHONTZPATH": "",
}


def bare(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """`environment` without settings and credentials."""
    kept = {name: value for name, value in environment.items() if _KEPT.fullmatch(name)}
    return {**kept, **_SET}


def of_stack(running: Running) -> dict[str, str]:
    """The environment for running against that stack and nothing else."""
    return {**bare(), **running.environment()}


def isolate() -> None:
    """Reduce the environment of this process, and of those that it starts, to `bare`."""
    kept = bare()
    os.environ.clear()
    os.environ.update(kept)
