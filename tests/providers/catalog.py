"""What identity providers publish and issue, as their documentation shows it, and the configuration each needs.

Every shape is the documented one: header members, claims, JWK members, metadata. Only the keys are ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from graphql_authkit import PrivateKey, SecretKey
from graphql_authkit.errors import AuthError, ClaimRejected, KeysUnavailable, MalformedToken, UnknownKey
from graphql_authkit.testing import sign
from tests import support

NOW = int(support.NOW)
API = "https://api.example.com/graphql"
ANOTHER_API = "https://another-api.example.com"
CERTIFICATE = "MIIDBTCCAe2gAwIBAgIQWPB1ofOpA7FFlOBk5iPaNTANBgkqhkiG9w0BAQsFADAt"  # x5c is never read

Claims = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What a verified token must say."""

    subject: str
    scopes: frozenset[str] = frozenset()
    client_id: str | None = None
    session_id: str | None = None
    token_id: str | None = None


@dataclass(frozen=True)
class Miss:
    """A token that comes close and must be refused.

    Args:
        what: For the test's name.
        claim: The one that ClaimRejected names; None where the error is another.
        claims: All of them.
        header: Instead of the access token's.
        key: Signs instead of the provider's.
        text: The whole token, where it is no JWT that could be signed here.
        error: What is raised.
    """

    what: str
    claim: str | None
    claims: Claims = field(default_factory=dict)
    header: Claims | None = None
    key: PrivateKey | SecretKey | None = None
    text: str | None = None
    error: type[AuthError] = ClaimRejected


@dataclass(frozen=True)
class Lack:
    """How the genuine token fails without an option, and what of the log names that option."""

    option: str
    error: type[AuthError]
    says: str
    instead: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Provider:
    """One provider, in one of its configurations.

    Args:
        name: The heading in docs/providers.md.
        documentation: The pages that the shapes are from.
        issuer: What `from_issuer` is given.
        options: What else it is given.
        metadata_url: Where the metadata is.
        metadata: Its members that matter, and some that do not.
        keys: The JWKs without `n` and `e`; the first one signs.
        header: The access token's.
        claims: The access token's.
        misses: Near misses.
        lacks: What fails without an option.
        guards: Which near miss would be accepted without an option.
    """

    name: str
    documentation: tuple[str, ...]
    issuer: str
    options: Mapping[str, Any]
    metadata_url: str
    metadata: Mapping[str, Any]
    keys: tuple[Mapping[str, Any], ...]
    header: Claims
    claims: Claims
    expected: Expected
    misses: tuple[Miss, ...]
    lacks: tuple[Lack, ...] = ()
    guards: Mapping[str, str] = field(default_factory=dict)

    def documents(self) -> dict[str, Mapping[str, Any]]:
        """Everything that is fetched from the provider, by URL."""
        jwks = [
            {**members, **_numbers(support.key("RS256", number))} for number, members in enumerate(self.keys, start=1)
        ]
        return {self.metadata_url: self.metadata, self.metadata["jwks_uri"]: {"keys": jwks}}

    def token(self, **changes: Any) -> str:
        """The access token, or one with other claims; None leaves one out."""
        claims = {name: value for name, value in {**self.claims, **changes}.items() if value is not None}
        return sign(self.header, claims, support.key())

    def near_miss(self, miss: Miss) -> str:
        """A near miss, signed with the provider's own key unless it says otherwise."""
        if miss.text is not None:
            return miss.text
        return sign(self.header if miss.header is None else miss.header, miss.claims, miss.key or support.key())


def _numbers(key: PrivateKey) -> dict[str, str]:
    public = key.public_jwk()
    return {"n": public["n"], "e": public["e"]}


def _but(claims: Claims, *without: str, **changes: Any) -> Claims:
    return {name: value for name, value in {**claims, **changes}.items() if name not in without}


def _common(claims: Claims, *, audience: bool = True) -> tuple[Miss, ...]:
    """What every provider's token must not get away with."""
    issuer: str = claims["iss"]
    other = issuer[:-1] if issuer.endswith("/") else issuer + "/"
    slash = Miss("an issuer that differs by its trailing slash", "iss", _but(claims, iss=other))
    another = Miss("a token for another audience", "aud", _but(claims, aud=ANOTHER_API))
    return (slash, another) if audience else (slash,)


_LOGOUT: Claims = {"http://schemas.openid.net/event/backchannel-logout": {}}
_ANOTHER_CLIENT = "another-client"

# -------------------------------------------------------------------------------------------------- Auth0

_AUTH0 = "https://example.eu.auth0.com/"
_AUTH0_HEADER = {"alg": "RS256", "typ": "JWT", "kid": "NjVBRjY5MDlCMUIwNzU4RTA2QzZFMDQ4QzQ2MDAyQjVDNjk1RTM2Qg"}
_AUTH0_CLAIMS = {
    "iss": _AUTH0,
    "sub": "auth0|123456",
    "aud": [API, f"{_AUTH0}userinfo"],
    "azp": "my_client_id",
    "exp": NOW + 86_400,
    "iat": NOW,
    "scope": "openid profile read:patients read:admin",
    "https://example.com/favorite_color": "blue",
}
_AUTH0_9068_CLAIMS = {**_but(_AUTH0_CLAIMS, "azp"), "client_id": "my_client_id", "jti": "73WakrfVbNJBaAmhQtEeDv"}
_AUTH0_ID_TOKEN = {
    "iss": _AUTH0,
    "sub": "auth0|123456",
    "aud": "my_client_id",
    "exp": NOW + 36_000,
    "iat": NOW,
    "sid": "cKjZlUPGxQ",
    "nonce": "n-0S6_WzA2Mj",
    "name": "Jane Doe",
    "email": "janedoe@example.com",
}
_AUTH0_LOGOUT_TOKEN = {**_but(_AUTH0_ID_TOKEN, "nonce", "name", "email"), "jti": "l-1", "events": _LOGOUT}
_AUTH0_SCOPES = frozenset({"openid", "profile", "read:patients", "read:admin"})
_AUTH0_METADATA = {
    "issuer": _AUTH0,
    "authorization_endpoint": f"{_AUTH0}authorize",
    "token_endpoint": f"{_AUTH0}oauth/token",
    "jwks_uri": f"{_AUTH0}.well-known/jwks.json",
    "id_token_signing_alg_values_supported": ["HS256", "RS256", "PS256"],
}
_AUTH0_JWK = {
    "kty": "RSA",
    "use": "sig",
    "alg": "RS256",
    "kid": _AUTH0_HEADER["kid"],
    "x5t": "NjVBRjY5MDlCMUIwNzU4RTA2QzZFMDQ4QzQ2MDAyQjVDNjk1RTM2Qg",
    "x5c": [CERTIFICATE],
}
_AUTH0_LOGOUT_MISS = Miss("a logout token", "typ", _AUTH0_LOGOUT_TOKEN, {**_AUTH0_HEADER, "typ": "logout+jwt"})

