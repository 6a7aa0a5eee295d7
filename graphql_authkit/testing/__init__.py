"""For the test suites of applications: an issuer of your own, and tokens with any defect."""

from .issuer import LocalIssuer, sign

__all__ = ["LocalIssuer", "sign"]
