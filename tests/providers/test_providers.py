"""Providers, as documented: their tokens pass the configuration that docs/providers.md shows, near misses do not."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import pytest

from graphql_authkit import ConfigurationError, Fetched, InvalidToken, JWTVerifier, RemoteJWKS, VerifiedToken, discover
from graphql_authkit.errors import ClaimRejected, KeysUnavailable, MalformedToken
from graphql_authkit.testing import sign
from tests.providers.catalog import (
    ANOTHER_API,
    API,
    AUTH0,
    COGNITO,
    ENTRA_SHARED,
    ENTRA_V1,
    ENTRA_V2,
    GOOGLE,
    HYDRA,
    KEYCLOAK,
    OKTA,
    PANVA,
    PROVIDERS,
    SPRING,
    Expected,
    Lack,
    Miss,
    Provider,
)
from tests.support import Clock, Driver, key

PAGE = Path(__file__).resolve().parents[2] / "docs" / "providers.md"
MISSES = [(provider, miss) for provider in PROVIDERS for miss in provider.misses]
LACKS = [(provider, lack) for provider in PROVIDERS for lack in provider.lacks]
GUARDS = [(provider, option) for provider in PROVIDERS for option in provider.guards]
REPORTS = [(p, option) for p in PROVIDERS for option in ("session_claim", "token_id_claim") if option in p.options]


MACHINES: list[tuple[Provider, dict[str, Any]]] = [
    (AUTH0, {"sub": "my_client_id@clients", "aud": API, "gty": "client-credentials"}),
    (OKTA, {"sub": "nmdP1fcyvdVO11AL7ECm", "uid": None, "auth_time": None}),
    (KEYCLOAK, {"client_id": "web-app", "sid": None, "preferred_username": "service-account-web-app"}),
    (COGNITO, {"sub": "xxxxxxxxxxxxexample", "username": None, "origin_jti": None, "cognito:groups": None}),
    (ENTRA_V2, {"scp": None, "roles": ["Patients.Read.All"], "azpacr": "1", "name": None, "preferred_username": None}),
    (ENTRA_V1, {"scp": None, "roles": ["Patients.Read.All"], "appidacr": "1", "name": None, "unique_name": None}),
    (SPRING, {"sub": "messaging-client"}),
    (HYDRA, {"sub": "my-client", "ext": {}}),
    (PANVA, {"sub": "web-app"}),
]


def label(value: Any) -> str:
    """A test's id for a row of the catalog."""
    text = next((getattr(value, name) for name in ("name", "what", "option") if hasattr(value, name)), value)
    return re.sub(r"\W+", "-", str(text if isinstance(text, str) else "claims"))


class Web:
    """The provider's documents at their own URLs, and nothing else."""

    def __init__(self, provider: Provider) -> None:
        self.documents = provider.documents()
        self.asked: list[str] = []

    def __call__(self, url: str, *, headers: Mapping[str, str], timeout: float, max_bytes: int) -> Fetched:
        self.asked.append(url)
        if url not in self.documents:
            return Fetched(404, {}, b"")
        body = json.dumps(self.documents[url]).encode()
        assert len(body) <= max_bytes
        return Fetched(200, {"content-type": "application/json"}, body)


def configured(provider: Provider, *, without: str = "", **changes: Any) -> JWTVerifier:
    options: dict[str, Any] = {**provider.options, "fetcher": Web(provider), "clock": Clock(), **changes}
    options.pop(without, None)
    return JWTVerifier.from_issuer(provider.issuer, **options)


def said(token: VerifiedToken) -> Expected:
    return Expected(
        subject=token.subject,
        scopes=token.scopes,
        client_id=token.client_id,
        session_id=token.session_id,
        token_id=token.token_id,
    )


# ------------------------------------------------------------------------------------ genuine, near, bare


@pytest.mark.parametrize("provider", PROVIDERS, ids=label)
def test_a_genuine_access_token_is_accepted_through_metadata_and_key_set(provider: Provider, drive: Driver) -> None:
    web = Web(provider)
    token = drive(configured(provider, fetcher=web), "verify", provider.token())
    assert (said(token), token.issuer) == (provider.expected, provider.claims["iss"])
    assert web.asked == [provider.metadata_url, provider.metadata["jwks_uri"]]


