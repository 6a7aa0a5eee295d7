"""Schemas with rules and data, drawn: objects, two interfaces, a union, lists of all depths, guarded leaves.

A field's name says its shape, in whatever type it stands, so that selections merge without conflict; only its
outermost `!` and the type of its objects differ. Data is a few objects of each type that lead to each other: what an
operation sees of them is a finite tree.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from graphql_authkit.authorization import PUBLIC, Rule, authenticated, requires
from tests.authorization.reference import Declared, Groups

LEAVES = {"s": "String", "e": "E", "x": "S"}
COMPOSITES = ("p", "q", "r")
NAMES = (*LEAVES, *COMPOSITES)
OBJECTS = ("A", "B", "C", "Query", "Mutation")
ROOTS = ("Query", "Mutation", "Subscription")
INTERFACES = ("I", "J")
WRAPS = ("T", "T!", "[T]", "[T!]", "[T]!", "[T!]!", "[[T]]", "[[T!]!]", "[[T]!]", "[[T!]]!", "[[T!]!]!")
GROUPS: tuple[Groups, ...] = (
    (frozenset({"a"}),),
    (frozenset({"b"}),),
    (frozenset(),),
    (frozenset({"a", "b"}),),
    (frozenset({"a"}), frozenset({"b"})),
)
CALLERS = (None, frozenset[str](), frozenset({"a"}), frozenset({"b"}), frozenset({"a", "b"}))
MOST_RULES = 8


def rule_of(groups: Groups) -> Rule:
    """The library's."""
    return requires(*(sorted(group) for group in groups)) if all(groups) else authenticated()


def directive_of(groups: Groups) -> str:
    """The same, in SDL."""
    if not all(groups):
        return "@authenticated"
    listed = ", ".join("[" + ", ".join(f'"{scope}"' for scope in sorted(group)) + "]" for group in groups)
    return f"@requiresScopes(scopes: [{listed}])"


@dataclass(frozen=True)
class Design:
    """A schema as it was drawn.

    Args:
        sdl: With the rules that are written as directives.
        rules: Those that are given as a mapping.
        extensions: Those that are put on the schema.
        declared: All of them, for the reference.
        data: The root objects, by type.
        typing: How abstract types find the type of an object.
    """

    sdl: str
    rules: Mapping[str, Rule]
    extensions: Mapping[str, list[Rule]]
    declared: Declared
    data: Mapping[str, Any]
    typing: str

    def __str__(self) -> str:  # data goes in circles
        rules = {place: str(rule) for place, rule in self.rules.items()}
        extensions = {place: [str(rule) for rule in found] for place, found in self.extensions.items()}
        return (
            f"{self.sdl}\nrules={rules}\nextensions={extensions}\n"
            f"default={self.declared.default} public={sorted(self.declared.public)} typing={self.typing}"
        )


class _Outline:
    """The types of one schema: what each field returns."""

    def __init__(self, dice: Random, *, nests_roots: bool) -> None:
        self._dice = dice
        self.is_j_below_i = dice.random() < 0.5
        self.members = dice.sample("ABC", dice.randint(1, 3))
        self.above: dict[str, list[str]] = {
            "A": ["I", "J"],
            "B": ["I"],
            "C": self._some_above(),
            "Query": [],
            "Mutation": [],
        }
        if nests_roots:
            self.above["Query"] = self._some_above()
            self.members += ["Query"] if dice.random() < 0.5 else []
        self.wraps = {name: dice.choice(WRAPS) for name in NAMES}
        targets = ("A", "B", "C", "I", "J", "U", *(["Query", "Mutation"] if nests_roots else []))
        self.targets = {name: dice.choice(targets) for name in COMPOSITES}
        self.free = targets
        of_i = self._names(1)
        self.fields: dict[str, dict[str, str]] = {"I": {name: self._shared(name) for name in of_i}}
        of_j = [*of_i, *self._names(0)] if self.is_j_below_i else self._names(1)
        self.fields["J"] = {name: self._shared(name) for name in of_j}
        for name in ("A", "B", "C", "Query", "Mutation", "Subscription"):
            self.fields[name] = self._of_object(name)

    def _some_above(self) -> list[str]:
        return self._dice.choice([[], ["I"], ["I", "J"]])

    def _names(self, least: int) -> list[str]:
        return self._dice.sample(NAMES, self._dice.randint(least, 4))

    def _shared(self, name: str) -> str:
        return self.wraps[name].replace("T", LEAVES.get(name) or self.targets[name])

    def _of_object(self, type_name: str) -> dict[str, str]:
        bound = {name for one in self.above.get(type_name, ()) for name in self.fields[one]}
        fields = {}
        for name in dict.fromkeys([*sorted(bound), *self._names(3 if type_name in ROOTS else 2)]):
            wrap = self.wraps[name]
            if not wrap.endswith("!") and self._dice.random() < 0.25:
                wrap += "!"
            if name in LEAVES:
                target = LEAVES[name]
            else:
                narrower = self._narrower(self.targets[name]) if name in bound else self.free
                target = self._dice.choice(narrower)
            fields[name] = wrap.replace("T", target)
        return fields

    def _narrower(self, target: str) -> tuple[str, ...]:
        below = ("J",) if target == "I" and self.is_j_below_i else ()
        return (target, *below, *(one for one in self.possible(target) if one != target))

    def possible(self, target: str) -> list[str]:
        if target == "U":
            return self.members
        return [name for name in OBJECTS if target == name or target in self.above[name]]

    def head(self, type_name: str) -> str:
        above = ["I"] if type_name == "J" and self.is_j_below_i else self.above.get(type_name, [])
        kind = "interface" if type_name in INTERFACES else "type"
        return f"{kind} {type_name}" + (" implements " + " & ".join(above) if above else "")


