"""One fetch of a key set, and what its response says about how long it holds. Blocking; no schedule."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from .._http import Fetcher, FetchError, fetch_document, shown_url
from .jwk import read_set
from .source import KeySet

__all__ = ["Document", "fetch_keys", "freshness"]

_ETAG = re.compile(r'(?:W/)?"[\x21\x23-\x7e]{0,256}"')  # RFC 9110, section 8.8.3, without obs-text
_DIRECTIVE = re.compile(r'([a-z-]+)(?:\s*=\s*"?([0-9]{1,9})"?)?', re.IGNORECASE | re.ASCII)


@dataclass(frozen=True, slots=True)
class Document:
    """A key set as it was fetched.

    Args:
        url: From where.
        keys: What it holds; the very object of the document before it where nothing changed.
        left_out: Why each other entry is no key.
        etag: To ask with next time, or None.
        digest: SHA-256 of the body.
        headers: Of the response, names in lower case; of one that said "unchanged", with those before.
        located_until: Until when its place is taken as said, on the source's own clock.
    """

    url: str
    keys: KeySet
    left_out: tuple[str, ...]
    etag: str | None
    digest: bytes
    headers: Mapping[str, str]
    located_until: float


def fetch_keys(
    fetch: Fetcher,
    url: str,
    *,
    headers: Mapping[str, str],
    timeout: float,
    max_bytes: int,
    max_keys: int,
    previous: Document | None,
    located_until: float = math.inf,
) -> Document:
    """Fetch a key set, or learn that it is still the same.

    Args:
        previous: The document before, asked about by its ETag (RFC 9110, section 13.1.2) if from this URL.
        located_until: Kept with the document.

    Raises:
        FetchError: No answer, not a good one, or a set without a usable key.
        ValueError: The answer is no key set.
    """
    before = previous if previous is not None and previous.url == url else None
    etag = before.etag if before is not None else None
    condition = {} if etag is None else {"If-None-Match": etag}
    answer = fetch_document(fetch, url, headers={**headers, **condition}, timeout=timeout, max_bytes=max_bytes)
    if answer.status == 304 and before is not None and etag is not None:
        stored = {name: value for name, value in before.headers.items() if name != "age"}
        merged = {**stored, **answer.headers}  # RFC 9111, section 4.3.4
        return Document(url, before.keys, before.left_out, etag, before.digest, merged, located_until)
    if answer.status != 200:
        raise FetchError(f"{shown_url(url)}: HTTP {answer.status}")
    digest = hashlib.sha256(answer.body).digest()
    stated = str(answer.headers.get("etag", ""))
    new_etag = stated if _ETAG.fullmatch(stated) else None
    if before is not None and digest == before.digest:
        return Document(url, before.keys, before.left_out, new_etag, digest, answer.headers, located_until)
    usable, left_out = read_set(answer.body, symmetric=False)
    if len(usable) + len(left_out) > max_keys:
        raise FetchError(f"{shown_url(url)}: more than {max_keys} keys")
    if not usable:
        raise FetchError(f"{shown_url(url)}: no usable key: {left_out}")
    return Document(url, KeySet(usable), tuple(left_out), new_etag, digest, answer.headers, located_until)


def freshness(headers: Mapping[str, str], *, least: float, most: float) -> float:
    """For how many seconds a response holds, by `Cache-Control` and `Age` (RFC 9111, section 4.2), within bounds.

    A response that says nothing, or nonsense, holds for `most`.
    """
    stated: float | None = None
    for part in str(headers.get("cache-control", "")).split(","):
        directive = _DIRECTIVE.fullmatch(part.strip())
        if directive is None:
            continue
        name, value = directive[1].lower(), directive[2]
        if name in ("no-store", "no-cache"):
            return least
        if name == "max-age" and value is not None:
            stated = float(value) if stated is None else min(stated, float(value))
    if stated is None:
        return most
    age = str(headers.get("age", "")).strip()
    if re.fullmatch(r"[0-9]+", age):
        stated -= float(age)
    return min(max(stated, least), most)