@pytest.mark.parametrize(("provider", "claims"), MACHINES, ids=label)
def test_a_machines_own_access_token_is_accepted_too(provider: Provider, claims: dict[str, Any], drive: Driver) -> None:
    token = drive(configured(provider), "verify", provider.token(**claims))
    assert (token.subject, token.client_id) == (
        claims.get("sub", provider.expected.subject),
        provider.expected.client_id,
    )


@pytest.mark.parametrize(("provider", "miss"), MISSES, ids=label)
def test_a_near_miss_is_refused_and_the_log_says_by_which_claim(provider: Provider, miss: Miss, drive: Driver) -> None:
    error = drive.error(configured(provider), "verify", provider.near_miss(miss))
    assert (type(error), getattr(error, "claim", None)) == (miss.error, miss.claim), error.detail


@pytest.mark.parametrize(("provider", "lack"), LACKS, ids=label)
def test_without_an_option_it_needs_a_genuine_token_fails_and_the_log_names_the_option(
    provider: Provider, lack: Lack, drive: Driver
) -> None:
    lacking = configured(provider, without=lack.option, **lack.instead)
    error = drive.error(lacking, "verify", provider.token())
    assert (type(error), lack.says in error.detail) == (lack.error, True), error.detail


@pytest.mark.parametrize(("provider", "option"), GUARDS, ids=label)
def test_without_an_option_that_guards_a_near_miss_would_be_accepted(
    provider: Provider, option: str, drive: Driver
) -> None:
    miss = next(miss for miss in provider.misses if miss.what == provider.guards[option])
    lax = configured(provider, without=option)
    assert drive(lax, "verify", provider.near_miss(miss)).issuer == provider.claims["iss"]


@pytest.mark.parametrize(("provider", "option"), REPORTS, ids=label)
def test_without_an_option_that_names_a_claim_the_claim_is_not_reported(provider: Provider, option: str) -> None:
    token = configured(provider, without=option).verify(provider.token())
    assert getattr(token, {"session_claim": "session_id", "token_id_claim": "token_id"}[option]) is None


@pytest.mark.parametrize("provider", PROVIDERS, ids=label)
def test_every_option_of_the_catalog_is_shown_to_matter(provider: Provider) -> None:
    shown = {lack.option for lack in provider.lacks} | set(provider.guards)
    shown |= {option for owner, option in REPORTS if owner is provider}
    shown |= {"audience"} if any(miss.claim == "aud" for miss in provider.misses) else set()
    assert set(provider.options) <= shown


# ---------------------------------------------------------------------------------- peculiar to one of them


def groups(count: int) -> list[str]:
    return [str(UUID(int=number)) for number in range(count)]


@pytest.mark.parametrize("provider", [ENTRA_V2, ENTRA_V1, ENTRA_SHARED], ids=label)
def test_entras_two_hundred_groups_fit_into_a_token(provider: Provider, drive: Driver) -> None:
    token = provider.token(groups=groups(200), wids=groups(5), roles=["Reader", "Writer"])
    assert len(token) < 16_384
    assert len(drive(configured(provider), "verify", token).claims["groups"]) == 200


def test_a_token_beyond_sixteen_kibibytes_needs_max_token_bytes(drive: Driver) -> None:
    token = ENTRA_V2.token(groups=groups(400))
    error = drive.error(configured(ENTRA_V2), "verify", token)
    assert (type(error), "max_token_bytes=16384" in error.detail) == (MalformedToken, True)
    assert said(drive(configured(ENTRA_V2, max_token_bytes=32_768), "verify", token)) == ENTRA_V2.expected


def test_entras_overage_claims_do_no_harm(drive: Driver) -> None:
    source = {"endpoint": "https://graph.windows.net/72f988bf/users/690222be/getMemberObjects"}
    token = ENTRA_V2.token(_claim_names={"groups": "src1"}, _claim_sources={"src1": source})
    assert said(drive(configured(ENTRA_V2), "verify", token)) == ENTRA_V2.expected


