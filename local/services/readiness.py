"""How the stack's servers report that they accept requests: a line "ready <port>"."""

from __future__ import annotations

import re

from local.services.tether import Child

_READY = re.compile(r"^ready (\d+)\n", re.MULTILINE)


def announce(port: int) -> None:
    """Report on stdout that this process serves on `port`."""
    print(f"ready {port}", flush=True)


def announced_port(child: Child) -> int | None:
    """The port that the child serves on, or None until it has reported it."""
    ports = announced_ports(child, 1)
    return ports[0] if ports else None


def announced_ports(child: Child, count: int) -> list[int] | None:
    """The ports of a child that serves on `count` of them, likewise."""
    ports = [int(port) for port in _READY.findall(child.output())]
    return ports if len(ports) >= count else None