def design(dice: Random, *, nests_roots: bool = True) -> Design:
    """A schema.

    Args:
        dice: What decides.
        nests_roots: Whether the types of roots are found below them.
    """
    outline = _Outline(dice, nests_roots=nests_roots)
    given = [
        (_place(dice, outline), dice.choice(GROUPS), dice.choice(("directive", "rules", "extensions")))
        for _ in range(dice.randint(0, MOST_RULES))
    ]
    rules: dict[str, list[Groups]] = {}
    for place, groups, _ in given:
        rules.setdefault(place, []).append(groups)
    directives: dict[str, list[str]] = {}
    mapped: dict[str, Rule] = {}
    extensions: dict[str, list[Rule]] = {}
    for place, groups, source in given:
        mark = directive_of(groups)
        if source == "directive" and not any(
            one.split("(")[0] == mark.split("(")[0] for one in directives.get(place, ())
        ):
            directives.setdefault(place, []).append(mark)  # of one name there may only be one
        elif source == "rules":
            mapped[place] = mapped[place] & rule_of(groups) if place in mapped else rule_of(groups)
        else:
            extensions.setdefault(place, []).append(rule_of(groups))
    public = [
        f"{type_name}.{name}"
        for type_name, fields in outline.fields.items()
        for name in fields
        if dice.random() < (0.3 if type_name in ROOTS else 0.05)
        and not _is_guarded(outline, rules, f"{type_name}.{name}")
    ]
    for place in public:
        if dice.random() < 0.5:
            directives[place] = ["@public"]
        else:
            mapped[place] = PUBLIC
    default = dice.choice(("authenticated", "public"))
    declared = Declared(rules, frozenset(public), default)
    typing = dice.choice(("resolve_type", "default", "is_type_of"))
    return Design(_sdl(outline, directives), mapped, extensions, declared, _data(dice, outline), typing)


def _place(dice: Random, outline: _Outline) -> str:
    """Where a rule stands: most on fields below the root, of which there is most to tell."""
    where = dice.random()
    if where < 0.25:
        return dice.choice(("A", "B", "C", "C", "J", "I", "E", "S", "Query", "Mutation", "Subscription"))
    type_name = dice.choice(("A", "B", "C", "I", "J") if where < 0.85 else ROOTS)
    return f"{type_name}.{dice.choice(sorted(outline.fields[type_name]))}"


def _is_guarded(outline: _Outline, rules: Mapping[str, Any], place: str) -> bool:
    """Whether a field could not be public: one of its own rules, or of what it returns, says otherwise."""
    parent, _, name = place.partition(".")
    target = re.sub(r"\W", "", outline.fields[parent][name])
    places = [place, parent]
    for one in (parent, target):
        above = ["I"] if one == "J" and outline.is_j_below_i else outline.above.get(one, [])
        places += [one, *above]
    places += [f"{one}.{name}" for one in outline.above.get(parent, ())]
    return any(one in rules for one in places)


def _sdl(outline: _Outline, directives: Mapping[str, list[str]]) -> str:
    def marks(place: str) -> str:
        return "".join(f" {mark}" for mark in directives.get(place, ()))

    lines = []
    for type_name, fields in outline.fields.items():
        lines.append(f"{outline.head(type_name)}{marks(type_name)} {{")
        for name, kind in fields.items():
            lines.append(f"  {name}(n: Int): {kind}{marks(f'{type_name}.{name}')}")
        lines.append("}")
    lines += [f"union U = {' | '.join(outline.members)}", f"enum E{marks('E')} {{ X Y }}", f"scalar S{marks('S')}"]
    return "\n".join(lines)


def _data(dice: Random, outline: _Outline) -> dict[str, Any]:
    """Two objects of each type that lead to each other, and one of each root; a subscription's fields are events."""
    pool: dict[str, list[dict[str, Any]]] = {
        name: [{"__typename": name} for _ in range(1 if name in ROOTS else 2)]
        for name in outline.fields
        if name not in INTERFACES
    }

    def value(kind: str, place: str) -> Any:
        if not kind.endswith("!") and dice.random() < 0.15:
            return None
        kind = kind.removesuffix("!")
        if kind.startswith("["):
            length = dice.choice((1, 1, 2, 0) if place.count(".") > 1 else (2, 2, 3, 1, 0))
            return [value(kind[1:-1], f"{place}.{index}") for index in range(length)]
        if kind in LEAVES.values():
            return dice.choice("XY") if kind == "E" else place
        return dice.choice(pool[dice.choice(outline.possible(kind))])

    for type_name, objects in pool.items():
        for number, one in enumerate(objects):
            for name, kind in outline.fields[type_name].items():
                place = f"{type_name}{number}.{name}"
                is_source = type_name == "Subscription"
                one[name] = [value(kind, f"{place}.{event}") for event in range(2)] if is_source else value(kind, place)
    return {name: pool[name][0] for name in ROOTS}
