/** Parameters of a call: strings, booleans, null, integers of at most 53 bits, and arrays and objects of these. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [name: string]: Json | undefined };

/** One item's parameters: exactly the bound parameters of the call, by name. One that is left out is null. */
export type Item = { readonly [parameter: string]: Json | undefined };

/** What is to be signed. */
export interface Request {
  /** The call's name, such as `files.move`. The provider lists them at `/ucloud/{provider}/intent/calls.json`. */
  readonly call: string;
  /** The items of a bulk request, 1 to 1000. */
  readonly items?: readonly Item[];
  /** The parameters of a request that is one item. Either this or `items`. */
  readonly params?: Item;
  /** The project that the user acts in; null or left out for none. */
  readonly project?: string | null;
}

export interface Options {
  /** The provider's id, as it stands in its paths. */
  readonly provider: string;
  /** The UCloud username; the user has to have a key for it in this browser. */
  readonly username: string;
  /** How long a request may take, in milliseconds; two minutes if left out. */
  readonly timeout?: number;
  /** A person is being asked in the signer's window: a good moment to point there. */
  readonly onAsking?: () => void;
}

/** An intent, for the header `UCloud-Signed-Intent`. It is good for one request, for half a minute. */
export interface Signed {
  readonly jws: string;
}

/** Why there is no signature. */
export type SignerErrorCode =
  /** The user said no. */
  | "refused"
  /** This browser has keys for the provider, and none of that user. */
  | "unknown_user"
  /** This browser has no key for the provider: let the user connect. */
  | "no_key"
  /** The user's key in this browser has expired: let the user connect again. */
  | "key_expired"
  /** The call is in no table, or the signer has no words for it. */
  | "unknown_call"
  /** The parameters are not exactly those of the call, or have no canonical form. */
  | "bad_parameters"
  /** The browser did not let the window open: call `open()` when the user clicks. */
  | "popup_blocked"
  /** The user closed the window. */
  | "closed"
  /** Nobody answered in time. */
  | "timeout"
  /** The provider does not answer, or refused the intent. */
  | "provider";

export class SignerError extends Error {
  constructor(code: SignerErrorCode, message: string);
  readonly code: SignerErrorCode;
}

export interface Signer {
  /** Done when the window is open and listens. After it was closed this is another promise. */
  readonly ready: Promise<void>;
  readonly isOpen: boolean;
  /** Opens the window, or brings it forward. In a click, or the browser will not. @throws {SignerError} `popup_blocked` */
  open(): void;
  /** Closes the window. What waits ends with `closed`. */
  close(): void;
  /** Has one request signed. Opens the window if it is not open. @throws {SignerError} */
  sign(request: Request): Promise<Signed>;
  /** Has several signed; the user is asked once for all of them. @throws {SignerError} and then none is signed */
  signAll(requests: readonly Request[]): Promise<Signed[]>;
  /** Has one signed and left at the provider, for a UCloud that does not forward the header. @throws {SignerError} */
  deposit(request: Request): Promise<void>;
  /** Has several signed and left at the provider. @throws {SignerError} */
  depositAll(requests: readonly Request[]): Promise<void>;
}

/** Connects a page to a provider's signer. Nothing opens yet. @param origin the provider's, such as `https://hpc.example.org` */
export function connectSigner(origin: string, options: Options): Signer;
