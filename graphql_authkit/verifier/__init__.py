"""Verifiers: from a token's text to a VerifiedToken, or an AuthError."""

from .by_issuer import ByIssuer
from .jwt import JWTVerifier, VerifierOptions
from .protocol import Verifier

__all__ = ["ByIssuer", "JWTVerifier", "Verifier", "VerifierOptions"]
