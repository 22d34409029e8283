"""Keeps secrets out of what is logged, stored or shown: error messages may quote them.

Known secrets are removed in every form in which a library or a server may write them; unknown ones
if they look like a credential. Code that reads a credential has it remembered: from then on it is
removed from every text.
"""

from __future__ import annotations

import base64
import re
import string
from collections.abc import Iterable
from functools import lru_cache
from html.entities import codepoint2name
from typing import Any, Final

LONGEST_MESSAGE: Final = 500
# Shorter texts are not keys, but parts of words and numbers: removing them would only make a
# message unreadable. The shortest real keys have about sixteen characters.
SHORTEST_SECRET: Final = 6
# What is remembered is removed from every text, whoever wrote it: it has to be longer still.
SHORTEST_REMEMBERED: Final = 8
MOST_REMEMBERED: Final = 1000
_MASK: Final = "[redacted]"

# Compiled patterns that are kept: only those of secrets that texts contained.
_MOST_PATTERNS: Final = 200

# Secrets of settings, and those of connections, of which a long-running process reads ever new
# ones: access tokens, for one, last an hour.
_lasting: dict[str, None] = {}
_remembered: dict[str, None] = {}

# Whatever looks like a credential of the services that the workers use, known or not:
# Meta (EAA...), Google (ya29..., 1//..., GOCSPX-...), LinkedIn (AQ...), Slack (xox?-..., xapp-...),
# Supabase (sb_secret_..., a JWT), an Authorization header, the user and password of a URL, and
# name=value or "name": "value" where the name suggests a secret, however often quoted or
# percent-encoded. After plain words a colon is part of a sentence ("access token: Session has
# expired"), unless what follows is longer than a word.
_SHAPES: Final = re.compile(
    r"EAA[A-Za-z0-9]{12,}"
    r"|ya29\.[\w.-]+"
    r"|1//[\w-]{8,}"
    r"|GOCSPX-[\w-]+"
    r"|(?<![\w-])AQ[\w-]{30,}"
    r"|xox[a-z]-[\w-]+"
    r"|xapp-[\w-]+"
    r"|sb_secret_[\w-]+"
    r"|eyJ[\w-]{8,}\.[\w-]+\.[\w-]*"
    r"|(?<=Bearer )\S+"
    r"|(?<=Basic )[\w+/=-]{8,}"
    r"|(?<=://)[^\s/:@]*:[^\s/@]+(?=@)"
    r"""|(?:(?<![\w-])|(?<=%[0-9A-F]{2}))(?P<name>"""
    r"""(?:access[-_]token|refresh[-_]token|client[-_]secret|app[-_]?secret|appsecret[-_]proof"""
    r"""|input[-_]token|developer[-_]token|api[-_]?key)"""
    r"""\\*["']?\s*(?:[=:]|%3[AD])\s*\\*["']?"""
    r"""|(?:token|secret|password)"""
    r"""(?:\\*["']\s*[=:]|\s*=|\\*["']?\s*%3[AD]|\s*:(?=\s*(?:\\*["']|[^\s&"',}\\]{16})))\s*\\*["']?"""
    r""")[^\s&"',}\\]+""",
    re.IGNORECASE,
)


def remember(secrets: Iterable[str], *, lasting: bool = False) -> None:
    """From now on, `mask` and `redact` remove these from every text of this process: the latest
    MOST_REMEMBERED, and those that are `lasting`, as a setting's is, whatever came after them."""
    pool = _lasting if lasting else _remembered
    for secret in secrets:
        text = secret.strip()
        if len(text) >= SHORTEST_REMEMBERED:
            pool.pop(text, None)
            pool[text] = None
    for oldest in list(pool)[:-MOST_REMEMBERED]:
        pool.pop(oldest, None)


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """`mask`, cut to LONGEST_MESSAGE characters."""
    text = mask(text, secrets)
    return text if len(text) <= LONGEST_MESSAGE else f"{text[: LONGEST_MESSAGE - 1]}…"


def mask(text: str, secrets: Iterable[str] = ()) -> str:
    """`text` without `secrets`, remembered secrets, and whatever looks like one.

    Of `secrets`, those of at least SHORTEST_SECRET characters are removed.
    """
    given = {secret.strip() for secret in secrets}
    known = {secret for secret in given if len(secret) >= SHORTEST_SECRET}
    known.update(_lasting, _remembered)
    there = [secret for secret in known if any(piece in text for piece in _pieces(secret))]
    for secret in sorted(there, key=len, reverse=True):
        text = _written(secret).sub(_MASK, text)
    return _SHAPES.sub(_masked, f" {text}")[1:]


