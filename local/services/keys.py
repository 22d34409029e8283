"""The API keys of one stack: random, of both generations that Supabase has."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass

TEN_YEARS = 10 * 365 * 24 * 3600


@dataclass(frozen=True)
class Keys:
    """The keys that a client may present, hidden by `repr`."""

    jwt_secret: str
    secret: str
    publishable: str
    legacy_service_role: str
    legacy_anon: str

    def __repr__(self) -> str:
        return "Keys(...)"

    @classmethod
    def generate(cls) -> Keys:
        """A new, random set."""
        jwt_secret = secrets.token_urlsafe(40)
        return cls(
            jwt_secret=jwt_secret,
            secret=f"sb_secret_{secrets.token_urlsafe(24)}",
            publishable=f"sb_publishable_{secrets.token_urlsafe(24)}",
            legacy_service_role=sign({"role": "service_role"}, jwt_secret),
            legacy_anon=sign({"role": "anon"}, jwt_secret),
        )

    def user_token(self, user_id: str) -> str:
        """The access token of a signed-in user, to send along with the publishable key."""
        claims = {"sub": user_id, "role": "authenticated", "aud": "authenticated"}
        return sign(claims, self.jwt_secret)


def sign(claims: Mapping[str, object], secret: str, lifetime: float = TEN_YEARS) -> str:
    """A JSON web token with `claims`, signed with HS256 and expiring after `lifetime` seconds."""
    now = int(time.time())
    whole = {"iss": "supabase", "iat": now, "exp": int(now + lifetime), **claims}
    signed = f"{_encode({'alg': 'HS256', 'typ': 'JWT'})}.{_encode(whole)}"
    digest = hmac.new(secret.encode(), signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{_base64url(digest)}"


def _encode(value: Mapping[str, object]) -> str:
    return _base64url(json.dumps(value, separators=(",", ":")).encode())


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
