"""The ledger of live rules against a plain dict, and under threads."""

from __future__ import annotations

import math
import threading

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from graphql_authkit import VerifiedToken
from graphql_authkit.revocation import ACTIVE, RevocationKey, Rule, Verdict, fingerprint, judge, keys_of
from graphql_authkit.stores.ledger import GRAIN, Entry, Ledger
from tests.stores.contract import TOKEN, like
from tests.support import NOW

START = 1_000_000.0
TOKENS = [
    like(token_key=f"jti:{key}", session_id=session, client_id=client, issued_at=issued_at)
    for key, session, client, issued_at in [
        ("a", "s-1", "c-1", START),
        ("b", "s-1", None, START - 5.5),
        ("c", None, "c-1", None),
        ("d", "s-2", "c-2", START + 100),
    ]
]
KEYS = sorted({key for token in TOKENS for key in keys_of(token)})
BY_NAME = {fingerprint(key): key for key in KEYS}

keys = st.sampled_from(KEYS)
dates = st.none() | st.integers(0, int(START) + 200).map(float) | st.floats(START - 10, START + 110)
lives = st.floats(0, 600)


def in_grain(not_before: float | None, expires_at: float) -> tuple[int | None, int]:
    """What the ledger makes of the dates: whole seconds down, whole minutes up."""
    return None if not_before is None else int(not_before), math.ceil(expires_at / GRAIN) * GRAIN


class LedgerMachine(RuleBasedStateMachine):
    """Every rule ever added is in the model; the ledger may forget what has expired, and nothing else."""

    @initialize()
    def begin(self) -> None:
        self.now = START
        self.ledger = Ledger()
        self.model: dict[RevocationKey, tuple[int | None, int]] = {}
        self.writes = 0

    def live(self) -> dict[RevocationKey, tuple[int | None, int]]:
        return {key: dates for key, dates in self.model.items() if dates[1] > self.now}

    @rule(key=keys, not_before=dates, life=lives)
    def add(self, key: RevocationKey, not_before: float | None, life: float) -> None:
        expires_at = self.now + life
        entry = (fingerprint(key), not_before, expires_at)
        before, expires = in_grain(not_before, expires_at)
        old = self.model.get(key)
        merged = (before, expires)
        if old is not None and (old[1] > self.now or self.ledger.has(entry[0])):
            merged = (None if None in (before, old[0]) else max(before or 0, old[0] or 0), max(expires, old[1]))
        assert self.ledger.covers(entry) == (self.ledger.has(entry[0]) and merged == old)
        self.ledger.add(entry)
        assert self.ledger.covers(entry)
        self.model[key] = merged

    @rule(seconds=st.floats(0, 200))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def forget(self) -> None:
        """It looks once a minute, so that what ends in this very minute may stay for another."""
        self.ledger.forget(self.now)
        recent = [key for key, dates in self.model.items() if dates[1] > self.now - GRAIN]
        assert len(self.live()) <= len(self.ledger) <= len(recent)

    @rule()
    def hand_on(self) -> None:
        """The entries make another ledger that judges the same."""
        other = Ledger()
        for entry in self.ledger.entries(self.now):
            other.add(entry)
        assert [other.check(token, self.now) for token in TOKENS] == self.verdicts()
        assert len(other) == len(self.live())
        self.ledger = other

    def verdicts(self) -> list[Verdict]:
        return [self.ledger.check(token, self.now) for token in TOKENS]

    @invariant()
    def judges_as_the_model(self) -> None:
        live = self.live()
        expected = [judge(token, [Rule(key, *live[key]) for key in keys_of(token) if key in live]) for token in TOKENS]
        assert self.verdicts() == expected

    @invariant()
    def hands_on_what_is_live_and_once(self) -> None:
        entries = list(self.ledger.entries(self.now))
        assert {BY_NAME[name]: (before, expires) for name, before, expires in entries} == self.live()
        assert len(entries) == len(self.live())

    @invariant()
    def is_bounded(self) -> None:
        assert self.ledger._written <= 2 * len(self.ledger) + 65
        assert len(self.ledger._shared) <= self.ledger._written


LedgerMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestLedger = LedgerMachine.TestCase


def test_rules_renewed_for_ever_take_no_more_room() -> None:
    ledger = Ledger()
    names = [bytes([number]) * 16 for number in range(10)]
    most = 0
    for second in range(20_000):
        ledger.add((names[second % 10], START + second, START + second + 3600))
        most = max(most, sum(map(len, ledger._pages.values())) // 24)
        if second % 100 == 0:
            ledger.forget(START + second)
    assert (len(ledger), most <= 2 * 10 + 65, len(ledger._shared) <= 85) == (10, True, True)
    ledger.forget(START + 20_000 + 3700)
    assert (len(ledger), ledger._written, ledger._pages, ledger._shared) == (0, 0, {}, {})


def test_checks_of_threads_miss_no_rule_while_another_writes_and_forgets() -> None:
    ledger = Ledger()
    watched = [like(token_key=f"jti:watched-{number}") for number in range(20)]
    free = [like(token_key=f"jti:free-{number}") for number in range(20)]
    for token in watched:
        ledger.add((fingerprint(keys_of(token)[0]), None, START + 1e6))
    wrong: list[tuple[str, Verdict]] = []
    errors: list[BaseException] = []
    is_over = threading.Event()

    def check() -> None:
        try:
            while not is_over.is_set():
                wrong.extend((t.token_key, v) for t in watched if (v := ledger.check(t, START)).revoked_by is None)
                wrong.extend((t.token_key, v) for t in free if (v := ledger.check(t, START)) is not ACTIVE)
                list(ledger.entries(START))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=check) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in range(4000):
        name = fingerprint(keys_of(watched[number % 20])[0])
        ledger.add((name, None, START + 1e6 + number))  # which moves it to a later page
        ledger.add((number.to_bytes(16, "big"), NOW, START + 60 * (number % 50)))
        if number % 50 == 49:
            ledger.forget(START + 60 * 40)
    is_over.set()
    for thread in threads:
        thread.join(10)
    assert (wrong, errors) == ([], [])
    ledger.forget(START + 60 * 60)
    assert len(ledger) == 20


@given(st.integers(0, 10**12 - 1), st.integers(0, 10**12 - 1))
def test_dates_that_origins_accept_are_never_weakened(not_before: int, expires_at: int) -> None:
    """`checked_entry` takes twelve digits: a date beyond the packed integer's is not to be wrapped around."""
    ledger = Ledger()
    entry: Entry = (b"x" * 16, not_before, expires_at)
    ledger.add(entry)
    kept = list(ledger.entries(-1.0))
    latest = 2**33 - 3  # of what can be kept; any such rule refuses every token that there is
    assert len(kept) == 1
    before, expires = kept[0][1:]
    assert before is None or before >= min(not_before, latest)
    assert expires >= min(expires_at, 2**31 * GRAIN - GRAIN)
    assert expires <= expires_at + GRAIN


def test_a_token_that_pickles_is_judged_the_same() -> None:
    import pickle

    ledger = Ledger()
    ledger.add((fingerprint(keys_of(TOKEN)[0]), None, START + 100))
    again: VerifiedToken = pickle.loads(pickle.dumps(TOKEN))
    assert ledger.check(again, START) == ledger.check(TOKEN, START)