def mask_all(value: Any) -> Any:
    """JSON with each of its texts masked."""
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, dict):
        return {name: mask_all(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [mask_all(each) for each in value]
    return value


def _masked(match: re.Match[str]) -> str:
    return f"{match['name'] or ''}{_MASK}"


@lru_cache(maxsize=MOST_REMEMBERED * 2)
def _pieces(secret: str) -> tuple[str, ...]:
    """Texts of which one is in every text that contains the secret in some form. To look for these
    takes a hundredth of the time of a pattern, and most texts contain none."""
    plain = (_longest(_PLAIN_RUN, part) for part in _long_parts(secret) or [secret])
    encoded = (_longest(_ALPHANUMERIC, own) for own in _in_base64(secret))
    return tuple({*plain, *encoded})


def _longest(pattern: re.Pattern[str], text: str) -> str:
    return max(pattern.findall(text), key=len, default="")


@lru_cache(maxsize=_MOST_PATTERNS)
def _written(secret: str) -> re.Pattern[str]:
    """Matches a secret in every form: unchanged, escaped as JSON or Python do, percent-encoded, for
    HTML, in base64 (also within a longer text, as in a Basic header), and its longer parts if it
    contains spaces or the like, where a text may be wrapped or cut."""
    # characters that are not ASCII may get lost; what is left may still be enough of a secret
    left = sum("!" <= character <= "~" for character in secret)
    is_partly_ascii = left >= SHORTEST_REMEMBERED
    whole = "".join(_escaped(each, may_be_lost=is_partly_ascii) for each in secret)
    of_parts = (
        "".join(_escaped(each, may_be_lost=False) for each in part) for part in _long_parts(secret)
    )
    encoded = (
        re.escape(own).replace(r"\+", "[+-]").replace("/", "[/_]") + r"[\w+/=-]*"
        for own in _in_base64(secret)
    )
    return re.compile("|".join([whole, *encoded, *of_parts]))


def _long_parts(secret: str) -> list[str]:
    """Its parts without spaces or the like that are long enough to be secrets themselves."""
    return [part for part in re.split(r"[^!-~]+", secret) if len(part) >= SHORTEST_REMEMBERED]


# What no encoding changes.
_PLAIN: Final = frozenset(string.ascii_letters + string.digits + "-._~")
_PLAIN_RUN: Final = re.compile(r"[A-Za-z0-9._~-]+")
_ALPHANUMERIC: Final = re.compile(r"[A-Za-z0-9]+")
_SHORT_ESCAPES: Final = {"\n": "n", "\r": "r", "\t": "t", "\b": "b", "\f": "f", "\v": "v"}


@lru_cache(maxsize=4096)
def _escaped(character: str, *, may_be_lost: bool) -> str:
    """A pattern for one character in all its forms."""
    if character in _PLAIN:
        return re.escape(character)
    code = ord(character)
    encoded = character.encode("utf-8", "surrogatepass")
    units = character.encode("utf-16-be", "surrogatepass")
    forms = [
        # if encoded twice, a percent sign is %25
        "".join(f"%(?:25)*{byte:02x}" for byte in encoded),
        # a backslash is itself escaped when a text is quoted again
        "".join(rf"\\+x{byte:02x}" for byte in encoded),
        "".join(rf"\\+u{units[at : at + 2].hex()}" for at in range(0, len(units), 2)),
        rf"\\+U{code:08x}",
        rf"\\+x{code:02x}",
        rf"&#0*{code};",
        rf"&#x0*{code:x};",
    ]
    if code in codepoint2name:
        forms.append(f"&{codepoint2name[code]};")
    if character in _SHORT_ESCAPES:
        forms.append(rf"\\+{_SHORT_ESCAPES[character]}")
    elif character == "\\":
        forms.append(r"\\+")
    elif code < 128:
        forms.append(rf"\\*{re.escape(character)}")
    if character.isspace():
        forms.append(r"\s+|\+")
    forms.append(re.escape(character))
    if code < 128:
        return f"(?i:{'|'.join(forms)})"
    # a character that an encoding does not have is replaced or left out
    return rf"(?i:{'|'.join(forms)}|\?|\ufffd){'?' if may_be_lost else ''}"


def _in_base64(secret: str) -> list[str]:
    """Its own characters at the three possible offsets within the groups of three bytes."""
    octets, found = secret.encode("utf-8", "surrogatepass"), []
    for shift in range(3):
        text = base64.b64encode(bytes(shift) + octets).decode()
        own = text[(shift * 8 + 5) // 6 : (shift + len(octets)) * 8 // 6]
        if len(own) >= SHORTEST_REMEMBERED:
            found.append(own)
    return found