AUTH0 = Provider(
    name="Auth0",
    documentation=("https://auth0.com/docs/secure/tokens/access-tokens/access-token-profiles",),
    issuer=_AUTH0,
    options={"audience": API},
    metadata_url=f"{_AUTH0}.well-known/openid-configuration",
    metadata=_AUTH0_METADATA,
    keys=(_AUTH0_JWK, {**_AUTH0_JWK, "kid": "RkI5MjI5OUY5ODc1N0Q4QzM0OUYzNkVGMTJDOUEzQkFCOTU3NjE2Rg"}),
    header=_AUTH0_HEADER,
    claims=_AUTH0_CLAIMS,
    expected=Expected(subject="auth0|123456", scopes=_AUTH0_SCOPES, client_id="my_client_id"),
    misses=(
        *_common(_AUTH0_CLAIMS),
        Miss("a token for userinfo only", "aud", _but(_AUTH0_CLAIMS, aud=f"{_AUTH0}userinfo")),
        Miss("an ID token", "aud", _AUTH0_ID_TOKEN),
        _AUTH0_LOGOUT_MISS,
        Miss("another tenant's token", "iss", _but(_AUTH0_CLAIMS, iss="https://another.eu.auth0.com/")),
    ),
)

AUTH0_RFC9068 = Provider(
    name="Auth0, RFC 9068 profile",
    documentation=("https://auth0.com/docs/secure/tokens/access-tokens/access-token-profiles",),
    issuer=_AUTH0,
    options={"audience": API, "profile": "rfc9068"},
    metadata_url=f"{_AUTH0}.well-known/openid-configuration",
    metadata=_AUTH0_METADATA,
    keys=(_AUTH0_JWK,),
    header={**_AUTH0_HEADER, "typ": "at+jwt"},
    claims=_AUTH0_9068_CLAIMS,
    expected=Expected(
        subject="auth0|123456", scopes=_AUTH0_SCOPES, client_id="my_client_id", token_id="73WakrfVbNJBaAmhQtEeDv"
    ),
    misses=(
        *_common(_AUTH0_9068_CLAIMS),
        Miss("a token of the Auth0 profile", "typ", _AUTH0_CLAIMS, _AUTH0_HEADER),
        Miss("an ID token", "typ", _AUTH0_ID_TOKEN, _AUTH0_HEADER),
        _AUTH0_LOGOUT_MISS,
    ),
    guards={"profile": "a token of the Auth0 profile"},
)

# --------------------------------------------------------------------------------------------------- Okta

_OKTA = "https://example.okta.com/oauth2/default"
_OKTA_HEADER = {"kid": "ZkvelLN_seik7w4pc_prCcfUf-h2hFfiwkDeCrs0iUc", "alg": "RS256"}
_OKTA_CLAIMS = {
    "ver": 1,
    "jti": "AT.0mP4JKAZX1iACIT4vbEDF7LpvDVjxypPMf0D7uX39RE",
    "iss": _OKTA,
    "aud": "api://default",
    "sub": "jane@example.com",
    "iat": NOW,
    "exp": NOW + 3600,
    "cid": "nmdP1fcyvdVO11AL7ECm",
    "uid": "00ugmznkbLTmR27Ak0h7",
    "scp": ["openid", "email", "patients.read"],
    "auth_time": NOW - 60,
}
_OKTA_ID_TOKEN = {
    "sub": "00ugmznkbLTmR27Ak0h7",
    "name": "Jane Doe",
    "ver": 1,
    "iss": _OKTA,
    "aud": "nmdP1fcyvdVO11AL7ECm",
    "iat": NOW,
    "exp": NOW + 3600,
    "jti": "ID.4eAWJOCMB3SX8XewDfVR",
    "amr": ["pwd"],
    "idp": "00ok1u7AsAkrwdZL3z0g3",
    "nonce": "n-0S6_WzA2Mj",
    "auth_time": NOW - 60,
    "at_hash": "cpqKfdQA5eH891Ff5oJr_Q",
}
_OKTA_ORG_CLAIMS = _but(_OKTA_CLAIMS, iss="https://example.okta.com", aud="https://example.okta.com")

OKTA = Provider(
    name="Okta",
    documentation=(
        "https://developer.okta.com/docs/api/openapi/okta-oauth/oauth/tag/CustomAS",
        "https://developer.okta.com/docs/concepts/auth-servers/",
    ),
    issuer=_OKTA,
    options={"audience": "api://default"},
    metadata_url=f"{_OKTA}/.well-known/openid-configuration",
    metadata={
        "issuer": _OKTA,
        "authorization_endpoint": f"{_OKTA}/v1/authorize",
        "token_endpoint": f"{_OKTA}/v1/token",
        "jwks_uri": f"{_OKTA}/v1/keys",
    },
    keys=({"kty": "RSA", "alg": "RS256", "kid": _OKTA_HEADER["kid"], "use": "sig"},),
    header=_OKTA_HEADER,
    claims=_OKTA_CLAIMS,
    expected=Expected(
        subject="jane@example.com",
        scopes=frozenset({"openid", "email", "patients.read"}),
        client_id="nmdP1fcyvdVO11AL7ECm",
        token_id="AT.0mP4JKAZX1iACIT4vbEDF7LpvDVjxypPMf0D7uX39RE",
    ),
    misses=(
        *_common(_OKTA_CLAIMS),
        Miss("an ID token", "aud", _OKTA_ID_TOKEN),
        Miss("a token of another authorization server", "iss", _but(_OKTA_CLAIMS, iss=_OKTA[:-7] + "ausd6kz")),
        Miss("a token of the org authorization server", "iss", _OKTA_ORG_CLAIMS),
        Miss(
            "a token of the org authorization server by its typ",
            "typ",
            _OKTA_ORG_CLAIMS,
            {**_OKTA_HEADER, "typ": "application/okta-internal-at+jwt"},
        ),
    ),
)

# ----------------------------------------------------------------------------------------------- Keycloak

