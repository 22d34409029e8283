"""`python -m server [WORKER ...] [--once]`: see docs/serve.md."""

from __future__ import annotations

import os
import signal

if __name__ == "__main__":  # nothing runs while the rest is loaded
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os._exit(0))
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the settings are about to be read

import sys

from server.command_line import main

if __name__ == "__main__":
    sys.exit(main())
