"""Generated parameters for every row of the table of calls, and the digests that PyPI's `rfc8785` makes of them.

    countersign calls --json | target/interop-venv/bin/python tests/interop/vectors.py > keys/tests/vectors/digests.json

Each case has what the user's browser signs (`params`) and what UCloud makes of it on its way to the provider (`item`): Go's zero
values and nulls where the user said nothing, sets in another order, a parameter at any of its places. Both have one canonical text.
The crate (keys/tests/digests.rs) reads `item`, the browser's modules (tests/web/digests.test.mjs) read `params`. The same table gives the same file.
"""

import json
import random
import sys

from item import Collision, canonical, changed, digest

CASES_EACH = 12
MANY_ITEMS = 300
INTEGER_MAX = 2**53 - 1

TEXTS = [
    "/1/data", "/1/Jobs/results (2).csv", "/55/a b/c.txt", "RENAME", "REPLACE", "0", "false", "null", " ", "æøå/ÆØÅ",
    # Look-alikes and compositions: never folded, never normalised.
    "e\u0301", "\u00e9", "\u0430dmin", "admin", "\ufb01le", "file",
    # Hidden characters and direction marks.
    "inv\u200boice", "photo\u202egnp.exe", "\ufeffx", "a\u00adb", "\u2066x\u2069", "tag\U000e0041", "\u2028\u2029",
    # Controls and what JSON escapes.
    "\"\\/\b\f\n\r\t", "\u0000\u0001\u001f\u007f\u0080", "</script>",
    # Either side of the surrogates, whose order differs between UTF-8 and UTF-16.
    "\ud7ff", "\ue000", "\uffff", "\U00010000", "\U0001f600", "\U0010ffff", "\U0010fe80",
    # Names that mean something to some language.
    "__proto__", "constructor", "toString", "hasOwnProperty", "length", "10", "9", "1e3",
]
INTEGERS = [0, 1, -1, 7, 42, 1_800_000_000, INTEGER_MAX, -INTEGER_MAX, INTEGER_MAX - 1, 10**15]
ZEROS = [None, False, 0, "", [], {}]


def text(rng):
    return rng.choice(TEXTS) if rng.random() < 0.7 else "/" + "".join(rng.choice(TEXTS) for _ in range(rng.randint(1, 3)))


def value(rng, depth):
    """A value; every kind of it comes up, zeros too."""
    kind = rng.randrange(8 if depth else 5)
    if kind <= 1:
        return text(rng)
    if kind == 2:
        return rng.choice(INTEGERS)
    if kind == 3:
        return rng.choice([True, False])
    if kind == 4:
        return rng.choice(ZEROS)
    if kind == 5:
        return [value(rng, depth - 1) for _ in range(rng.randint(0, 4))]
    return {text(rng): value(rng, depth - 1) for _ in range(rng.randint(0, 4))}


def deep(rng, depth):
    inner = {"zero": 0, "leaf": text(rng)}
    for level in range(depth):
        inner = {f"m{level}": inner, "nothing": {}} if level % 2 else {"list": [inner, {}, 0], "name": ""}
    return inner


def parameter(rng, kind, case):
    """What the user says: usual things first, then anything; `...` for nothing at all."""
    if case == 1 or rng.random() < 0.1:
        return ...
    if kind == "set":
        return [text(rng) for _ in range(rng.randint(0, 5))]
    if case == 0:
        return text(rng) if kind == "plain" else rng.choice([text(rng), {"a": 1, "b": {"c": [True, "x"]}}])
    if case == 2:
        return deep(rng, 12) if kind == "tree" else text(rng)
    if kind == "plain" and rng.random() < 0.8:
        return rng.choice([text(rng), rng.choice(INTEGERS), True, False, None])
    return value(rng, 3)


def is_nothing(kind, said):
    return canonical([{"name": "x", "kind": kind, "value": said}]) == canonical([{"name": "x", "kind": kind}])


def rewritten(rng, said):
    """A tree as Core passes it on: with Go's zeros as further members. A list keeps its elements."""
    if isinstance(said, list):
        return [rewritten(rng, element) for element in said]
    if not isinstance(said, dict):
        return said
    members = {name: rewritten(rng, member) for name, member in said.items()}
    for name in rng.sample(["added", "updates", "Zero", "product"], rng.randint(0, 2)):
        members.setdefault(name, rng.choice(ZEROS))
    return members


def received(rng, kind, said):
    """The parameter in the provider's request; `...` for nothing."""
    if kind == "tree":
        if is_nothing(kind, None if said is ... else said) and rng.random() < 0.8:
            return rng.choice([..., *ZEROS])
        return rewritten(rng, said)
    if said is ... or (said is None and kind == "plain"):
        return rng.choice([..., None])
    return rng.sample(said, len(said)) if kind == "set" else said