_KEYCLOAK = "https://keycloak.example.com/realms/demo"
_KEYCLOAK_HEADER = {"alg": "RS256", "typ": "JWT", "kid": "FJ86GcF3jTbNLOco4NvZkUCIUmfYCqoqtOQeMfbhNlE"}
_KEYCLOAK_CLAIMS = {
    "exp": NOW + 300,
    "iat": NOW,
    "auth_time": NOW - 60,
    "jti": "onrtac:d58f5dc8-fd8f-462b-8a19-716f8f83985b",
    "iss": _KEYCLOAK,
    "aud": ["graphql-api", "account"],
    "sub": "36fa0f91-f94d-4a0c-afed-6b7d952e47da",
    "typ": "Bearer",
    "azp": "web-app",
    "sid": "2a88c258-f73a-4103-b862-e1fbd8f4e04e",
    "acr": "1",
    "allowed-origins": ["https://app.example.com"],
    "realm_access": {"roles": ["offline_access", "default-roles-demo", "uma_authorization"]},
    "resource_access": {"account": {"roles": ["manage-account", "view-profile"]}},
    "scope": "openid email profile",
    "email_verified": True,
    "name": "Jane Doe",
    "preferred_username": "jane",
    "email": "jane@example.com",
}
_KEYCLOAK_ID_TOKEN = {
    **_but(_KEYCLOAK_CLAIMS, "scope", "allowed-origins", "realm_access", "resource_access"),
    "jti": "9f5f6ed0-0d3c-4c5b-a6a5-5d9a1c4d9a77",
    "aud": "web-app",
    "typ": "ID",
    "at_hash": "RKZ8mwqNr3hJ6vVYBCt0Vg",
}
_KEYCLOAK_REFRESH_TOKEN = {
    "exp": NOW + 1800,
    "iat": NOW,
    "jti": "8f3bb9b7-1d9d-4d25-8f0c-0d3a5f6b4d5e",
    "iss": _KEYCLOAK,
    "aud": _KEYCLOAK,
    "sub": _KEYCLOAK_CLAIMS["sub"],
    "typ": "Refresh",
    "azp": "web-app",
    "sid": _KEYCLOAK_CLAIMS["sid"],
    "scope": "openid email profile",
}
_KEYCLOAK_LOGOUT_TOKEN = {
    "iat": NOW,
    "exp": NOW + 120,
    "jti": "b0ac0d39-2a5b-4a3a-92f1-3f9f3b3b7b1e",
    "iss": _KEYCLOAK,
    "aud": "web-app",
    "sub": _KEYCLOAK_CLAIMS["sub"],
    "typ": "Logout",
    "sid": _KEYCLOAK_CLAIMS["sid"],
    "events": _LOGOUT,
}
_KEYCLOAK_METADATA = {
    "issuer": _KEYCLOAK,
    "authorization_endpoint": f"{_KEYCLOAK}/protocol/openid-connect/auth",
    "token_endpoint": f"{_KEYCLOAK}/protocol/openid-connect/token",
    "jwks_uri": f"{_KEYCLOAK}/protocol/openid-connect/certs",
    "id_token_signing_alg_values_supported": ["PS384", "RS384", "EdDSA", "ES384", "HS256", "RS256"],
}
_KEYCLOAK_JWK = {
    "kid": _KEYCLOAK_HEADER["kid"],
    "kty": "RSA",
    "alg": "RS256",
    "use": "sig",
    "x5c": [CERTIFICATE],
    "x5t": "sFXMmjvnPxTyxnJZqBOVQTBSIyM",
    "x5t#S256": "XRjHmNcBIFcbpVWnVNcBLSeSgFPYNZtRjnTpQYXRQ6s",
}
_KEYCLOAK_KEYS = (_KEYCLOAK_JWK, {**_KEYCLOAK_JWK, "kid": "rTNmYp6mzrPwoDk", "alg": "RSA-OAEP", "use": "enc"})
_REALM_SECRET = SecretKey(b"the realm's own secret, which signs refresh tokens: 64 bytes or so", algorithm="HS512")
_KEYCLOAK_OTHER_TOKENS = (
    Miss("an ID token", "typ", _KEYCLOAK_ID_TOKEN),
    Miss(
        "a refresh token",
        None,
        _KEYCLOAK_REFRESH_TOKEN,
        {"alg": "HS512", "typ": "JWT", "kid": "a6c39f4b-6bb4-4e7f-8f0e-6a3ce1d4c2ba"},
        key=_REALM_SECRET,
        error=UnknownKey,
    ),
    Miss("a refresh token, if it were signed with the realm's public key pair", "typ", _KEYCLOAK_REFRESH_TOKEN),
    Miss("an offline token", "typ", _but(_KEYCLOAK_REFRESH_TOKEN, "exp", typ="Offline")),
    Miss("a logout token", "typ", _KEYCLOAK_LOGOUT_TOKEN, {**_KEYCLOAK_HEADER, "typ": "logout+jwt"}),
    Miss("a logout token of an older version, by its payload", "typ", _KEYCLOAK_LOGOUT_TOKEN),
)

KEYCLOAK = Provider(
    name="Keycloak",
    documentation=("https://www.keycloak.org/docs/latest/server_admin/#audience-support",),
    issuer=_KEYCLOAK,
    options={"audience": "graphql-api"},
    metadata_url=f"{_KEYCLOAK}/.well-known/openid-configuration",
    metadata=_KEYCLOAK_METADATA,
    keys=_KEYCLOAK_KEYS,
    header=_KEYCLOAK_HEADER,
    claims=_KEYCLOAK_CLAIMS,
    expected=Expected(
        subject="36fa0f91-f94d-4a0c-afed-6b7d952e47da",
        scopes=frozenset({"openid", "email", "profile"}),
        client_id="web-app",
        session_id="2a88c258-f73a-4103-b862-e1fbd8f4e04e",
        token_id="onrtac:d58f5dc8-fd8f-462b-8a19-716f8f83985b",
    ),
    misses=(
        *_common(_KEYCLOAK_CLAIMS),
        Miss("a token without the audience mapper", "aud", _but(_KEYCLOAK_CLAIMS, aud="account")),
        Miss("another realm's token", "iss", _but(_KEYCLOAK_CLAIMS, iss="https://keycloak.example.com/realms/master")),
        *_KEYCLOAK_OTHER_TOKENS,
    ),
)

_LIGHTWEIGHT_CLAIMS = {
    "exp": NOW + 300,
    "iat": NOW,
    "jti": "onltac:6f2f3c61-5d3f-4a8c-8b57-4a0c0c9a3f11",
    "iss": _KEYCLOAK,
    "typ": "Bearer",
    "azp": "web-app",
    "sid": "2a88c258-f73a-4103-b862-e1fbd8f4e04e",
    "scope": "openid email profile",
    "preferred_username": "jane",
}

