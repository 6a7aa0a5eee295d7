"""Authentication in front of a GraphQL server, and who is calling, frozen, in every resolver.

The names below are the public face; adapters are imported from their own modules: `graphql_authkit.asgi`,
`graphql_authkit.wsgi`, `graphql_authkit.graphql`, `graphql_authkit.integrations.strawberry`,
`graphql_authkit.testing`.
"""

from ._http import Fetched, Fetcher
from .authenticator import Authenticator, current_auth
from .errors import (
    AuthError,
    ConfigurationError,
    Forbidden,
    InvalidToken,
    TokenExpired,
    TokenRevoked,
    Unauthenticated,
    Unavailable,
)
from .issuing import TokenIssuer
from .keys import JWKS, KeySource, PrivateKey, PublicKey, RemoteJWKS, SecretKey, discover
from .model import ANONYMOUS, AuthContext, AuthenticatedContext, Request, VerifiedToken
from .revocation import Revocations, RevocationStore
from .stores.memory import MemoryRevocationStore
from .verifier import ByIssuer, JWTVerifier, Verifier

__all__ = [
    "ANONYMOUS",
    "JWKS",
    "AuthContext",
    "AuthError",
    "AuthenticatedContext",
    "Authenticator",
    "ByIssuer",
    "ConfigurationError",
    "Fetched",
    "Fetcher",
    "Forbidden",
    "InvalidToken",
    "JWTVerifier",
    "KeySource",
    "MemoryRevocationStore",
    "PrivateKey",
    "PublicKey",
    "RemoteJWKS",
    "Request",
    "RevocationStore",
    "Revocations",
    "SecretKey",
    "TokenExpired",
    "TokenIssuer",
    "TokenRevoked",
    "Unauthenticated",
    "Unavailable",
    "VerifiedToken",
    "Verifier",
    "current_auth",
    "discover",
]

__version__ = "0.1.0"