@pytest.mark.parametrize("tenant", ENTRA_SHARED.options["tenants"])
def test_entras_shared_issuer_accepts_each_of_its_tenants(tenant: str, drive: Driver) -> None:
    issuer = f"https://login.microsoftonline.com/{tenant}/v2.0"
    token = drive(configured(ENTRA_SHARED), "verify", ENTRA_SHARED.token(iss=issuer, tid=tenant))
    assert token.issuer == issuer


def test_entras_v1_keys_may_be_taken_from_where_its_documentation_says(drive: Driver) -> None:
    web = Web(ENTRA_V1)
    keys = RemoteJWKS("https://login.microsoftonline.com/common/discovery/keys", fetcher=web)
    options: dict[str, Any] = {**ENTRA_V1.options, "clock": Clock()}
    verifier = JWTVerifier(keys=keys, issuer=ENTRA_V1.issuer, **options)
    assert said(drive(verifier, "verify", ENTRA_V1.token())) == ENTRA_V1.expected
    assert web.asked == [keys.url]


def test_without_tenants_the_metadata_of_entras_shared_issuer_is_refused_and_says_what_to_set() -> None:
    with pytest.raises(ConfigurationError, match="tenants="):
        discover(ENTRA_SHARED.issuer, fetcher=Web(ENTRA_SHARED))


@pytest.mark.parametrize("provider", PROVIDERS, ids=label)
def test_an_issuer_configured_with_the_wrong_trailing_slash_is_named_in_the_log_with_the_right_one(
    provider: Provider, drive: Driver
) -> None:
    wrong = provider.issuer[:-1] if provider.issuer.endswith("/") else provider.issuer + "/"
    options: dict[str, Any] = {**provider.options, "fetcher": Web(provider), "clock": Clock()}
    error = drive.error(JWTVerifier.from_issuer(wrong, **options), "verify", provider.token())
    assert type(error) is KeysUnavailable
    assert repr(provider.metadata["issuer"]) in error.detail


def test_entras_shared_key_set_lets_a_key_serve_only_the_tenant_it_names(drive: Driver) -> None:
    consumers = ENTRA_SHARED.documents()[ENTRA_SHARED.metadata["jwks_uri"]]["keys"][1]
    token = sign({**ENTRA_SHARED.header, "kid": consumers["kid"]}, ENTRA_SHARED.claims, key("RS256", 2))
    assert isinstance(drive.error(configured(ENTRA_SHARED), "verify", token), InvalidToken)


def test_a_client_of_an_entra_api_may_be_asked_for_besides_its_audience(drive: Driver) -> None:
    for provider in (ENTRA_V2, ENTRA_V1, ENTRA_SHARED):
        allowed = configured(provider, client_ids=["75dbe77f-10a3-4e59-85fd-8c127544f17c"])
        assert said(drive(allowed, "verify", provider.token())) == provider.expected
        error = drive.error(configured(provider, client_ids=["another"]), "verify", provider.token())
        assert isinstance(error, ClaimRejected)
        assert error.claim in ("azp", "appid")


@pytest.mark.parametrize(
    ("provider", "claim", "subject"),
    [(OKTA, "uid", "00ugmznkbLTmR27Ak0h7"), (ENTRA_V2, "oid", "690222be-ff1a-4d56-abd1-7e4f7d38e474")],
    ids=label,
)
def test_another_claim_that_the_page_names_may_be_the_subject(
    provider: Provider, claim: str, subject: str, drive: Driver
) -> None:
    assert drive(configured(provider, subject_claim=claim), "verify", provider.token()).subject == subject


def test_cognitos_tokens_bound_to_a_resource_pass_beside_the_others_where_both_are_configured(drive: Driver) -> None:
    for token in (COGNITO.token(), COGNITO.token(aud=API)):
        assert said(drive(configured(COGNITO, audience=API), "verify", token)) == COGNITO.expected
    error = drive.error(configured(COGNITO, audience=API), "verify", COGNITO.token(aud=ANOTHER_API))
    assert (type(error), getattr(error, "claim", None)) == (ClaimRejected, "aud")