KEYCLOAK_LIGHTWEIGHT = Provider(
    name="Keycloak, lightweight access token",
    documentation=(
        "https://www.keycloak.org/docs/latest/server_admin/#_using_lightweight_access_token",
        "https://www.keycloak.org/docs/latest/release_notes/#lightweight-access-token-to-be-even-more-lightweight",
    ),
    issuer=_KEYCLOAK,
    options={"client_ids": ["web-app"], "subject_claim": "preferred_username"},
    metadata_url=f"{_KEYCLOAK}/.well-known/openid-configuration",
    metadata=_KEYCLOAK_METADATA,
    keys=_KEYCLOAK_KEYS,
    header=_KEYCLOAK_HEADER,
    claims=_LIGHTWEIGHT_CLAIMS,
    expected=Expected(
        subject="jane",
        scopes=frozenset({"openid", "email", "profile"}),
        client_id="web-app",
        session_id="2a88c258-f73a-4103-b862-e1fbd8f4e04e",
        token_id="onltac:6f2f3c61-5d3f-4a8c-8b57-4a0c0c9a3f11",
    ),
    misses=(
        *_common(_LIGHTWEIGHT_CLAIMS, audience=False),
        Miss("another client's token", "azp", _but(_LIGHTWEIGHT_CLAIMS, azp=_ANOTHER_CLIENT)),
        Miss("a token for some audience", "aud", _but(_LIGHTWEIGHT_CLAIMS, aud="account")),
        *_KEYCLOAK_OTHER_TOKENS,
    ),
    lacks=(
        Lack("subject_claim", ClaimRejected, "subject_claim="),
        Lack("client_ids", ClaimRejected, "client_ids=", instead={"audience": "web-app"}),
    ),
)

# ------------------------------------------------------------------------------------------------ Cognito

_COGNITO = "https://cognito-idp.us-east-1.amazonaws.com/us-east-1_example"
_COGNITO_HEADER = {"kid": "1234example=", "alg": "RS256"}
_COGNITO_CLAIMS = {
    "sub": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee",
    "device_key": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee",
    "cognito:groups": ["testgroup"],
    "iss": _COGNITO,
    "version": 2,
    "client_id": "xxxxxxxxxxxxexample",
    "origin_jti": "bbbbbbbb-bbbb-cccc-dddd-eeeeeeeeeeee",
    "event_id": "cccccccc-bbbb-cccc-dddd-eeeeeeeeeeee",
    "token_use": "access",
    "scope": "phone openid profile resourceserver.1/appclient2 email",
    "auth_time": NOW,
    "exp": NOW + 3600,
    "iat": NOW,
    "jti": "dddddddd-bbbb-cccc-dddd-eeeeeeeeeeee",
    "username": "my-test-user",
}
_COGNITO_ID_TOKEN = {
    **_but(_COGNITO_CLAIMS, "device_key", "version", "client_id", "scope", "username"),
    "email_verified": True,
    "cognito:username": "my-test-user",
    "aud": "xxxxxxxxxxxxexample",
    "token_use": "id",
    "email": "my-test-user@example.com",
}

COGNITO = Provider(
    name="Amazon Cognito",
    documentation=(
        "https://docs.aws.amazon.com/cognito/latest/developerguide/amazon-cognito-user-pools-using-the-access-token.html",
    ),
    issuer=_COGNITO,
    options={"client_ids": ["xxxxxxxxxxxxexample"], "session_claim": "origin_jti"},
    metadata_url=f"{_COGNITO}/.well-known/openid-configuration",
    metadata={
        "issuer": _COGNITO,
        "authorization_endpoint": "https://example.auth.us-east-1.amazoncognito.com/oauth2/authorize",
        "jwks_uri": f"{_COGNITO}/.well-known/jwks.json",
        "id_token_signing_alg_values_supported": ["RS256"],
    },
    keys=(
        {"alg": "RS256", "kid": _COGNITO_HEADER["kid"], "kty": "RSA", "use": "sig"},
        {"alg": "RS256", "kid": "5678example=", "kty": "RSA", "use": "sig"},  # signs the ID tokens
    ),
    header=_COGNITO_HEADER,
    claims=_COGNITO_CLAIMS,
    expected=Expected(
        subject="aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee",
        scopes=frozenset({"phone", "openid", "profile", "resourceserver.1/appclient2", "email"}),
        client_id="xxxxxxxxxxxxexample",
        session_id="bbbbbbbb-bbbb-cccc-dddd-eeeeeeeeeeee",
        token_id="dddddddd-bbbb-cccc-dddd-eeeeeeeeeeee",
    ),
    misses=(
        *_common(_COGNITO_CLAIMS, audience=False),
        Miss("an ID token", "token_use", _COGNITO_ID_TOKEN),
        Miss("another app client's token", "client_id", _but(_COGNITO_CLAIMS, client_id=_ANOTHER_CLIENT)),
        Miss("another user pool's token", "iss", _but(_COGNITO_CLAIMS, iss=_COGNITO[:-7] + "another")),
        Miss("a token bound to another resource", "aud", _but(_COGNITO_CLAIMS, aud=ANOTHER_API)),
        Miss(
            "a refresh token, which is encrypted",
            None,
            text=".".join((support.segment({"cty": "JWT", "enc": "A256GCM", "alg": "RSA-OAEP"}), "a", "b", "c", "d")),
            error=MalformedToken,
        ),
    ),
    lacks=(Lack("client_ids", ClaimRejected, "client_ids=", instead={"audience": "xxxxxxxxxxxxexample"}),),
)

# ------------------------------------------------------------------------------------------------- Entra

