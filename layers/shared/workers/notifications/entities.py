"""What the ids in an event refer to: its request, its client and its people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Final

from workers.answers import Answer


@dataclass(frozen=True)
class Request:
    """`url` is its address in the agency's app, where one is set."""

    id: str | None = None
    title: str | None = None
    due_date: str | None = None
    url: str | None = None


@dataclass(frozen=True)
class Client:
    """A client of the agency."""

    name: str | None = None


@dataclass(frozen=True)
class Person:
    """A user of the dashboard."""

    name: str | None = None
    slack_id: str | None = None


@dataclass(frozen=True)
class Entities:
    """What the ids in an event refer to; None in each field that is unknown."""

    request: Request = Request()
    client: Client = Client()
    actor: Person = Person()
    assignee: Person = Person()

    def as_values(self) -> Mapping[str, object]:
        """As placeholders name it: `{{request.title}}`, `{{actor.name}}`."""
        return asdict(self)


NO_ENTITIES: Final = Entities()

# The placeholders that `as_values` fills.
ENTITY_PATHS: Final = tuple(
    f"{entity.name}.{one.name}"
    for entity in fields(Entities)
    for one in fields(getattr(NO_ENTITIES, entity.name))
)


def read_entities(function: str, value: object) -> Entities:
    """From what known_of_event returns, which `function` passes on. Raises ConfigurationError."""
    found = Answer.of(function, value)
    request, client = found.optional_inner("request"), found.optional_inner("client")
    return Entities(
        request=Request(
            id=request.optional_text("id"),
            title=request.optional_text("title"),
            due_date=request.optional_text("due_date"),
        )
        if request
        else Request(),
        client=Client(client.optional_text("name")) if client else Client(),
        actor=_person(found.optional_inner("actor")),
        assignee=_person(found.optional_inner("assignee")),
    )


def _person(found: Answer | None) -> Person:
    if found is None:
        return Person()
    return Person(found.optional_text("name"), found.optional_text("slack_id"))
