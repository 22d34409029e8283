"""What a credential has to look like to be sent at all, whatever it opens."""

from __future__ import annotations

import re
from typing import Final

# A header field takes no more: https://www.rfc-editor.org/rfc/rfc9110#section-5.5
_OTHER: Final = re.compile(r"[^!-~]")


def flaw_of(credential: str) -> str | None:
    """What no credential has, as a clause that quotes nothing of it; None where there is none.

    Mostly it was copied from a line that was wrapped, or along with what stood beside it.
    """
    found = _OTHER.search(credential)
    if found is None:
        return None
    character = found[0]
    if character in "\r\n":
        kind = "a line break"
    elif character.isspace():
        kind = "a blank"
    elif character.isprintable():
        kind = "a character that is not ASCII"
    else:
        kind = "a character that cannot be seen"
    return f"holds {kind} (at position {found.start() + 1}): copy it again, in one piece"
