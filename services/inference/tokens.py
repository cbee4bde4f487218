"""Tokens of deployments."""

import base64
import secrets

TOKEN_LENGTH = 56


def new_deployment_token() -> str:
    """A fresh token in the shape PAI-EAS gives out: 56 characters, base64 of 40 hexadecimal digits, 160 random bits.

    Source: two examples in the README of Alibaba's Python SDK, decoded.
    """
    return base64.b64encode(secrets.token_hex(20).encode()).decode()
