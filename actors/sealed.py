"""Secrets on their way to a job: sealed with the cluster's token, since all see the environment of a job in clear.

Values of environment variables travel as one text that only the token opens, the very token that every client and
every node of a cluster with token authentication has. It promises no more than that: who holds the token can open them,
and can run code on the nodes anyway; a token that can be guessed protects nothing.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping, MutableMapping
from pathlib import Path

from tracelift_ray.errors import InfrastructureError

#: Where the sealed text stands in a job's environment.
SEALED = "TRACELIFT_SEALED"
COMPONENT = "secrets"
_SALT_BYTES = 16


def cluster_token(environment: Mapping[str, str]) -> str | None:
    """Ray's token, where Ray itself looks for it; None without token authentication."""
    if environment.get("RAY_AUTH_MODE", "").lower() != "token":
        return None
    if environment.get("RAY_AUTH_TOKEN"):
        return environment["RAY_AUTH_TOKEN"].strip()
    home = Path(environment.get("HOME") or Path.home())
    file = Path(environment.get("RAY_AUTH_TOKEN_PATH") or home / ".ray" / "auth_token")
    try:
        return file.read_text("utf-8").strip() or None
    except OSError:
        return None


def seal(values: Mapping[str, str], token: str) -> str:
    """The values of variables as a text that ``token`` opens; another one each time."""
    from cryptography.fernet import Fernet

    salt = os.urandom(_SALT_BYTES)
    sealed = Fernet(_key(token, salt)).encrypt(json.dumps(dict(values)).encode())
    return f"{base64.urlsafe_b64encode(salt).decode()}.{sealed.decode()}"


def opened(text: str, token: str) -> dict[str, str]:
    """The values that ``seal`` was given. Raises InfrastructureError where the token is another one."""
    from cryptography.fernet import Fernet, InvalidToken

    salt, _, sealed = text.partition(".")
    try:
        plain = Fernet(_key(token, base64.urlsafe_b64decode(salt))).decrypt(sealed.encode())
    except (InvalidToken, ValueError):
        cause = "they were sealed with another token than this node's; submit again with the cluster's own"
        raise InfrastructureError(COMPONENT, cause) from None
    values: dict[str, str] = json.loads(plain)
    return values


def open_secrets(environment: MutableMapping[str, str] = os.environ) -> None:
    """Put the secrets of this job, if it has any, into the environment of this process. Raises InfrastructureError."""
    text = environment.get(SEALED)
    if text is None:
        return
    token = cluster_token(environment)
    if token is None:
        raise InfrastructureError(COMPONENT, "this node has no token to open them with; set RAY_AUTH_MODE=token on it")
    environment.update(opened(text, token))


def _key(token: str, salt: bytes) -> bytes:
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    derived = HKDF(SHA256(), 32, salt, b"tracelift secrets").derive(token.encode())
    return base64.urlsafe_b64encode(derived)
