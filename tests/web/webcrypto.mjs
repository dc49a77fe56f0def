// Node 18 has WebCrypto, and not by the name that browsers have it by.

import { webcrypto } from "node:crypto";

globalThis.crypto ??= webcrypto;
