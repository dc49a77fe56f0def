// The page of keys of the extension.

import { asProvider } from "./dress.js";

await asProvider("keys", () => import("../../js/keys.js"));
