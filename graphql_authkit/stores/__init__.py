"""Revocation stores, one a file. Each imports its own client library, and none is imported from here."""
