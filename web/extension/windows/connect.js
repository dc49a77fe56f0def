// The connection page of the extension: the provider's own, but in the extension's origin, so that
// the key is made and kept where neither UCloud nor the provider has a script.

import { asProvider } from "./dress.js";

await asProvider("problem", () => import("../../js/connect.js"));