def place(item, pointer, found):
    """Puts a value where the pointer says; `*` makes an element of each."""
    first, *rest = pointer
    if not rest:
        item[first] = found
    elif rest[0] == "*":
        item[first] = [place({}, rest[1:], element) if rest[1:] else element for element in found or []]
        if found is None:
            item[first] = None
    else:
        place(item.setdefault(first, {}), rest, found)
    return item


def to_be_changed(rng, said, changes):
    """What the user said, with something in the places that UCloud changes."""
    change = rng.choice(changes)
    *above, last = change["at"].split("/")
    if isinstance(said, list) and last == "*":
        return [*said, " key \n", "\u0085x"]
    odd = rng.choice([" Å\u00a0", "\u3000App ΣΑΣ\t", "\ufeffX\u0085", "İ", True, 7, {" Colour": "Red", "x\n": {"Y": " z "}}])
    if not above:
        return odd
    if not isinstance(said, dict):
        said = {"a": 1}
    node = said
    for step in above[1:]:
        node = node.setdefault("some" if step == "*" else step, {})
        if not isinstance(node, dict):
            return said
    node[last] = odd
    return said


def make_case(rng, row, case):
    params, item, signed = {}, {}, []
    for bound in row["bound"]:
        name, kind, changes = bound["name"], bound.get("kind", "plain"), bound.get("changes", [])
        said = parameter(rng, kind, case)
        if said is not ...:
            params[name] = said
        if said is not ... and changes and rng.random() < 0.7:
            said = params[name] = to_be_changed(rng, said, changes)
        value = None if said is ... else said
        if value is not None or not bound.get("optional", False):
            signed.append({"name": name, "kind": kind, "value": value, "changes": changes})
        got = received(rng, kind, said)
        if got is not ... and changes and rng.random() < 0.5:
            got = changed(got, changes)
        if got is not ...:
            place(item, rng.choice(bound["at"]).strip("/").split("/"), got)
    return {"params": params, "item": item, "canonical": canonical(signed).decode(), "digest": digest(signed)}


def make_row(row):
    # Each row from a seed of its own, so that another row leaves the rest of the file as it was.
    rng = random.Random(row["call"])
    cases = []
    while len(cases) < CASES_EACH:
        try:
            cases.append(make_case(rng, row, len(cases)))
        except Collision:
            pass
    return {
        "call": row["call"],
        "class": row["class"],
        "items": row["items"],
        "bound": row["bound"],
        "cases": cases,
    }


def many(row):
    rng = random.Random("many")
    ids = [f"/1/{text(rng)}/{number}" for number in range(MANY_ITEMS)]
    return {
        "call": row["call"],
        "params": [{"id": name} for name in ids],
        "digests": [digest([{"name": "id", "kind": "plain", "value": name}]) for name in ids],
    }


# What no end may sign or take, as JSON text: read by another number type, or no JSON at all.
REFUSED = ["1e400", "1e16", "-1e300", "9007199254740992", "-9007199254740992", "1.7976931348623157e308", "\"\\ud800\"", "\"\\udc00x\""]

# Fractions, and whole numbers written as fractions: JSON texts of one parameter.
FRACTIONS = [
    "0.5", "-0.5", "1.0", "-0.0", "1e3", "0.1", "1.1", "0.30000000000000004", "5e-324", "-2.2250738585072014e-308", "1e-7", "0.000001", "123e-20",
    "333333333.33333329", "1424953923781206.25", "9007199254740990.5", "4.35", "2.2250738585072011e-308", "[1.5,{\"a\":1e-1}]",
]


def fraction(row, text):
    signed = [{"name": "id", "kind": "plain", "value": None}, {"name": "conflictPolicy", "kind": "tree", "value": json.loads(text)}]
    return {"text": text, "canonical": canonical(signed).decode(), "digest": digest(signed)}


TABLE = json.load(sys.stdin)
print("{\n\"rows\": [")
for number, entry in enumerate(make_row(row) for row in TABLE):
    head = {name: member for name, member in entry.items() if name != "cases"}
    print(("" if number == 0 else ",\n") + json.dumps(head)[:-1] + ", \"cases\": [")
    print(",\n".join(json.dumps(case) for case in entry["cases"]), end="\n]}")
print("\n],")
print("\"many\": " + json.dumps(many(next(row for row in TABLE if row["call"] == "files.trash"))) + ",")
FOLDER = next(row for row in TABLE if row["call"] == "files.createFolder")
print("\"fractions\": " + json.dumps([fraction(FOLDER, text) for text in FRACTIONS]) + ",")
print("\"refused\": " + json.dumps(REFUSED) + "\n}")
