"""The local stack: `python -m local up | demo | invoke | reset`."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from local import demo, running
from local.invoke import InvokeError, invoke, known_functions, read_event
from local.node import NodeError
from local.stack import ROOT, Stack
from local.tether import TetherError

# What a person reads goes to stderr wherever stdout belongs to a script.
notes = Console(stderr=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 0 done, 1 failed, 2 called wrongly."""
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        return int(options.command(options))
    except KeyboardInterrupt:
        return 130
    except (NodeError, TetherError, running.StateError) as error:
        notes.print(str(error), style="red", markup=False)
        return 1


def up(options: argparse.Namespace) -> int:
    """Start the stack and keep it running until Ctrl-C."""
    console = Console()
    if running.find() is not None:
        notes.print("The stack of this clone is up already: use that one, or stop it first.")
        return 1
    with Stack(progress=_progress) as started:
        running.remember(started)
        try:
            console.print("\nThe stack is up. To use it from elsewhere:\n")
            for name, value in started.environment().items():
                console.print(f"export {name}={value}", soft_wrap=True, highlight=False)
            console.print("\nAlso:\n")
            for name, value in (
                ("SUPABASE_ANON_KEY", started.keys.publishable),
                ("DATABASE_URL", started.database_url),
            ):
                console.print(f"export {name}={value}", soft_wrap=True, highlight=False)
            console.print("\nCtrl-C stops it.", highlight=False)
            sys.stdout.flush()
            signal.pause()
        except KeyboardInterrupt:
            console.print("\nStopping.")
        finally:
            running.forget()
    return 0


def show_demo(options: argparse.Namespace) -> int:
    """Run every worker over a sample agency and show what came of it."""
    console = Console()
    with Stack(progress=_progress) as started:
        well = demo.play(started, console)
    return 0 if well else 1


def invoke_function(options: argparse.Namespace) -> int:
    """One pass of a function; its summary is the last line on stdout."""
    try:
        event = read_event(options.function, options.event)
        with _environment() as environment:
            summary = invoke(options.function, event, environment)
    except InvokeError as error:
        notes.print(str(error), style="red", markup=False)
        return 2
    except (NodeError, TetherError, running.StateError):
        raise
    except Exception:  # noqa: BLE001 - the handler raised: that is the result to show
        traceback.print_exc()
        return 1
    print(json.dumps(summary, ensure_ascii=False, default=str))
    return 0


def reset(options: argparse.Namespace) -> int:
    """Put a running stack back to the sample agency."""
    found = running.find()
    if found is None:
        print("No stack is running; each one starts with the sample agency.")
        return 0
    found.reset()
    print("The stack is back to the sample agency.")
    return 0


@contextmanager
def _environment() -> Iterator[Mapping[str, str]]:
    """What the function runs against: the settings' own project, a running stack, or a new one."""
    if _is_configured():
        yield {}
        return
    found = running.find()
    if found is not None:
        yield found.environment()
        return
    with Stack(progress=_progress) as started:
        yield started.environment()


def _is_configured() -> bool:
    """Whether SUPABASE_URL is set, in the environment or in .env."""
    if os.environ.get("SUPABASE_URL"):
        return True
    dotenv = ROOT / ".env"
    names = dotenv.read_text(encoding="utf-8").splitlines() if dotenv.is_file() else []
    return any(
        line.strip().removeprefix("export ").replace(" ", "").startswith("SUPABASE_URL=")
        for line in names
    )


def _progress(what: str, seconds: float) -> None:
    notes.print(f"{what} ready in {seconds:.1f} s", style="dim", highlight=False)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m local",
        description="A whole stack on this machine: Postgres, the data API, Slack's stand-in.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, command in (("up", up), ("demo", show_demo), ("reset", reset)):
        commands.add_parser(name, help=command.__doc__).set_defaults(command=command)
    invocation = commands.add_parser("invoke", help=invoke_function.__doc__)
    invocation.add_argument(
        "function", metavar="FUNCTION", help=f"one of: {', '.join(known_functions())}"
    )
    invocation.add_argument(
        "--event", type=Path, metavar="FILE", help="the event (events/FUNCTION.json)"
    )
    invocation.set_defaults(command=invoke_function)
    return parser


if __name__ == "__main__":
    sys.exit(main())
