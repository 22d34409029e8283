"""A function's handler in a process of its own, which kills itself at a named call of the data API.

`python -m tests.integration.killed_handler` reads one JSON object from stdin: function, and kill_at
(a step's name, or null). Its settings are in the environment. It prints the steps that it took,
one a line, before each is taken; steps are as in tests.notifications.killed_run.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from local.invoke import load, new_context, scheduled_event
from tests.notifications.killed_run import Steps
from workers.database import Database


def main() -> None:
    order = json.load(sys.stdin)
    steps = Steps(order["kill_at"])
    call = Database.call

    def stepped(self: Database, function: str, **arguments: Any) -> Any:
        steps.take(f"before {function}")
        answer = call(self, function, **arguments)
        steps.take(f"after {function}")
        return answer

    Database.call = stepped  # type: ignore[method-assign]
    function = order["function"]
    load(function).lambda_handler(scheduled_event(function), new_context(function))


if __name__ == "__main__":
    main()
