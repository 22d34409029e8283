"""Keeps secrets out of what is logged or stored: error texts of others may quote them."""

from __future__ import annotations

import re
from collections.abc import Iterable

LONGEST_MESSAGE = 500
# A text that is shorter is nobody's key, but part of words and numbers: taking it out would only
# make a message unreadable. The shortest real ones have some sixteen characters.
SHORTEST_SECRET = 6
_MASK = "[redacted]"

# Whatever looks like a credential of the services that the workers use, known to us or not:
# Meta (EAA...), Google (ya29..., 1//..., GOCSPX-...), LinkedIn (AQ...), Slack (xox?-...),
# Supabase (sb_secret_..., a JWT), an Authorization header, and name=value or "name": "value" of
# a telling name. After plain words a colon is part of a sentence ("access token: Session has
# expired"), unless what follows is longer than words are.
_SHAPES = re.compile(
    r"EAA[A-Za-z0-9]{12,}"
    r"|ya29\.[\w.-]+"
    r"|1//[\w-]{8,}"
    r"|GOCSPX-[\w-]+"
    r"|(?<![\w-])AQ[\w-]{30,}"
    r"|xox[a-z]-[\w-]+"
    r"|sb_secret_[\w-]+"
    r"|eyJ[\w-]{8,}\.[\w-]+\.[\w-]*"
    r"|(?<=Bearer )\S+"
    r"""|(?<=[?&\s"'{,])(?:access[-_]token|refresh_token|client_secret|app_secret|appsecret_proof"""
    r"""|input_token|developer[-_]token)["']?\s*[=:]\s*["']?[^\s&"',}]+"""
    r"""|(?<=[?&\s"'{,])(?:token|secret|password)(?:["']?\s*=|["']\s*:)\s*["']?[^\s&"',}]+"""
    r"""|(?<=[?&\s"'{,])(?:token|secret|password):\s*[^\s&"',}]{16,}""",
    re.IGNORECASE,
)
_NAMED = re.compile(r"""^([\w-]+["']?\s*[=:]\s*["']?)""")


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """`text` without `secrets` and whatever looks like one, cut to LONGEST_MESSAGE characters.

    Of `secrets`, those of SHORTEST_SECRET characters and more are looked for.
    """
    for secret in sorted(set(secrets), key=len, reverse=True):
        if len(secret) >= SHORTEST_SECRET:
            text = text.replace(secret, _MASK)
    text = _SHAPES.sub(_mask, f" {text}")[1:]
    return text if len(text) <= LONGEST_MESSAGE else f"{text[: LONGEST_MESSAGE - 1]}…"


def _mask(match: re.Match[str]) -> str:
    named = _NAMED.match(match.group())
    return f"{named.group()}{_MASK}" if named else _MASK
