// An item's bound parameters (protocol, section 3), written from its text alone, with npm's `canonicalize` for RFC 8785.

import { createHash } from "node:crypto";
import canonicalize from "canonicalize";

const isZero = (value) =>
  value === null || value === false || value === 0 || value === "" ||
  (typeof value === "object" && Object.keys(value).length === 0);

const withoutZeroMembers = (value) => {
  if (Array.isArray(value)) return value.map(withoutZeroMembers);
  if (value === null || typeof value !== "object") return value;
  const members = Object.entries(value).map(([name, member]) => [name, withoutZeroMembers(member)]);
  return Object.fromEntries(members.filter(([, member]) => !isZero(member)));
};

const taken = ({ kind, value }) => {
  if (kind === "set") return [...(value ?? [])].sort();
  if (kind !== "tree") return value ?? null;
  const tree = withoutZeroMembers(value ?? null);
  return isZero(tree) ? null : tree;
};

/** The canonical text of `[{name, kind, value}]`. */
export const canonical = (item) =>
  canonicalize(Object.fromEntries(item.map((parameter) => [parameter.name, taken(parameter)])));

/** What the user signs for it. */
export const digest = (item) => createHash("sha256").update(canonical(item)).digest("base64url");

/** Reads the job from standard input, and writes what `work` makes of it. */
export const run = async (work) => {
  const chunks = [];
  for await (const chunk of process.stdin) chunks.push(chunk);
  process.stdout.write(JSON.stringify(await work(JSON.parse(Buffer.concat(chunks).toString("utf8")))));
};