def test_an_empty_audience_is_a_missing_one_so_hydra_needs_its_clients_to_ask_or_client_ids(drive: Driver) -> None:
    error = drive.error(configured(HYDRA), "verify", HYDRA.token(aud=[]))
    assert (type(error), "client_ids=" in error.detail) == (ClaimRejected, True)
    by_client = configured(HYDRA, without="audience", client_ids=["my-client"])
    assert drive(by_client, "verify", HYDRA.token(aud=[])).client_id == "my-client"
    assert isinstance(drive.error(by_client, "verify", HYDRA.token(aud=[], client_id="other")), ClaimRejected)


def test_googles_issuer_without_its_scheme_is_accepted_where_both_are_named(drive: Driver) -> None:
    keys = RemoteJWKS.from_issuer(GOOGLE.issuer, fetcher=Web(GOOGLE))
    issuers = [GOOGLE.issuer, "accounts.google.com"]
    verifier = JWTVerifier(keys=keys, issuer=issuers, audience=GOOGLE.options["audience"], clock=Clock())
    assert [drive(verifier, "verify", GOOGLE.token(iss=issuer)).issuer for issuer in issuers] == issuers


def test_hydras_scopes_are_read_however_it_is_told_to_write_them(drive: Driver) -> None:
    forms = ({"scp": ["openid", "read"]}, {"scp": None, "scope": "openid read"}, {"scp": ["openid"], "scope": "read"})
    for form in forms:
        assert drive(configured(HYDRA), "verify", HYDRA.token(**form)).scopes == {"openid", "read"}


# --------------------------------------------------------------------------------------- docs/providers.md


class Section(NamedTuple):
    """What stands below one heading of the page."""

    text: str
    snippets: list[str]


def sections() -> dict[str, Section]:
    _, *parts = re.split(r"^## (.+)\n", PAGE.read_text(), flags=re.MULTILINE)
    pairs = zip(parts[::2], parts[1::2], strict=True)
    return {name: Section(text, re.findall(r"^```python\n(.*?)^```$", text, re.M | re.S)) for name, text in pairs}


def table() -> dict[str, set[str]]:
    """The options that each row of the page's table names, by provider."""
    rows = [line.strip("|").split("|") for line in PAGE.read_text().splitlines() if line.startswith("|")]
    return {name.strip(): set(re.findall(r"`(\w+)=", needs)) for name, needs, _why in rows[2:]}


def from_issuer_call(snippet: str) -> tuple[str, dict[str, Any]]:
    """The literal arguments of the snippet's one call of JWTVerifier.from_issuer."""
    calls = [node for node in ast.walk(ast.parse(snippet)) if isinstance(node, ast.Call)]
    assert [ast.unparse(call.func) for call in calls] == ["JWTVerifier.from_issuer"]
    (issuer,) = calls[0].args
    return ast.literal_eval(issuer), {str(word.arg): ast.literal_eval(word.value) for word in calls[0].keywords}


def test_the_page_has_a_section_and_a_row_for_each_provider_in_order() -> None:
    names = [provider.name for provider in PROVIDERS]
    assert (list(sections()), list(table())) == (names, names)


@pytest.mark.parametrize("provider", PROVIDERS, ids=label)
def test_the_pages_snippet_is_the_configuration_tested_here(provider: Provider) -> None:
    section = sections()[provider.name]
    (snippet,) = section.snippets
    assert from_issuer_call(snippet) == (provider.issuer, provider.options)
    assert table()[provider.name] == set(provider.options)
    assert all(f"({url})" in section.text for url in provider.documentation)


@pytest.mark.parametrize("provider", PROVIDERS, ids=label)
def test_the_pages_snippet_runs_by_itself_and_fetches_nothing(provider: Provider) -> None:
    names: dict[str, Any] = {"__name__": "providers"}
    exec(compile(sections()[provider.name].snippets[0], str(PAGE), "exec"), names)
    assert isinstance(names["verifier"], JWTVerifier)
    assert names["verifier"].policy == configured(provider).policy
