"""The Autobahn suite's cases by PyPI's `kosoku`, against a server that says back what it hears: what each case came to."""

import asyncio
import os
import sys

from item import run
from kosoku import FailureError, run_fuzzingclient


async def _cases(job):
    try:
        results = await run_fuzzingclient(job["url"], job["cases"], job["without"], concurrency=4)
    except FailureError as failure:
        results = failure.results
    return [
        {"case": result.case_id, "behaviour": result.behavior.value, "close": result.behavior_close.value}
        for result in results
    ]


run(lambda job: asyncio.run(_cases(job)))
sys.stdout.flush()
# Without the interpreter's own end: in Python 3.13 kosoku's threads, still there, abort it now and then.
os._exit(0)
