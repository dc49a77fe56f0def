"""Canonical texts and digests by PyPI's `rfc8785`."""

from item import canonical, digest, run

run(lambda job: [{"canonical": canonical(item).decode(), "digest": digest(item)} for item in job["items"]])
