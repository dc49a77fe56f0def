// The table of calls is read strictly: content that this code does not know cannot be described.

import assert from "node:assert/strict";
import { test } from "node:test";
import { UnreadableTable, readTable } from "../../web/js/table.js";

const row = { call: "files.trash", items: "bulk", class: "danger", bound: [{ name: "id", at: ["/id"], kind: "plain" }] };

test("rows are known by their call", () => {
  const table = readTable([row, { ...row, call: "keys.list", from: "user", bound: [] }]);
  assert.deepEqual(table.get("files.trash"), {
    call: "files.trash", items: "bulk", class: "danger", from: "core", bound: [{ name: "id", isOptional: false, kind: "plain", changes: [] }], askIf: [], isProof: false,
    stepUp: false, words: null, user: [], differs: null,
  });
  assert.equal(readTable([{ ...row, stepUp: true }]).get("files.trash").stepUp, true);
  assert.equal(table.get("keys.list")?.from, "user");
  assert.equal(table.get("files.move"), undefined);
});

test("what is not known is refused", () => {
  const check = (table) => assert.throws(() => readTable(table), UnreadableTable, JSON.stringify(table));
  check({});
  check([null]);
  check([{ ...row, call: 7 }]);
  check([row, row]);
  check([{ ...row, class: "harmless" }]);
  check([{ ...row, items: "some" }]);
  check([{ ...row, from: "anybody" }]);
  check([{ ...row, bound: null }]);
  check([{ ...row, bound: [{ name: "id", kind: "loose" }] }]);
  check([{ ...row, bound: [{ kind: "plain" }] }]);
  check([{ ...row, bound: [{ name: "id", optional: false }] }]);
  assert.equal(readTable([{ ...row, bound: [{ name: "id", optional: true }] }]).get("files.trash").bound[0].isOptional, true);
  const changed = (changes) => [{ ...row, bound: [{ name: "id", changes }] }];
  check(changed("x"));
  check(changed([null]));
  check(changed([{ at: "/x", how: "forgotten" }]));
  check(changed([{ at: "x", how: "dropped" }]));
  check(changed([{ at: "/x//y", how: "dropped" }]));
  check(changed([{ at: "/x", how: "dropped", when: "always" }]));
  assert.deepEqual(readTable(changed([{ at: "/a~1b/*", how: "trimmed" }, { at: "", how: "names" }])).get("files.trash").bound, [
    { name: "id", isOptional: false, kind: "plain", changes: [{ at: ["a/b", "*"], how: "trimmed" }, { at: [], how: "names" }] },
  ]);
});
