"""What an SQL function returned, read once, field by field, with the type that each field has.

A field that is missing or of another type means that the database's functions are not those that
this code was written for: the run fails, and the error names the function and the field.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from typing import NoReturn, TypeVar

from workers.errors import ConfigurationError

E = TypeVar("E", bound=Enum)


@dataclass(frozen=True)
class Answer:
    """A JSON object, and the SQL function that returned it. Every method raises
    ConfigurationError for a field that is missing or not of its type."""

    function: str
    fields: Mapping[str, object]

    @classmethod
    def of(cls, function: str, value: object) -> Answer:
        """Raises ConfigurationError for what is not an object."""
        if not isinstance(value, dict):
            raise _unexpected(function, f"{_kind(value)}, not an object")
        return cls(function, value)

    @classmethod
    def each(cls, function: str, value: object) -> tuple[Answer, ...]:
        """The objects of an array. Raises ConfigurationError for anything else."""
        if not isinstance(value, list):
            raise _unexpected(function, f"{_kind(value)}, not an array")
        return tuple(cls.of(function, one) for one in value)

    def flag(self, name: str) -> bool:
        """true or false."""
        value = self._field(name)
        return value if isinstance(value, bool) else self._refuse(name, value, "true or false")

    def whole(self, name: str) -> int:
        """A whole number."""
        value = self._field(name)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        return self._refuse(name, value, "a whole number")

    def optional_whole(self, name: str) -> int | None:
        """A whole number, or None for null."""
        return None if self._field(name) is None else self.whole(name)

    def number(self, name: str) -> float:
        """A number."""
        value = self._field(name)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        return self._refuse(name, value, "a number")

    def optional_number(self, name: str) -> float | None:
        """A number, or None for null."""
        return None if self._field(name) is None else self.number(name)

    def text(self, name: str) -> str:
        """A text."""
        value = self._field(name)
        return value if isinstance(value, str) else self._refuse(name, value, "a text")

    def optional_text(self, name: str) -> str | None:
        """A text, or None for null."""
        return None if self._field(name) is None else self.text(name)

    def texts(self, name: str) -> tuple[str, ...]:
        """An array of texts."""
        value = self._field(name)
        if isinstance(value, list) and all(isinstance(one, str) for one in value):
            return tuple(value)
        return self._refuse(name, value, "an array of texts")

    def time(self, name: str) -> datetime:
        """A point in time, aware."""
        text = self.text(name)
        try:
            value = datetime.fromisoformat(text)
        except ValueError:
            return self._refuse(name, text, "a time")
        return value if value.tzinfo else self._refuse(name, text, "a time with its zone")

    def optional_time(self, name: str) -> datetime | None:
        """A point in time, aware, or None for null and for a time without a date (infinity)."""
        if self._field(name) in (None, "infinity", "-infinity"):
            return None
        return self.time(name)

    def day(self, name: str) -> date:
        """A day."""
        text = self.text(name)
        try:
            return date.fromisoformat(text)
        except ValueError:
            return self._refuse(name, text, "a day")

    def optional_day(self, name: str) -> date | None:
        """A day, or None for null."""
        return None if self._field(name) is None else self.day(name)

    def decimal(self, name: str) -> Decimal:
        """A number that is sent as a text, so that it keeps every digit."""
        text = self.text(name)
        try:
            value = Decimal(text)
        except ArithmeticError:
            return self._refuse(name, text, "a number as a text")
        return value if value.is_finite() else self._refuse(name, text, "a finite number")

    def optional_decimal(self, name: str) -> Decimal | None:
        """A number that is sent as a text, or None for null."""
        return None if self._field(name) is None else self.decimal(name)

    def wholes(self, name: str) -> dict[str, int]:
        """The fields of an object within this one, each a whole number."""
        inner = self.inner(name)
        return {field: inner.whole(field) for field in inner.fields}

    def texts_by_name(self, name: str) -> dict[str, str]:
        """The fields of an object within this one, each a text."""
        inner = self.inner(name)
        return {field: inner.text(field) for field in inner.fields}

    def by_date(self, name: str) -> tuple[Answer, dict[date, str]]:
        """An object within this one whose fields are named by dates, and these names by date."""
        inner = self.inner(name)
        try:
            return inner, {date.fromisoformat(field): field for field in inner.fields}
        except ValueError:
            raise _unexpected(self.function, f"{name} with a field that is not a date") from None

    def choice(self, name: str, choices: type[E]) -> E:
        """The member of an enumeration that has this value."""
        value = self._field(name)
        try:
            return choices(value)
        except ValueError:
            names = ", ".join(str(member.value) for member in choices)
            return self._refuse(name, value, f"one of {names}")

    def json(self, name: str) -> object:
        """Any JSON value."""
        return self._field(name)

    def inner(self, name: str) -> Answer:
        """An object within this one."""
        value = self._field(name)
        if isinstance(value, dict):
            return Answer(self.function, value)
        return self._refuse(name, value, "an object")

    def optional_inner(self, name: str) -> Answer | None:
        """An object within this one, or None for null."""
        return None if self._field(name) is None else self.inner(name)

    def inners(self, name: str) -> tuple[Answer, ...]:
        """The objects of an array."""
        value = self._field(name)
        if isinstance(value, list) and all(isinstance(one, dict) for one in value):
            return tuple(Answer(self.function, one) for one in value)
        return self._refuse(name, value, "an array of objects")

    def _field(self, name: str) -> object:
        if name not in self.fields:
            raise _unexpected(self.function, f"no {name}")
        return self.fields[name]

    def _refuse(self, name: str, value: object, expected: str) -> NoReturn:
        raise _unexpected(self.function, f"{name}, which is {_kind(value)}, not {expected}")


def read_whole(function: str, value: object) -> int:
    """A function's whole number. Raises ConfigurationError for anything else."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise _unexpected(function, f"{_kind(value)}, not a whole number")


def read_flag(function: str, value: object) -> bool:
    """A function's true or false. Raises ConfigurationError for anything else."""
    if isinstance(value, bool):
        return value
    raise _unexpected(function, f"{_kind(value)}, not true or false")


def read_text(function: str, value: object) -> str:
    """A function's text. Raises ConfigurationError for anything else."""
    if isinstance(value, str):
        return value
    raise _unexpected(function, f"{_kind(value)}, not a text")


def read_texts(function: str, value: object) -> list[str]:
    """A function's array of texts. Raises ConfigurationError for anything else."""
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return value
    raise _unexpected(function, f"{_kind(value)}, not an array of texts")


def read_wholes(function: str, value: object) -> list[int]:
    """A function's array of whole numbers. Raises ConfigurationError for anything else."""
    if isinstance(value, list):
        return [read_whole(function, one) for one in value]
    raise _unexpected(function, f"{_kind(value)}, not an array of whole numbers")


def _kind(value: object) -> str:
    """What a value is, without the value, which may be a user's."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a text"
        case list():
            return "an array"
        case _:
            return "an object"


def _unexpected(function: str, returned: str) -> ConfigurationError:
    return ConfigurationError(
        f"the database's {function} returned {returned}: its functions are not of this version; "
        "apply the migrations with `python -m workers.operate migrate`",
        code="unexpected_answer",
    )
