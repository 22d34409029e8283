"""`python -m server.console [--project]`: see docs/console.md."""

from __future__ import annotations

import signal

if __name__ == "__main__":  # until everything is loaded, Ctrl-C ends it silently
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import sys

try:
    from server.console.command_line import main
except ModuleNotFoundError as error:  # of the extra
    sys.stderr.write(f"{error.name} is not installed: pip install .[console]\n")
    sys.exit(2)

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(main())
