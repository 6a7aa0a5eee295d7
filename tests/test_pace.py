"""When an issuer may be asked again, and how long an answer holds: laws that no sequence and no text may break."""

from __future__ import annotations

import math
import time
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from graphql_authkit.keys.document import freshness
from graphql_authkit.keys.pace import BUCKET, FIRST_PAUSE, KIDS_REMEMBERED, Backoff, SearchBudget

COOLDOWN = 30.0
STEPS = st.floats(0, 100)
KIDS = st.sampled_from("abcdefgh")
ASKS = st.lists(st.tuples(STEPS, st.sampled_from(["take", "notice", "give_back"]), KIDS), max_size=80)


def budget() -> SearchBudget:
    return SearchBudget(COOLDOWN)


# ---------------------------------------------------------------------------------------- searches


@given(ASKS)
def test_whatever_the_sequence_there_are_two_searches_and_one_more_for_each_cooldown(
    asks: list[tuple[float, str, str]],
) -> None:
    subject, now, searches = budget(), 0.0, 0
    for step, verb, kid in asks:
        now += step
        if verb == "take":
            searches += subject.take(kid, now)
        else:
            getattr(subject, verb)(kid)
        assert searches <= BUCKET + now / COOLDOWN + 1e-6


@given(ASKS)
def test_no_kid_is_searched_twice_within_a_cooldown_unless_the_search_failed(
    asks: list[tuple[float, str, str]],
) -> None:
    subject, now = budget(), 0.0
    searched: dict[str, float] = {}
    for step, verb, kid in asks:
        now += step
        if verb == "give_back":
            subject.give_back(kid)
            searched.pop(kid, None)
        elif verb == "notice":
            subject.notice(kid)
        elif subject.take(kid, now):
            assert now >= searched.get(kid, -math.inf) + COOLDOWN
            searched[kid] = now


