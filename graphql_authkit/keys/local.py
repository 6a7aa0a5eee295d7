"""Keys that the application holds itself: SecretKey, PublicKey, PrivateKey, JWKS. No I/O.

Each single key is bound to one algorithm, so that no header can choose another (RFC 8725, section 3.1).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.exceptions import InvalidKeyError

from .._algorithms import ALGORITHMS
from ..errors import ConfigurationError
from .jwk import key_for, public_jwk, read_set, thumbprint
from .source import StaticSource

_CURVES: dict[str, ec.EllipticCurve] = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1(), "P-521": ec.SECP521R1()}

__all__ = ["JWKS", "PrivateKey", "PublicKey", "SecretKey"]


class SecretKey(StaticSource):
    """A shared secret, for HMAC.

    Args:
        secret: At least as many bytes as the hash has: 32 for HS256 (RFC 7518, section 3.2). A str is
            taken as UTF-8.
        algorithm: HS256, HS384 or HS512.
        key_id: The `kid` it goes by; without one it serves tokens with any.

    Raises:
        ConfigurationError: Too short, or not a secret at all: a PEM, DER, SSH or JWK text.
    """

    def __init__(self, secret: str | bytes, *, algorithm: str = "HS256", key_id: str | None = None) -> None:
        if not isinstance(secret, str | bytes):
            raise ConfigurationError(f"a secret is str or bytes, not {type(secret).__name__}")
        row = ALGORITHMS.get(algorithm) if isinstance(algorithm, str) else None
        if row is None or row.kty != "oct":
            raise ConfigurationError(f"a secret serves HS256, HS384 or HS512, not {algorithm!r:.40}")
        try:
            material = secret if isinstance(secret, bytes) else secret.encode("utf-8")
            row.implementation.prepare_key(material.strip())  # PyJWT knows keys of other kinds by how they begin
        except UnicodeEncodeError:
            raise ConfigurationError("a secret of type str must be encodable as UTF-8") from None
        except InvalidKeyError as error:
            raise ConfigurationError(str(error)) from None
        key = key_for(material, algorithm=algorithm, key_id=key_id)
        super().__init__([key])
        self.algorithm = algorithm
        self.key_id = key_id
        self._signing_material = material

    def __repr__(self) -> str:
        return f"SecretKey(algorithm={self.algorithm!r}, key_id={self.key_id!r})"


class PublicKey(StaticSource):
    """A public key in PEM or DER (SubjectPublicKeyInfo).

    Args:
        key: The PEM text, or DER or PEM bytes.
        algorithm: The one algorithm it verifies, such as RS256, PS256, ES256 or EdDSA.
        key_id: The `kid` it goes by; without one it serves tokens with any.

    Raises:
        ConfigurationError: Unreadable, private, too small, or not a key for the algorithm.
    """

    def __init__(self, key: str | bytes, *, algorithm: str, key_id: str | None = None) -> None:
        data = key.encode() if isinstance(key, str) else key
        if not isinstance(data, bytes):
            raise ConfigurationError(f"a public key is PEM or DER, not {type(key).__name__}")
        if b"PRIVATE KEY" in data:
            raise ConfigurationError("this is a private key: verifying takes the public one, signing PrivateKey")
        load = (
            serialization.load_pem_public_key
            if data.lstrip().startswith(b"-----")
            else serialization.load_der_public_key
        )
        try:
            material = load(data)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise ConfigurationError("not a public key in PEM or DER") from None
        super().__init__([key_for(material, algorithm=algorithm, key_id=key_id)])
        self.algorithm = algorithm
        self.key_id = key_id

    def __repr__(self) -> str:
        return f"PublicKey(algorithm={self.algorithm!r}, key_id={self.key_id!r})"


class PrivateKey(StaticSource):
    """A private key that signs, and verifies what it signed by its public half.

    Args:
        key: The PEM text or bytes, unencrypted; or DER (PKCS #8) bytes.
        algorithm: The one algorithm it signs with.
        key_id: The `kid` it goes by; its RFC 7638 thumbprint where none is given.

    Raises:
        ConfigurationError: Unreadable, encrypted, public, too small, or not a key for the algorithm.
    """

    def __init__(self, key: str | bytes, *, algorithm: str = "RS256", key_id: str | None = None) -> None:
        data = key.encode() if isinstance(key, str) else key
        if not isinstance(data, bytes):
            raise ConfigurationError(f"a private key is PEM or DER, not {type(key).__name__}")
        try:
            if data.lstrip().startswith(b"-----"):
                private = serialization.load_pem_private_key(data, password=None)
            else:
                private = serialization.load_der_private_key(data, password=None)
            public = private.public_key()
            jwk = public_jwk(public)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise ConfigurationError("not a usable private key in unencrypted PEM or DER") from None
        self.algorithm = algorithm
        self.key_id = thumbprint(jwk) if key_id is None else key_id
        super().__init__([key_for(public, algorithm=algorithm, key_id=self.key_id)])
        self._signing_material: Any = private
        self._public_jwk = {**jwk, "kid": self.key_id, "alg": algorithm, "use": "sig"}

    @classmethod
    def generate(cls, algorithm: str = "RS256", *, key_id: str | None = None) -> PrivateKey:
        """Make a new key: RSA of 2048 bits, or of the algorithm's curve."""
        row = ALGORITHMS.get(algorithm) if isinstance(algorithm, str) else None
        private: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
        match row and (row.kty, row.crv):
            case ("RSA", _):
                private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
            case ("EC", curve):
                private = ec.generate_private_key(_CURVES[str(curve)])
            case ("OKP", _):
                private = ed25519.Ed25519PrivateKey.generate()
            case _:
                raise ConfigurationError(f"no private key is made for {algorithm!r:.40}")
        return cls(_pem(private), algorithm=algorithm, key_id=key_id)

    def pem(self) -> str:
        """The private key as unencrypted PKCS #8 PEM. Keep it secret."""
        return _pem(self._signing_material).decode()

    def public_jwk(self) -> dict[str, Any]:
        """The public half, as an entry of a JWK Set."""
        return dict(self._public_jwk)

    def __repr__(self) -> str:
        return f"PrivateKey(algorithm={self.algorithm!r}, key_id={self.key_id!r})"


class JWKS(StaticSource):
    """A key set that never changes. One bad entry never spoils the others.

    Args:
        document: `{"keys": [...]}`, parsed or as JSON text. Here `oct` keys count too.

    Attributes:
        left_out: Why each unusable entry was left out.

    Raises:
        ConfigurationError: No key set, or none of its keys is usable; the text says why each is not.
    """

    def __init__(self, document: Mapping[str, Any] | str | bytes) -> None:
        try:
            keys, left_out = read_set(document, symmetric=True)
        except ValueError as error:
            raise ConfigurationError(str(error)) from None
        if not keys:
            raise ConfigurationError(f"no usable key in the set: {left_out or 'it is empty'}")
        super().__init__(keys)
        self.left_out = tuple(left_out)


def _pem(private: Any) -> bytes:
    encoded: bytes = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return encoded
