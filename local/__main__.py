"""The local stack: `python -m local up | demo | console | serve | invoke | reset`."""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
from rich.console import Console

from local import demo, environment, running
from local.invoke import InvokeError, effect_of, invoke, known_functions, read_event
from local.services.node import NodeError
from local.services.tether import TetherError
from local.stack import ROOT, Running, Stack
from workers.errors import ConfigurationError, WorkerError
from workers.settings import read_dotenv

if TYPE_CHECKING:
    from server.console.serving import ConsoleServer

# Messages for people go to stderr, so that scripts can use stdout.
notes = Console(stderr=True)
# A fixed port, for bookmarks, unless it is taken.
CONSOLE_PORT = 3002


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 0 success, 1 failure, 2 invalid arguments, 130 interrupted by Ctrl-C."""
    options = _parser().parse_args(arguments)
    if not options.project:
        environment.isolate()
    _stop_cleanly_on_signals()
    try:
        return int(options.command(options))
    except KeyboardInterrupt:
        return 130
    except InvokeError as error:
        return _say(error, 2)
    except (NodeError, TetherError, running.StateError, ConfigurationError) as error:
        return _say(error, 1)
    except psycopg.Error as error:  # most likely in a migration, which the note names
        return _say(error, 1)


def up(options: argparse.Namespace) -> int:
    """Start the stack and keep it running until Ctrl-C."""
    if running.find() is not None:
        notes.print("The stack of this clone is already running: use it, or stop it first.")
        return 1
    with Stack(progress=_progress) as started:
        running.remember(started)
        try:
            pages = _pages_of(started)
            _show(started)
            print()
            pages.announce()
            print("\nCtrl-C stops it.", flush=True)
            threading.Event().wait()  # until a signal arrives
        except KeyboardInterrupt:
            notes.print("\nStopping.")
        finally:
            running.forget()
    return 0


def _pages_of(started: Running) -> ConsoleServer:
    """The console of that stack, in this process until it ends."""
    # imported here, so that the other commands start sooner
    from server.console.project import Project
    from server.console.serving import ConsoleServer

    os.environ.update(started.environment())
    pages = ConsoleServer(Project(), "127.0.0.1", _console_port(), _print)
    pages.start()
    return pages


def _print(line: str) -> None:
    print(line, flush=True)


def show_demo(options: argparse.Namespace) -> int:
    """Run every worker over a sample agency and show the results."""
    with Stack(progress=_progress) as started:
        well = demo.play(started, Console())
    if well:
        print("To see it in a browser: make console")
    return 0 if well else 1


def serve(options: argparse.Namespace) -> int:
    """Run all workers as one process; `python -m server`'s arguments follow `--`."""
    with _stack() as chosen, _program("server", _arguments(options), chosen) as server:
        return server.wait()


def console(options: argparse.Namespace) -> int:
    """Show what the workers did in a browser; `python -m server.console`'s options follow `--`."""
    arguments = _arguments(options)
    if not any(one.startswith("--port") for one in arguments):
        arguments += ["--port", str(_console_port())]
    with _stack(_play) as chosen, _program("server.console", arguments, chosen) as pages:
        return pages.wait()


def _play(started: Running) -> None:
    """Run every worker once, so that the console has something to show."""
    notes.print("Running every worker once over the sample agency", style="dim")
    demo.play(started, Console(quiet=True))


def _arguments(options: argparse.Namespace) -> list[str]:
    return [one for one in options.arguments if one != "--"]