@given(st.integers(0, KIDS_REMEMBERED // 4), st.integers(0, KIDS_REMEMBERED // 4))
@example(1000, 1000)
def test_a_kid_that_is_asked_for_again_in_a_flood_is_searched(before: int, between: int) -> None:
    subject = budget()
    for number in range(before):
        subject.take(f"before-{number}", 0.0)
    first = subject.take("new", 0.0)
    for number in range(between):
        subject.take(f"between-{number}", 0.0)
    assert first or subject.take("new", 0.0)


@given(st.lists(st.text(max_size=20), unique=True, min_size=2, max_size=50))
def test_of_many_kids_that_come_once_only_one_is_searched(kids: list[str]) -> None:
    subject = budget()
    assert [subject.take(kid, 0.0) for kid in kids] == [True] + [False] * (len(kids) - 1)


def test_the_last_search_is_for_a_kid_that_comes_again() -> None:
    subject = budget()
    answers = [subject.take(kid, 0.0) for kid in ("a", "b", "c", "b", "c", "b")]
    assert answers == [True, False, False, True, False, False]


def test_a_kid_that_was_searched_in_vain_takes_nothing_from_the_last() -> None:
    subject = budget()
    assert subject.take("gone", 0.0)
    asked_again = [subject.take("gone", now) for now in (1.0, 29.0, 30.0, 31.0)]
    assert asked_again == [False, False, True, False]
    assert [subject.take("new", 32.0), subject.take("new", 32.0)] == [False, True]


def test_a_kid_noticed_during_a_fetch_need_not_be_asked_for_a_third_time() -> None:
    subject = budget()
    subject.take("a", 0.0)
    subject.notice("new")
    assert subject.take("new", 0.0)


def test_noticing_a_kid_that_was_searched_does_not_make_it_worth_another_search() -> None:
    subject = budget()
    subject.take("gone", 0.0)
    subject.notice("gone")
    assert not subject.take("gone", 0.0)


def test_a_failed_search_leaves_the_kid_worth_another_and_stays_paid_for() -> None:
    subject = budget()
    answers = []
    for _ in range(3):
        answers.append(subject.take("new", 0.0))
        subject.give_back("new")
    assert answers == [True, True, False]


def test_a_quiet_year_leaves_two_searches_and_no_more() -> None:
    subject = budget()
    subject.take("a", 0.0)
    year = 365 * 86_400.0
    answers = [subject.take(kid, year) for kid in ("b", "c", "c", "d", "d")]
    assert answers == [True, False, True, False, False]


def test_a_million_times_nothing_refills_no_more_than_its_time() -> None:
    subject = budget()
    assert [subject.take("a", 0.0), subject.take("b", 0.0), subject.take("b", 0.0)] == [True, False, True]
    assert not any(subject.take(f"kid-{number % 3}", number * 1e-6) for number in range(100_000))


def test_the_memory_of_kids_is_bounded_whatever_is_asked() -> None:
    subject = budget()
    most = 0
    for number in range(3 * KIDS_REMEMBERED):
        subject.take(f"taken-{number}", number / 1000)
        subject.notice(f"noticed-{number}")
        subject.give_back(f"given-{number}")
        if number % 500 == 0:
            most = max(most, len(subject._searched))
    assert most <= 2 * KIDS_REMEMBERED


def test_of_a_kid_nothing_is_kept_but_a_number() -> None:
    subject = budget()
    subject.take("k" * 16_000, 0.0)
    assert {type(name) for name in (subject._searched._young | subject._searched._old)} == {int}


# ----------------------------------------------------------------------------------------- pauses


@given(st.floats(0.01, 604_800), st.lists(st.floats(0, 1), min_size=1, max_size=100))
def test_the_pause_doubles_up_to_its_bound_and_chance_adds_a_quarter_at_most(
    longest: float, chances: list[float]
) -> None:
    drawn = iter(chances)
    subject = Backoff(longest, lambda: next(drawn))
    for number in range(len(chances)):
        subject.fail(0.0)
        pause = min(FIRST_PAUSE * 2.0**number, longest)
        assert pause <= subject.retry_at <= pause * 1.25
    assert subject.failures == len(chances)


def test_ten_thousand_failures_overflow_nothing() -> None:
    subject = Backoff(604_800.0, lambda: 0.0)
    for _ in range(10_000):
        subject.fail(0.0)
    assert (subject.failures, subject.retry_at) == (10_000, 604_800.0)


def test_a_success_ends_the_pause_and_forgets_the_failures() -> None:
    subject = Backoff(30.0, lambda: 0.0)
    for _ in range(9):
        subject.fail(100.0)
    assert subject.retry_at == 130.0
    subject.succeed()
    assert (subject.failures, subject.retry_at) == (0, -math.inf)
    subject.fail(200.0)
    assert subject.retry_at == 201.0


def test_by_default_servers_that_fail_together_part() -> None:
    pauses = set()
    for _ in range(20):
        subject = Backoff(30.0)
        subject.fail(0.0)
        pauses.add(subject.retry_at)
    assert len(pauses) > 10


# -------------------------------------------------------------------------------------- freshness

HOLDS = {
    "": 300,
    "max-age=60": 60,
    "MAX-AGE=60": 60,
    'max-age="60"': 60,
    " max-age = 60 ": 60,
    "public, max-age=60, must-revalidate": 60,
    "max-age=60, max-age=90": 60,
    "max-age=90, max-age=60": 60,
    "s-maxage=60": 300,
    "max-age=0": 30,
    "max-age=1": 30,
    "max-age=29": 30,
    "max-age=301": 300,
    "max-age=999999999": 300,
    "no-store": 30,
    "no-cache": 30,
    "No-Cache, max-age=200": 30,
    "max-age=200, no-store": 30,
    'no-cache="Set-Cookie", max-age=200': 200,
    'private="a, no-store, b", max-age=200': 30,  # read as if unquoted: only ever shorter
    "max-age": 300,
    "max-age=": 300,
    "max-age=abc": 300,
    "max-age=1e2": 300,
    "max-age=60; max-age=90": 300,
    "x-max-age=60": 300,
    "max-agent=60": 300,
    "\x00,,,=,max-age=60": 60,
}


@pytest.mark.parametrize("stated", HOLDS)
def test_an_answer_holds_as_long_as_it_says_within_bounds(stated: str) -> None:
    assert freshness({"cache-control": stated}, least=30, most=300) == HOLDS[stated]


@pytest.mark.parametrize(
    ("age", "holds"), [("0", 200), ("50", 150), (" 50 ", 150), ("170", 30), ("9999", 30), ("-5", 200), ("x", 200)]
)
def test_what_an_answer_aged_on_the_way_is_taken_off(age: str, holds: float) -> None:
    assert freshness({"cache-control": "max-age=200", "age": age}, least=30, most=300) == holds


def test_age_alone_says_nothing() -> None:
    assert freshness({"age": "299"}, least=30, most=300) == 300


HEADER_TEXT = st.text() | st.lists(
    st.sampled_from(
        ["max-age", "no-store", "no-cache", "=", '"', ",", " ", "-", "0", "60", "9" * 40, "\u0663", "\u017f", "\t"]
    ),
    max_size=30,
).map("".join)


@given(HEADER_TEXT, HEADER_TEXT)
@example("max-age=\u0663\u0660", "\u0663")
@example("max-age=60\n", "1\n")
def test_no_header_text_raises_or_leaves_the_bounds(control: str, age: str) -> None:
    assert 30 <= freshness({"cache-control": control, "age": age}, least=30, most=300) <= 300


@pytest.mark.parametrize("value", [None, 5, b"max-age=60", ["no-store"], object()])
def test_headers_that_are_no_text_say_nothing(value: Any) -> None:
    assert 30 <= freshness({"cache-control": value, "age": value}, least=30, most=300) <= 300


@given(st.integers(0, 10**9 - 1), st.integers(0, 10**9 - 1))
def test_an_older_answer_never_holds_longer(max_age: int, age: int) -> None:
    def holds(seconds: int) -> float:
        return freshness({"cache-control": f"max-age={max_age}", "age": str(seconds)}, least=30, most=300)

    assert holds(age) <= holds(0)


def test_a_long_header_takes_no_longer_than_a_short_one_to_read() -> None:
    """`\\s*…\\s*` around an optional group is quadratic: 64 KiB of it holds the GIL, and the lock, for 25 s."""
    started = time.process_time()
    freshness({"cache-control": "a" + " " * 16_000 + "x"}, least=30, most=300)
    assert time.process_time() - started < 0.2


@pytest.mark.parametrize("age", ["9999999999", "9" * 40])
def test_an_age_beyond_nine_digits_is_old_and_not_none(age: str) -> None:
    assert freshness({"cache-control": "max-age=200", "age": age}, least=30, most=300) == 30


def test_a_clock_that_jumps_back_an_hour_does_not_end_searches_for_an_hour() -> None:
    subject = budget()
    subject.take("a", 7200.0)
    subject.take("b", 3600.0)  # the level is now 2 - 120
    assert subject.take("c", 3600.0 + 10 * COOLDOWN) or subject.take("c", 3600.0 + 10 * COOLDOWN)
