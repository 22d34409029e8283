"""`python -m server.console [--project]`: see docs/console.md."""

from __future__ import annotations

import signal

if __name__ == "__main__":  # until everything is loaded, Ctrl-C ends it silently
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import sys

from server.console.command_line import main

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(main())