_TENANT = "72f988bf-86f1-41af-91ab-2d7cd011db47"
_ANOTHER_TENANT = "8eaef023-2b34-4da1-9baa-8bc8c9d6a490"
_STRANGER = "fa15d692-e9c7-4460-a743-29f2956fd429"
_ENTRA_API = "6e74172b-be56-4843-9ff4-e66a39bb12e3"
_ENTRA_CLIENT = "75dbe77f-10a3-4e59-85fd-8c127544f17c"
_LOGIN = "https://login.microsoftonline.com"
_ENTRA_V2 = f"{_LOGIN}/{_TENANT}/v2.0"
_ENTRA_V1 = f"https://sts.windows.net/{_TENANT}/"
_ENTRA_HEADER = {"typ": "JWT", "alg": "RS256", "kid": "i6lGk3FZzxRcUb2C3nEQ7syHJlY"}
_ENTRA_V1_HEADER = {**_ENTRA_HEADER, "x5t": "i6lGk3FZzxRcUb2C3nEQ7syHJlY"}
_ENTRA_V2_CLAIMS = {
    "aud": _ENTRA_API,
    "iss": _ENTRA_V2,
    "iat": NOW,
    "nbf": NOW,
    "exp": NOW + 4500,
    "aio": "AXQAi/8IAAAAtAaZLo3ChMif6KOnttRB7eBq4/DccQzjcJGxPYy/C3jDaNGxXd6wNIIVGRghNRnwJ1lOcAnNZcjvkoyrFx",
    "azp": _ENTRA_CLIENT,
    "azpacr": "0",
    "name": "Abe Lincoln",
    "oid": "690222be-ff1a-4d56-abd1-7e4f7d38e474",
    "preferred_username": "abeli@microsoft.com",
    "rh": "I",
    "scp": "access_as_user Patients.Read",
    "sub": "HKZpfaHyWadeOouYlitjrI-KffTm222X5rrV3xDqfKQ",
    "tid": _TENANT,
    "uti": "fqiBqXLPj0eQa82S-IYFAA",
    "ver": "2.0",
}
_ENTRA_V2_ID_TOKEN = _but(_ENTRA_V2_CLAIMS, "azp", "azpacr", "scp", nonce="12345", uti="l1YYAM1uXUmGPGHs3mYXAA")
_ENTRA_V1_CLAIMS = {
    "aud": f"api://{_ENTRA_API}",
    "iss": _ENTRA_V1,
    "iat": NOW,
    "nbf": NOW,
    "exp": NOW + 3900,
    "acr": "1",
    "aio": "AXQAi/8IAAAAFm+E/QTG+gFnVxLjWdw8K+61AGrSOuMMF6ebaMj7XO3IbmD3fGmrOyD+NvZyGn2VaT/kDKXw4MIhrgGVq6Bn",
    "amr": ["wia"],
    "appid": _ENTRA_CLIENT,
    "appidacr": "0",
    "email": "AbeLi@microsoft.com",
    "family_name": "Lincoln",
    "given_name": "Abe (MSFT)",
    "idp": f"https://sts.windows.net/{_ANOTHER_TENANT}/",
    "ipaddr": "222.222.222.22",
    "name": "abeli",
    "oid": "02223b6b-aa1d-42d4-9ec0-1b2bb9194438",
    "rh": "I",
    "scp": "user_impersonation",
    "sub": "l3_roISQU222bULS9yi2k0XpqpOiMz5H3ZACo1GeXA",
    "tid": _TENANT,
    "unique_name": "abeli@microsoft.com",
    "uti": "FVsGxYXI30-TuikuuUoFAA",
    "ver": "1.0",
}
_ENTRA_V1_ID_TOKEN = _but(_ENTRA_V1_CLAIMS, "acr", "appid", "appidacr", "scp", aud=_ENTRA_API, nonce="12345")
_ENTRA_V2_JWK = {
    "kty": "RSA",
    "use": "sig",
    "kid": _ENTRA_HEADER["kid"],
    "x5t": _ENTRA_HEADER["kid"],
    "x5c": [CERTIFICATE],
    "issuer": _ENTRA_V2,
}
_ENTRA_SHARED_JWK = {**_ENTRA_V2_JWK, "issuer": f"{_LOGIN}/{{tenantid}}/v2.0"}
_CONSUMERS = "9188040d-6c67-4c5b-b112-36a304b66dad"
_CONSUMERS_KID = "yreX2PsLi-qkbR8QDOmB_ySxp8Q"
_ENTRA_EXPECTED = Expected(
    subject="HKZpfaHyWadeOouYlitjrI-KffTm222X5rrV3xDqfKQ",
    scopes=frozenset({"access_as_user", "Patients.Read"}),
    client_id=_ENTRA_CLIENT,
    token_id="fqiBqXLPj0eQa82S-IYFAA",
)
_ENTRA_V2_TOKENS = (
    *_common(_ENTRA_V2_CLAIMS),
    Miss("an ID token of the same app registration", "azp", _ENTRA_V2_ID_TOKEN),
    Miss("a v1.0 token of the same tenant", "iss", {**_ENTRA_V1_CLAIMS, "azp": _ENTRA_CLIENT}, _ENTRA_V1_HEADER),
    Miss("a stranger tenant's token", "iss", _but(_ENTRA_V2_CLAIMS, iss=f"{_LOGIN}/{_STRANGER}/v2.0", tid=_STRANGER)),
    Miss("a token for Microsoft Graph", "aud", _but(_ENTRA_V2_CLAIMS, aud="00000003-0000-0000-c000-000000000000")),
)
_ENTRA_ALGORITHMS = Lack("algorithms", UnknownKey, "algorithms=['RS256']")
_ENTRA_PAGES = (
    "https://learn.microsoft.com/en-us/entra/identity-platform/access-token-claims-reference",
    "https://learn.microsoft.com/en-us/entra/identity-platform/access-tokens",
)

ENTRA_V2 = Provider(
    name="Microsoft Entra ID, v2.0 tokens",
    documentation=_ENTRA_PAGES,
    issuer=_ENTRA_V2,
    options={"audience": _ENTRA_API, "algorithms": ["RS256"], "required": ["azp"], "token_id_claim": "uti"},
    metadata_url=f"{_ENTRA_V2}/.well-known/openid-configuration",
    metadata={
        "issuer": _ENTRA_V2,
        "authorization_endpoint": f"{_LOGIN}/{_TENANT}/oauth2/v2.0/authorize",
        "token_endpoint": f"{_LOGIN}/{_TENANT}/oauth2/v2.0/token",
        "jwks_uri": f"{_LOGIN}/{_TENANT}/discovery/v2.0/keys",
        "tenant_region_scope": "WW",
        "cloud_instance_name": "microsoftonline.com",
    },
    keys=(_ENTRA_V2_JWK, {**_ENTRA_V2_JWK, "kid": "2ZQpJ3UpbjAYXYGaXEJl8lV0TOI"}),
    header=_ENTRA_HEADER,
    claims=_ENTRA_V2_CLAIMS,
    expected=_ENTRA_EXPECTED,
    misses=_ENTRA_V2_TOKENS,
    lacks=(_ENTRA_ALGORITHMS,),
    guards={"required": "an ID token of the same app registration"},
)

ENTRA_V1 = Provider(
    name="Microsoft Entra ID, v1.0 tokens",
    documentation=_ENTRA_PAGES,
    issuer=_ENTRA_V1,
    options={
        "audience": [f"api://{_ENTRA_API}", _ENTRA_API],
        "algorithms": ["RS256"],
        "required": ["appid"],
        "token_id_claim": "uti",
    },
    metadata_url=f"{_ENTRA_V1}.well-known/openid-configuration",
    metadata={
        "issuer": _ENTRA_V1,
        "authorization_endpoint": f"{_LOGIN}/{_TENANT}/oauth2/authorize",
        "token_endpoint": f"{_LOGIN}/{_TENANT}/oauth2/token",
        "jwks_uri": f"{_LOGIN}/common/discovery/keys",
    },
    keys=(_but(_ENTRA_V2_JWK, "issuer"),),
    header=_ENTRA_V1_HEADER,
    claims=_ENTRA_V1_CLAIMS,
    expected=Expected(
        subject="l3_roISQU222bULS9yi2k0XpqpOiMz5H3ZACo1GeXA",
        scopes=frozenset({"user_impersonation"}),
        client_id=_ENTRA_CLIENT,
        token_id="FVsGxYXI30-TuikuuUoFAA",
    ),
    misses=(
        *_common(_ENTRA_V1_CLAIMS),
        Miss("an ID token of the same app registration", "appid", _ENTRA_V1_ID_TOKEN),
        Miss("a v2.0 token of the same tenant", "iss", {**_ENTRA_V2_CLAIMS, "appid": _ENTRA_CLIENT}, _ENTRA_HEADER),
        Miss("a stranger tenant's token", "iss", _but(_ENTRA_V1_CLAIMS, iss=f"https://sts.windows.net/{_STRANGER}/")),
    ),
    lacks=(_ENTRA_ALGORITHMS,),
    guards={"required": "an ID token of the same app registration"},
)

