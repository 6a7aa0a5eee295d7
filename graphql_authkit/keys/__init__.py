"""Where verification keys come from: given here and now, or fetched from the issuer.

A source never makes a caller's thread or loop do its I/O, and never touches a token.
"""

from .discovery import ServerMetadata, discover
from .jwk import thumbprint
from .local import JWKS, PrivateKey, PublicKey, SecretKey
from .remote import RemoteJWKS
from .source import KeySet, KeySource

__all__ = [
    "JWKS",
    "KeySet",
    "KeySource",
    "PrivateKey",
    "PublicKey",
    "RemoteJWKS",
    "SecretKey",
    "ServerMetadata",
    "discover",
    "thumbprint",
]
