// Node 18 has WebCrypto, but not under the browser's global name.

import { webcrypto } from "node:crypto";

globalThis.crypto ??= webcrypto;