ENTRA_SHARED = Provider(
    name="Microsoft Entra ID, several tenants",
    documentation=_ENTRA_PAGES,
    issuer=f"{_LOGIN}/common/v2.0",
    options={
        "tenants": [_TENANT, _ANOTHER_TENANT],
        "audience": _ENTRA_API,
        "algorithms": ["RS256"],
        "required": ["azp"],
        "token_id_claim": "uti",
    },
    metadata_url=f"{_LOGIN}/common/v2.0/.well-known/openid-configuration",
    metadata={
        "issuer": f"{_LOGIN}/{{tenantid}}/v2.0",
        "authorization_endpoint": f"{_LOGIN}/common/oauth2/v2.0/authorize",
        "token_endpoint": f"{_LOGIN}/common/oauth2/v2.0/token",
        "jwks_uri": f"{_LOGIN}/common/discovery/v2.0/keys",
        "tenant_region_scope": None,
        "cloud_instance_name": "microsoftonline.com",
    },
    keys=(
        _ENTRA_SHARED_JWK,
        {**_ENTRA_SHARED_JWK, "kid": _CONSUMERS_KID, "issuer": f"{_LOGIN}/{_CONSUMERS}/v2.0"},
    ),
    header=_ENTRA_HEADER,
    claims=_ENTRA_V2_CLAIMS,
    expected=_ENTRA_EXPECTED,
    misses=(
        *_ENTRA_V2_TOKENS,
        Miss("a token that names no tenant", "iss", _but(_ENTRA_V2_CLAIMS, iss=f"{_LOGIN}/common/v2.0")),
        Miss("a token that names the template", "iss", _but(_ENTRA_V2_CLAIMS, iss=f"{_LOGIN}/{{tenantid}}/v2.0")),
        Miss("a personal account's token", "iss", _but(_ENTRA_V2_CLAIMS, iss=f"{_LOGIN}/{_CONSUMERS}/v2.0")),
    ),
    lacks=(_ENTRA_ALGORITHMS, Lack("tenants", KeysUnavailable, "tenants=")),
    guards={"required": "an ID token of the same app registration"},
)

# ---------------------------------------------------------------------------------------- Firebase, Google

_FIREBASE = "https://securetoken.google.com/my-project"
_FIREBASE_HEADER = {"alg": "RS256", "kid": "f90fb1ae048a548fb681ad6092b0b869ea467ac6", "typ": "JWT"}
_FIREBASE_CLAIMS = {
    "name": "Jane Doe",
    "iss": _FIREBASE,
    "aud": "my-project",
    "auth_time": NOW - 60,
    "user_id": "zPRdYNjqxYSHkMtaQAdmYcYHyWn2",
    "sub": "zPRdYNjqxYSHkMtaQAdmYcYHyWn2",
    "iat": NOW,
    "exp": NOW + 3600,
    "email": "jane@example.com",
    "email_verified": True,
    "firebase": {"identities": {"email": ["jane@example.com"]}, "sign_in_provider": "password"},
}
_SERVICE_ACCOUNT = "firebase-adminsdk@my-project.iam.gserviceaccount.com"
_FIREBASE_CUSTOM_TOKEN = {
    "iss": _SERVICE_ACCOUNT,
    "sub": _SERVICE_ACCOUNT,
    "aud": "https://identitytoolkit.googleapis.com/google.identity.identitytoolkit.v1.IdentityToolkit",
    "iat": NOW,
    "exp": NOW + 3600,
    "uid": "zPRdYNjqxYSHkMtaQAdmYcYHyWn2",
}

FIREBASE = Provider(
    name="Firebase Authentication",
    documentation=("https://firebase.google.com/docs/auth/admin/verify-id-tokens",),
    issuer=_FIREBASE,
    options={"audience": "my-project"},
    metadata_url=f"{_FIREBASE}/.well-known/openid-configuration",
    metadata={
        "issuer": _FIREBASE,
        "jwks_uri": "https://www.googleapis.com/service_accounts/v1/jwk/securetoken@system.gserviceaccount.com",
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
    },
    keys=(
        {"kty": "RSA", "alg": "RS256", "use": "sig", "kid": _FIREBASE_HEADER["kid"]},
        {"kty": "RSA", "alg": "RS256", "use": "sig", "kid": "b2b44b7f4a3a5ff4b1f0f4ad6f0e6d9d7b2b1c11"},
    ),
    header=_FIREBASE_HEADER,
    claims=_FIREBASE_CLAIMS,
    expected=Expected(subject="zPRdYNjqxYSHkMtaQAdmYcYHyWn2"),
    misses=(
        *_common(_FIREBASE_CLAIMS),
        Miss(
            "another project's token, signed with the same keys",
            "iss",
            _but(_FIREBASE_CLAIMS, iss="https://securetoken.google.com/another", aud="another"),
        ),
        Miss("a session cookie", "iss", _but(_FIREBASE_CLAIMS, iss="https://session.firebase.google.com/my-project")),
        Miss("a custom token", "iss", _FIREBASE_CUSTOM_TOKEN),
        Miss(
            "a token of the emulator, which is not signed",
            None,
            text=f"{support.segment({'alg': 'none', 'typ': 'JWT'})}.{support.segment(_FIREBASE_CLAIMS)}.",
            error=MalformedToken,
        ),
    ),
)

_GOOGLE = "https://accounts.google.com"
_GOOGLE_CLIENT = "1234987819200.apps.googleusercontent.com"
_GOOGLE_CLAIMS = {
    "iss": _GOOGLE,
    "azp": _GOOGLE_CLIENT,
    "aud": _GOOGLE_CLIENT,
    "sub": "10769150350006150715113082367",
    "at_hash": "HK6E_P6Dh8Y93mRNtsDB1Q",
    "hd": "example.com",
    "email": "jsmith@example.com",
    "email_verified": "true",
    "iat": NOW,
    "exp": NOW + 3600,
    "nonce": "0394852-3190485-2490358",
}

