"""What any credential has to look like to be sent at all."""

from __future__ import annotations

import re
from typing import Final

# All that a header field allows: https://www.rfc-editor.org/rfc/rfc9110#section-5.5
_OTHER: Final = re.compile(r"[^!-~]")


def flaw_of(credential: str) -> str | None:
    """Why it cannot be a credential, as a clause that quotes nothing of it; None if it can.

    Usually it was copied from a wrapped line, or together with the text next to it.
    """
    found = _OTHER.search(credential)
    if found is None:
        return None
    character = found[0]
    if character in "\r\n":
        kind = "a line break"
    elif character.isspace():
        kind = "a space"
    elif character.isprintable():
        kind = "a character that is not ASCII"
    else:
        kind = "an invisible character"
    return f"contains {kind} (at position {found.start() + 1}): copy it again, in one piece"
