"""What the real Core sent (keys/tests/vectors/core2/capture_test.go), with the digests that PyPI's `rfc8785` makes of what the user says.

    countersign calls --json > calls.json
    target/interop-venv/bin/python tests/interop/real.py calls.json CAPTURED > keys/tests/vectors/real.json

A fixture has the user's request to UCloud (`asked`), the bound parameters that they sign (`params`), and the requests that Core
made of it (`sent`). No Core sends the calls of `unsent`: their requests are of UCloud's own client for providers.
"""

import json
import sys

from item import digest

ROWS = {row["call"]: row for row in json.load(open(sys.argv[1])) if row.get("from", "core") == "core"}
CAPTURED = json.load(open(sys.argv[2]))


def digests(call, params):
    bound = ROWS[call]["bound"]
    names = {parameter["name"] for parameter in bound}
    for item in params:
        assert set(item) <= names, f"{call}: {set(item) - names} is not bound"
    return [
        digest([
            {"name": parameter["name"], "kind": parameter.get("kind", "plain"), "value": item.get(parameter["name"]),
             "changes": parameter.get("changes", [])}
            for parameter in bound
        ])
        for item in params
    ]


def fixture(captured):
    kept = {name: captured[name] for name in ("call", "asked", "params", "sent")}
    # What Core's token alone is enough for has no row, and nobody signs it.
    signed = digests(captured["call"], captured["params"]) if captured["call"] in ROWS else []
    return kept | {"digests": signed}


FIXTURES = [fixture(captured) for captured in CAPTURED]
UNSENT = [one["call"] for one in CAPTURED if one.get("unsent")]
print('{"fixtures": [')
print(",\n".join(json.dumps(one, ensure_ascii=False) for one in FIXTURES))
print('],\n"unsent": ' + json.dumps(UNSENT) + "}")