GOOGLE = Provider(
    name="Google",
    documentation=("https://developers.google.com/identity/openid-connect/openid-connect",),
    issuer=_GOOGLE,
    options={"audience": _GOOGLE_CLIENT},
    metadata_url=f"{_GOOGLE}/.well-known/openid-configuration",
    metadata={
        "issuer": _GOOGLE,
        "authorization_endpoint": "https://accounts.google.com/o/oauth2/v2/auth",
        "token_endpoint": "https://oauth2.googleapis.com/token",
        "jwks_uri": "https://www.googleapis.com/oauth2/v3/certs",
        "id_token_signing_alg_values_supported": ["RS256"],
    },
    keys=(
        {"kty": "RSA", "alg": "RS256", "use": "sig", "kid": "08d3245c62f86b6362afcbbffe1d069826dd1dc1"},
        {"kty": "RSA", "alg": "RS256", "use": "sig", "kid": "c8ab71530972bba20b49f78a09c9852c43ff9118"},
    ),
    header={"alg": "RS256", "kid": "08d3245c62f86b6362afcbbffe1d069826dd1dc1", "typ": "JWT"},
    claims=_GOOGLE_CLAIMS,
    expected=Expected(subject="10769150350006150715113082367", client_id=_GOOGLE_CLIENT),
    misses=(
        *_common(_GOOGLE_CLAIMS),
        Miss(
            "another app's ID token, signed with the same keys",
            "aud",
            _but(_GOOGLE_CLAIMS, aud="5678.apps.googleusercontent.com", azp="5678.apps.googleusercontent.com"),
        ),
        Miss("an issuer without its scheme", "iss", _but(_GOOGLE_CLAIMS, iss="accounts.google.com")),
        Miss("an access token, which is opaque", None, text="ya29.a0AfH6SMBx-" + 80 * "x", error=MalformedToken),
    ),
)

# -------------------------------------------------------------------------------------------------- Clerk

_CLERK = "https://clerk.example.com"
_CLERK_HEADER = {"alg": "RS256", "cat": "cl_B7d4PD111AAA", "kid": "ins_2JtGzF8mT1PUeXg7a9n0kVnQeHc", "typ": "JWT"}
_CLERK_CLAIMS = {
    "azp": "https://app.example.com",
    "exp": NOW + 60,
    "fea": "o:dashboard,o:impersonation",
    "fva": [7, -1],
    "iat": NOW,
    "iss": _CLERK,
    "jti": "f2c8a1e9d4b7",
    "nbf": NOW - 10,
    "o": {"id": "org_123", "slg": "org-slug", "rol": "admin", "per": "read,manage", "fpm": "3,2"},
    "pla": "o:free",
    "sid": "sess_123",
    "sts": "active",
    "sub": "user_123",
    "v": 2,
}

CLERK = Provider(
    name="Clerk",
    documentation=(
        "https://clerk.com/docs/guides/sessions/session-tokens",
        "https://clerk.com/docs/guides/sessions/manual-jwt-verification",
    ),
    issuer=_CLERK,
    options={"client_ids": ["https://app.example.com"]},
    metadata_url=f"{_CLERK}/.well-known/openid-configuration",
    metadata={
        "issuer": _CLERK,
        "authorization_endpoint": f"{_CLERK}/oauth/authorize",
        "token_endpoint": f"{_CLERK}/oauth/token",
        "jwks_uri": f"{_CLERK}/.well-known/jwks.json",
    },
    keys=({"use": "sig", "kty": "RSA", "kid": _CLERK_HEADER["kid"], "alg": "RS256"},),
    header=_CLERK_HEADER,
    claims=_CLERK_CLAIMS,
    expected=Expected(
        subject="user_123", client_id="https://app.example.com", session_id="sess_123", token_id="f2c8a1e9d4b7"
    ),
    misses=(
        *_common(_CLERK_CLAIMS, audience=False),
        Miss("a token that another origin obtained", "azp", _but(_CLERK_CLAIMS, azp="https://evil.example.com")),
        Miss("a token that no origin obtained", "client_id", _but(_CLERK_CLAIMS, "azp")),
        Miss("a token of a JWT template for another service", "aud", _but(_CLERK_CLAIMS, aud="another-service")),
        Miss("another instance's token", "iss", _but(_CLERK_CLAIMS, iss="https://example.clerk.accounts.dev")),
    ),
    lacks=(Lack("client_ids", ClaimRejected, "client_ids=", instead={"audience": "https://app.example.com"}),),
)

# --------------------------------------------------------------------- Spring, Ory Hydra, node oidc-provider

_SPRING = "https://auth.example.com"
_SPRING_HEADER = {"kid": "3a4a1c2b-8c5d-4c7b-9a53-9d1b1b3c3a11", "alg": "RS256"}
_SPRING_CLAIMS = {
    "sub": "user1",
    "aud": "messaging-client",
    "nbf": NOW,
    "scope": ["openid", "message.read"],
    "iss": _SPRING,
    "exp": NOW + 300,
    "iat": NOW,
    "jti": "0f9c3a8e-5d41-4c25-8a3f-6f1b3d2b7c55",
}
_SPRING_ID_TOKEN = {
    **_but(_SPRING_CLAIMS, "nbf", "scope"),
    "azp": "messaging-client",
    "auth_time": NOW - 60,
    "exp": NOW + 1800,
    "jti": "7d1c8f5a-36f0-4a2c-9a54-5e0b9b8f1a22",
    "sid": "Z7iGfUmYJ0kP5gkUuH1uK0w4Qh0sX1o5q0nVtq3c2lA",
    "nonce": "n-0S6_WzA2Mj",
}

SPRING = Provider(
    name="Spring Authorization Server",
    documentation=("https://docs.spring.io/spring-authorization-server/reference/core-model-components.html",),
    issuer=_SPRING,
    options={"audience": "messaging-client", "algorithms": ["RS256"], "required": ["scope"]},
    metadata_url=f"{_SPRING}/.well-known/openid-configuration",
    metadata={
        "issuer": _SPRING,
        "authorization_endpoint": f"{_SPRING}/oauth2/authorize",
        "token_endpoint": f"{_SPRING}/oauth2/token",
        "jwks_uri": f"{_SPRING}/oauth2/jwks",
    },
    keys=({"kty": "RSA", "kid": _SPRING_HEADER["kid"]},),
    header=_SPRING_HEADER,
    claims=_SPRING_CLAIMS,
    expected=Expected(
        subject="user1",
        scopes=frozenset({"openid", "message.read"}),
        token_id="0f9c3a8e-5d41-4c25-8a3f-6f1b3d2b7c55",
    ),
    misses=(
        *_common(_SPRING_CLAIMS),
        Miss("an ID token of the same client", "scope", _SPRING_ID_TOKEN),
        Miss("another client's token", "aud", _but(_SPRING_CLAIMS, aud=_ANOTHER_CLIENT)),
    ),
    lacks=(Lack("algorithms", UnknownKey, "algorithms=['RS256']"),),
    guards={"required": "an ID token of the same client"},
)

