// Canonical texts and digests by npm's `canonicalize`.

import { canonical, digest, run } from "./item.mjs";

await run(({ items }) => items.map((item) => ({ canonical: canonical(item), digest: digest(item) })));
