"""Why another side could not be reached is said in words: no class of a library, no address."""

from __future__ import annotations

import socket
import ssl
from http.client import RemoteDisconnected

import httpx
import pytest
import requests
from botocore import exceptions as boto
from botocore.exceptions import SSOTokenLoadError, UnauthorizedSSOTokenError

from workers.errors import ConfigurationError, unreachable_since
from workers.metrics import sync_queue
from workers.retention import archive

URL = "https://secret.example/?token=x"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (httpx.ReadTimeout("x"), "there was no answer in time"),
        (httpx.ConnectTimeout("x"), "there was no answer in time"),
        (httpx.ConnectError("x"), "no connection could be made"),
        (httpx.RemoteProtocolError("x"), "the connection broke"),
        (requests.ConnectionError("x"), "no connection could be made, or it broke"),
        (requests.ReadTimeout("x"), "there was no answer in time"),
        (requests.exceptions.SSLError("x"), "no secure connection could be made"),
        (requests.exceptions.ProxyError("x"), "the proxy could not be used"),
        (boto.EndpointConnectionError(endpoint_url=URL), "no connection could be made"),
        (boto.ReadTimeoutError(endpoint_url=URL), "there was no answer in time"),
        (boto.ConnectionClosedError(endpoint_url=URL), "the connection broke"),
        (boto.ProxyConnectionError(proxy_url=URL, error="x"), "the proxy could not be used"),
        (ConnectionRefusedError("x"), "no connection could be made"),
        (socket.gaierror("x"), "its name is not known"),
        (TimeoutError("x"), "there was no answer in time"),
        (ssl.SSLCertVerificationError("x"), "no secure connection could be made"),
        (RemoteDisconnected("x"), "the connection broke"),
    ],
    ids=repr,
)
def test_why_it_could_not_be_reached_is_said_in_words(error: Exception, words: str) -> None:
    assert unreachable_since(error) == words


@pytest.mark.parametrize(
    "error",
    [
        boto.NoCredentialsError(),
        boto.NoRegionError(),
        UnauthorizedSSOTokenError(),
        SSOTokenLoadError(error_msg="no token"),
        boto.ProfileNotFound(profile="other"),
    ],
    ids=repr,
)
def test_a_sign_in_to_aws_that_is_missing_or_over_says_what_to_check(error: Exception) -> None:
    for translated in (archive._translated("bucket b"), sync_queue._translated()):
        with pytest.raises(ConfigurationError, match="Check the region") as it, translated:
            raise error
        assert type(error).__name__ not in str(it.value)