_HYDRA = "https://hydra.example.com"
_HYDRA_HEADER = {"alg": "RS256", "kid": "public:hydra.jwt.access-token", "typ": "JWT"}
_HYDRA_CLAIMS = {
    "aud": [API],
    "client_id": "my-client",
    "exp": NOW + 3600,
    "ext": {"some_custom_claim": "some_custom_value"},
    "iat": NOW,
    "iss": _HYDRA,
    "jti": "0f1c2d3e-4b5a-4c6d-8e7f-9a0b1c2d3e4f",
    "nbf": NOW,
    "scp": ["openid", "offline", "read"],
    "sub": "jane@example.com",
}
_HYDRA_ID_TOKEN = {
    "at_hash": "W4QhYUZ2sEhVXAtGVGdbFw",
    "aud": ["my-client"],
    "auth_time": NOW - 60,
    "exp": NOW + 3600,
    "iat": NOW,
    "iss": _HYDRA,
    "jti": "5e4d3c2b-1a09-4f8e-9d7c-6b5a4f3e2d1c",
    "rat": NOW - 70,
    "sid": "c1b2a3d4-5e6f-4a7b-8c9d-0e1f2a3b4c5d",
    "sub": "jane@example.com",
}

HYDRA = Provider(
    name="Ory Hydra",
    documentation=(
        "https://www.ory.sh/docs/oauth2-oidc/jwt-access-token",
        "https://www.ory.sh/docs/hydra/advanced",
    ),
    issuer=_HYDRA,
    options={"audience": API},
    metadata_url=f"{_HYDRA}/.well-known/openid-configuration",
    metadata={
        "issuer": _HYDRA,
        "authorization_endpoint": f"{_HYDRA}/oauth2/auth",
        "token_endpoint": f"{_HYDRA}/oauth2/token",
        "jwks_uri": f"{_HYDRA}/.well-known/jwks.json",
    },
    keys=(
        {"use": "sig", "kty": "RSA", "kid": _HYDRA_HEADER["kid"], "alg": "RS256"},
        {"use": "sig", "kty": "RSA", "kid": "public:hydra.openid.id-token", "alg": "RS256"},
    ),
    header=_HYDRA_HEADER,
    claims=_HYDRA_CLAIMS,
    expected=Expected(
        subject="jane@example.com",
        scopes=frozenset({"openid", "offline", "read"}),
        client_id="my-client",
        token_id="0f1c2d3e-4b5a-4c6d-8e7f-9a0b1c2d3e4f",
    ),
    misses=(
        *_common(_HYDRA_CLAIMS),
        Miss("an ID token", "aud", _HYDRA_ID_TOKEN),
        Miss("a token whose client asked for no audience", "aud", _but(_HYDRA_CLAIMS, aud=[])),
        Miss(
            "an opaque access token",
            None,
            text="ory_at_JGhESDjKfHMQ8Wcy0cC3.hIQxGmX37ydn8WmKAnlD3U",
            error=MalformedToken,
        ),
    ),
)

_PANVA = "https://op.example.com"
_PANVA_HEADER = {"alg": "RS256", "typ": "at+jwt", "kid": "r1LkbBo3925Rb2ZFFrKyU3MVex9T2817Kx0vbi6i_Kc"}
_PANVA_ID_HEADER = {"alg": "RS256", "kid": _PANVA_HEADER["kid"]}
_PANVA_CLAIMS = {
    "jti": "a7QyC5mMGwEp2KyJ8dKpP",
    "sub": "jane",
    "iat": NOW,
    "exp": NOW + 3600,
    "scope": "read write",
    "client_id": "web-app",
    "iss": _PANVA,
    "aud": API,
}
_PANVA_ID_TOKEN = {
    "sub": "jane",
    "nonce": "n-0S6_WzA2Mj",
    "sid": "5x9Xl4zqYb0n1uQ2",
    "at_hash": "W4QhYUZ2sEhVXAtGVGdbFw",
    "aud": "web-app",
    "exp": NOW + 3600,
    "iat": NOW,
    "iss": _PANVA,
}
_PANVA_LOGOUT_TOKEN = {**_but(_PANVA_ID_TOKEN, "nonce", "at_hash"), "jti": "l-1", "events": _LOGOUT}
_PANVA_NAMESAKE = {**_PANVA_ID_TOKEN, "aud": API, "client_id": API, "jti": "i-1"}

PANVA = Provider(
    name="node oidc-provider",
    documentation=("https://github.com/panva/node-oidc-provider/blob/main/docs/README.md",),
    issuer=_PANVA,
    options={"audience": API, "profile": "rfc9068"},
    metadata_url=f"{_PANVA}/.well-known/openid-configuration",
    metadata={
        "issuer": _PANVA,
        "authorization_endpoint": f"{_PANVA}/auth",
        "token_endpoint": f"{_PANVA}/token",
        "jwks_uri": f"{_PANVA}/jwks",
    },
    keys=({"kty": "RSA", "use": "sig", "kid": _PANVA_HEADER["kid"], "alg": "RS256"},),
    header=_PANVA_HEADER,
    claims=_PANVA_CLAIMS,
    expected=Expected(
        subject="jane",
        scopes=frozenset({"read", "write"}),
        client_id="web-app",
        token_id="a7QyC5mMGwEp2KyJ8dKpP",
    ),
    misses=(
        *_common(_PANVA_CLAIMS),
        Miss("an ID token", "typ", _PANVA_ID_TOKEN, _PANVA_ID_HEADER),
        Miss("an ID token of a client that is called as the API", "typ", _PANVA_NAMESAKE, _PANVA_ID_HEADER),
        Miss("a logout token", "typ", _PANVA_LOGOUT_TOKEN, {**_PANVA_HEADER, "typ": "logout+jwt"}),
        Miss(
            "an introspection response",
            "typ",
            {"iss": _PANVA, "aud": API, "iat": NOW, "token_introspection": {"active": True}},
            {**_PANVA_HEADER, "typ": "token-introspection+jwt"},
        ),
    ),
    guards={"profile": "an ID token of a client that is called as the API"},
)

PROVIDERS = (
    AUTH0,
    AUTH0_RFC9068,
    OKTA,
    KEYCLOAK,
    KEYCLOAK_LIGHTWEIGHT,
    COGNITO,
    ENTRA_V2,
    ENTRA_V1,
    ENTRA_SHARED,
    FIREBASE,
    GOOGLE,
    CLERK,
    SPRING,
    HYDRA,
    PANVA,
)
