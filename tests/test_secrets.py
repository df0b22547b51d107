"""A key, or a password in a URL, stands in nothing that is written, logged, raised or shown."""

import base64
from urllib.parse import quote

import pytest

from tests.reliability.r18_secrets import KEY, PASSWORD, hits, leaks


@pytest.mark.parametrize("secret", [KEY, PASSWORD])
def test_a_secret_is_found_in_whatever_form(secret: str):
    for text in (secret, quote(secret, safe=""), secret.encode().hex(), *map(packed(secret), range(4))):
        assert leaks(f"x{text}y".encode())
    assert not leaks(b"nothing here")


def packed(secret: str):
    return lambda shift: base64.b64encode(b"." * shift + secret.encode() + b"..").decode()


@pytest.mark.slow
def test_commands_leak_no_secret():
    commands, files, _, found = hits(training=False)
    assert not found
    assert commands > 20
    assert files