def _console_port() -> int:
    """The usual port if it is free, else 0."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", CONSOLE_PORT))
        except OSError:
            return 0
    return CONSOLE_PORT


@contextmanager
def _program(
    module: str, arguments: Sequence[str], on: Running
) -> Iterator[subprocess.Popen[bytes]]:
    """One of this clone's programs, run against that stack only. Ctrl-C reaches it directly; when
    this process ends for another reason, so does the program."""
    command = [sys.executable, "-m", module, *arguments]
    started = subprocess.Popen(command, env=environment.of_stack(on), cwd=ROOT)
    try:
        yield started
    finally:
        started.terminate()
        started.wait()


def invoke_function(options: argparse.Namespace) -> int:
    """Run a function once; its summary is the last line on stdout."""
    event = read_event(options.function, options.event)
    with _target(options, event) as chosen:
        if chosen is None:
            return 1
        try:
            summary = json.dumps(invoke(options.function, event, chosen))
        except InvokeError:
            raise
        except WorkerError as error:  # its message says what to do
            return _say(f"{type(error).__name__}: {error}", 1)
        except Exception:  # noqa: BLE001 - the handler raised: that is the result to show
            traceback.print_exc()
            return 1
    print(summary)
    return 0


def reset(options: argparse.Namespace) -> int:
    """Reset a running stack to the sample agency."""
    found = running.find()
    if found is None:
        print("No stack is running; every stack starts with the sample agency.")
        return 0
    found.reset()
    print("The stack was reset to the sample agency.")
    return 0


def _stop_cleanly_on_signals() -> None:
    """Make each of the usual signals stop the stack and forget it."""
    # set again, because a shell's background job starts with Ctrl-C ignored
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # ignored under nohup
            signal.signal(number, lambda number, _: sys.exit(128 + number))


def _show(started: Running) -> None:
    """Print the stack's addresses and keys, to be pasted into another terminal."""
    public = {
        "SUPABASE_ANON_KEY": started.keys.publishable,
        "DATABASE_URL": started.database_url,
    }
    print("\nThe stack is running. `make invoke` and `make reset` use it. For other programs:\n")
    for name, value in {**started.environment(), **public}.items():
        print(f"export {name}={value}")
    print(f"\nMessages in the fake Slack: {started.slack_url}/")
    for name, fake in started.ad_platforms.items():
        print(f"Requests to the fake {name}: {fake.url}/__control/journal")


@contextmanager
def _stack(prepare: Callable[[Running], None] = lambda started: None) -> Iterator[Running]:
    """The running stack, or a new one after `prepare`."""
    if found := running.find():
        notes.print("Using the running stack", style="dim", highlight=False)
        yield found
    else:
        with Stack(progress=_progress) as started:
            prepare(started)
            yield started


@contextmanager
def _target(options: argparse.Namespace, event: Any) -> Iterator[Mapping[str, str] | None]:
    """The environment that the function runs with: of the running stack, a new one or, with
    `--project`, the configured project. None if the user did not agree."""
    if options.project:
        yield _project_environment(options, event)
    else:
        with _stack() as chosen:
            yield environment.of_stack(chosen)


def _project_environment(options: argparse.Namespace, event: Any) -> Mapping[str, str] | None:
    """This process's environment over `.env`; raises InvokeError if no project is named."""
    dotenv = ROOT / ".env"
    settings = {**(read_dotenv(dotenv) if dotenv.is_file() else {}), **os.environ}
    project = settings.get("SUPABASE_URL")
    if not project:
        raise InvokeError("--project: set SUPABASE_URL in .env or in the environment.")
    notes.print(f"Project: {project}", highlight=False, soft_wrap=True)
    effect = effect_of(options.function, event, settings)
    if effect is None or options.yes:
        return settings
    return settings if _agrees(f"This {effect}. Continue?") else None


def _agrees(question: str) -> bool:
    """Whether the user at the terminal agrees."""
    if not sys.stdin.isatty():
        refusal = f"{question} Not a terminal: pass --yes to confirm."
        notes.print(refusal, markup=False, highlight=False, soft_wrap=True)
        return False
    notes.print(f"{question} [y/N] ", end="", markup=False, highlight=False, soft_wrap=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _say(error: Exception | str, status: int) -> int:
    text = "\n".join([str(error), *getattr(error, "__notes__", [])])
    notes.print(text, style="red", markup=False, highlight=False, soft_wrap=True)
    return status


def _progress(what: str, seconds: float) -> None:
    notes.print(f"{what} ready in {seconds:.1f} s", style="dim", highlight=False)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m local",
        description="A whole stack on this machine: Postgres, the data API and the fakes.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, command in (("up", up), ("demo", show_demo), ("reset", reset)):
        commands.add_parser(name, help=command.__doc__).set_defaults(command=command, project=False)
    for name, command in (("serve", serve), ("console", console)):
        program = commands.add_parser(name, help=command.__doc__, add_help=False)
        program.add_argument("arguments", nargs=argparse.REMAINDER)
        program.set_defaults(command=command, project=False)
    invocation = commands.add_parser("invoke", help=invoke_function.__doc__)
    invocation.add_argument(
        "function", metavar="FUNCTION", help=f"one of: {', '.join(known_functions())}"
    )
    invocation.add_argument(
        "--event", type=Path, metavar="FILE", help="the event (events/FUNCTION.json)"
    )
    invocation.add_argument(
        "--project",
        action="store_true",
        help="run against the project configured in .env and the environment, not the local stack",
    )
    invocation.add_argument(
        "--yes", action="store_true", help="do not ask before changing anything there"
    )
    invocation.set_defaults(command=invoke_function)
    return parser


if __name__ == "__main__":
    sys.exit(main())
