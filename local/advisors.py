"""Runs Supabase's database advisors over the migrations: `python -m local.advisors`.

A fresh database gets the migrations, as a new project does; the Supabase CLI then looks for
missing row-level security, mutable search paths, duplicate indexes and the like. Exits with 1
if it finds anything of level `warn` or worse.
"""

from __future__ import annotations

import subprocess
import sys

from local.environment import bare
from local.services import postgres
from local.services.node import MODULES, ensure_installed
from local.services.tether import Tether


def main() -> int:
    """The exit status."""
    node = ensure_installed(with_dev=True)
    with Tether(postgres.server_directory()) as tether:
        server = postgres.start(tether)
        url = server.create_database("advised")
        postgres.bootstrap(url)
        postgres.migrate(url)
        command = [
            str(node.executable),
            str(MODULES / "supabase" / "dist" / "supabase.js"),
            "db",
            "advisors",
            f"--remote={url}",
            "--fail-on=warn",
        ]
        quiet = {"SUPABASE_TELEMETRY_DISABLED": "1", "DO_NOT_TRACK": "1", "PGSSLMODE": "disable"}
        return subprocess.run(command, env={**bare(), **quiet}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
