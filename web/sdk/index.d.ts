/**
 * Parameters of a call: strings, booleans, null, numbers (integers of at most 53 bits), and arrays
 * and objects of these.
 */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [name: string]: Json | undefined };

/**
 * One item's parameters: exactly the bound parameters of the call, by name. An omitted one is null.
 */
export type Item = { readonly [parameter: string]: Json | undefined };

/** A request to be signed. */
export interface Request {
  /**
   * The call's name, such as `files.move`. The provider lists the calls at
   * `/ucloud/{provider}/intent/calls.json`.
   */
  readonly call: string;
  /** The items of a bulk request, 1 to 1000. */
  readonly items?: readonly Item[];
  /** The parameters of a request with a single item. Set either this or `items`. */
  readonly params?: Item;
  /** The project that the user acts in; null or omitted for none. */
  readonly project?: string | null;
  /**
   * Asks the user even if no rule requires it. A folder upload with hidden files, or with files
   * from which programs start, needs this: the intent does not name the files, so the provider
   * refuses them if no person was asked.
   */
  readonly ask?: boolean;
}

export interface Options {
  /** The provider's id, as in its paths. */
  readonly provider: string;
  /** The UCloud username. The user needs a key for it in this browser. */
  readonly username: string;
  /** Timeout of a request, in milliseconds; two minutes if omitted. */
  readonly timeout?: number;
  /** Called when the signer's window asks the user: a good moment to point to that window. */
  readonly onAsking?: () => void;
}

/**
 * An intent, for the header `UCloud-Signed-Intent`. It is valid for one request and for half a
 * minute.
 */
export interface Signed {
  readonly jws: string;
}

/** Why there is no signature. */
export type SignerErrorCode =
  /** The user refused. */
  | "refused"
  /** This browser has keys for the provider, but none of that user. */
  | "unknown_user"
  /** This browser has no key for the provider: ask the user to connect. */
  | "no_key"
  /** The user's key in this browser has expired: ask the user to connect again. */
  | "key_expired"
  /** The call is not in the table, or the signer cannot describe it. */
  | "unknown_call"
  /** The parameters are not exactly those of the call, or have no canonical form. */
  | "bad_parameters"
  /** The browser blocked the window: call `open()` in a click of the user. */
  | "popup_blocked"
  /** The user closed the window. */
  | "closed"
  /** There was no answer within the timeout. */
  | "timeout"
  /** The provider does not answer, or refused the intent. */
  | "provider";

export class SignerError extends Error {
  constructor(code: SignerErrorCode, message: string);
  readonly code: SignerErrorCode;
}

export interface Signer {
  /** The provider's origin. */
  readonly origin: string;
  /** The provider's id. */
  readonly provider: string;
  /**
   * Resolves when the window is open and listens. After the window was closed, this is a new
   * promise.
   */
  readonly ready: Promise<void>;
  readonly isOpen: boolean;
  /**
   * Opens the window, or focuses it. Call it in a click, or the browser blocks it.
   * @throws {SignerError} `popup_blocked`
   */
  open(): void;
  /** Closes the window. Waiting requests are rejected with `closed`. */
  close(): void;
  /** Has one request signed. Opens the window if it is not open. @throws {SignerError} */
  sign(request: Request): Promise<Signed>;
  /**
   * Has several requests signed. The user is asked once for all of them.
   * @throws {SignerError} and then none is signed
   */
  signAll(requests: readonly Request[]): Promise<Signed[]>;
  /**
   * Has one request signed and its intent deposited at the provider, for a UCloud that does not
   * forward the header.
   * @throws {SignerError}
   */
  deposit(request: Request): Promise<void>;
  /**
   * The key with which the user's instance signs one-time tokens, as this browser pinned it when
   * the user connected; null if it did not.
   */
  instanceKey?(): Promise<JsonWebKey | null>;
  /**
   * Has several requests signed and their intents deposited at the provider.
   * @throws {SignerError}
   */
  depositAll(requests: readonly Request[]): Promise<void>;
}

/**
 * Connects a page to a provider's signer. Does not open the window.
 * @param origin the provider's, such as `https://hpc.example.org`
 */
export function connectSigner(origin: string, options: Options): Signer;

/** Why a transfer or a terminal failed or ended. */
export type TransferErrorCode =
  /** The provider refused. The message says why. */
  | "refused"
  /** A file of that name exists, or two requests conflict. */
  | "conflict"
  /** The session has ended, or the provider does not accept its token: ask UCloud for another. */
  | "over"
  /** The provider cannot serve the request now. */
  | "unavailable"
  /** The provider does not answer, or the connection was lost. */
  | "unreachable"
  /** The session cannot be sealed, and `sealed` is `required`. Nothing was sent. */
  | "unsealed"
  /**
   * What came is not what the user's own instance sent: it was changed or cut short on the way. Do
   * not try again without looking into it.
   */
  | "tampered"
  /**
   * UCloud's answer names an address that is not the signer's provider's, or a protocol that this
   * SDK does not speak. Nothing was sent.
   */
  | "elsewhere";

export class TransferError extends Error {
  constructor(code: TransferErrorCode, message: string, answer?: { status?: number; errorCode?: string });
  readonly code: TransferErrorCode;
  /** The provider's answer, if there was one. */
  readonly status: number | null;
  /** Its `errorCode`, such as `INTENT_REPLAYED`. */
  readonly errorCode: string | null;
}

/** An element of `responses` in UCloud's answer to `files.createDownload`. */
export interface DownloadResponse {
  readonly endpoint: string;
}

/** An element of `responses` in UCloud's answer to `files.createUpload`. */
export interface UploadResponse {
  readonly endpoint: string;
  readonly protocol: string;
  readonly token: string;
}

/**
 * A `session` in UCloud's answer to `jobs.openTerminalInFolder`, or to
 * `jobs.openInteractiveSession` of the kind `SHELL`.
 */
export interface ShellSession {
  readonly sessionIdentifier: string;
  readonly domainOverride: string;
}

/**
 * A `session` in UCloud's answer to `jobs.openInteractiveSession` of the kind `WEB`. It may be kept:
 * at a provider that requires proofs it can be opened again for 12 hours.
 */
export interface WebSession {
  readonly redirectClientTo: string;
}

/** A `session` in UCloud's answer to `jobs.openInteractiveSession` of the kind `VNC`. */
export interface DesktopSession {
  readonly url: string;
}

export interface SessionOptions {
  /** The project that the user acts in; null or omitted for none. */
  readonly project?: string | null;
}

export interface SealOptions extends SessionOptions {
  /**
   * Whether the session must be sealed, so that the provider's gateway can neither read nor change
   * it. `preferred` if omitted: it is sealed if the provider offers that and this browser has pinned
   * the key of the user's instance.
   */
  readonly sealed?: "required" | "preferred";
}

export interface DownloadOptions extends SealOptions {
  /** Aborts the download, which is then rejected with the signal's reason. */
  readonly signal?: AbortSignal;
}

/** A file on its way. */
export interface Download {
  /** Its name; null if the session is not sealed. */
  readonly name: string | null;
  /** In bytes. */
  readonly size: number | null;
  /** In milliseconds since 1970; null if the session is not sealed. */
  readonly modifiedAt: number | null;
  readonly isSealed: boolean;
  /** The content. Fails with `tampered` if it was changed or cut short. */
  readonly stream: ReadableStream<Uint8Array<ArrayBuffer>>;
}

export interface UploadOptions extends SealOptions {
  /** Length of a piece, in bytes: 8 MiB if omitted, at most 31,900,000. */
  readonly chunk?: number;
  /** Called after each piece that is written, in bytes. */
  readonly onProgress?: (progress: { readonly sent: number; readonly total: number }) => void;
  /** Aborts the upload, which is then rejected with the signal's reason. */
  readonly signal?: AbortSignal;
}

/** A file of a folder. */
export interface FolderFile {
  /** Path below the folder, with `/` between names. */
  readonly path: string;
  readonly blob: Blob;
  /**
   * Time of the last change, in milliseconds since 1970. The provider keeps it, and skips files
   * that it has already.
   */
  readonly modifiedAt?: number;
}

export interface FolderOptions extends SealOptions {
  /** Called as bytes are sent, and as files are done at the provider. */
  readonly onProgress?: (progress: { readonly sent: number; readonly total: number; readonly done: number; readonly files: number }) => void;
  /** Aborts the upload, which is then rejected with the signal's reason. Complete files stay. */
  readonly signal?: AbortSignal;
}

/** The result of a folder upload. */
export interface FolderOutcome {
  /** Number of files that were sent. */
  readonly sent: number;
  /** Files that the provider has already, or may not replace. */
  readonly skipped: readonly string[];
  /** Files that could not be read. */
  readonly unreadable: readonly string[];
  /** Whether the session was sealed. */
  readonly isSealed: boolean;
}

export interface TerminalOptions extends SealOptions {
  /** The terminal's size, in characters. */
  readonly cols: number;
  readonly rows: number;
  /** Called with the terminal's output, control sequences included. */
  readonly onData: (text: string) => void;
}

export interface Terminal {
  /** Resolves when the terminal ends, with the reason if there is one. */
  readonly closed: Promise<string>;
  /** Whether the terminal is sealed. Show it. */
  readonly isSealed: boolean;
  /** Sends input. */
  write(text: string): void;
  resize(cols: number, rows: number): void;
  /** Ends the terminal. */
  close(): void;
}

/**
 * An address from which the browser can download the file without a seal, once and within half a
 * minute.
 * @throws {TransferError | SignerError}
 */
export function openDownload(signer: Signer, response: DownloadResponse, options?: SessionOptions): Promise<string>;

/** Fetches a file, sealed by default. @throws {TransferError | SignerError} */
export function download(signer: Signer, response: DownloadResponse, options?: DownloadOptions): Promise<Download>;

/**
 * Fetches a file, sealed by default, and saves it under its name. Nothing is saved if it was changed
 * or cut short.
 * @throws {TransferError | SignerError}
 */
export function saveDownload(
  signer: Signer, response: DownloadResponse,
  options?: DownloadOptions & { readonly name?: string; readonly onProgress?: (progress: { received: number; total: number | null }) => void },
): Promise<{ isSealed: boolean }>;

/** Sends a file in pieces. Repeats pieces that were lost. @throws {TransferError | SignerError} */
export function uploadFile(signer: Signer, response: UploadResponse, file: Blob, options?: UploadOptions): Promise<{ isSealed: boolean }>;

/** Sends a folder's files over a WebSocket. @throws {TransferError | SignerError} */
export function uploadFolder(signer: Signer, response: UploadResponse, files: readonly FolderFile[], options?: FolderOptions): Promise<FolderOutcome>;

/**
 * The files of a folder that a user chose with `<input type="file" webkitdirectory>`, and the
 * folder's name.
 */
export function folderOf(chosen: Iterable<File>): { name: string; files: FolderFile[] };

/** Opens a terminal. Resolves when the shell runs. @throws {TransferError | SignerError} */
export function openTerminal(signer: Signer, session: ShellSession, options: TerminalOptions): Promise<Terminal>;

/**
 * An address that opens the web interface of a job, signed by its user, once and within half a
 * minute. It is at the host that the user's own instance signed, whatever UCloud's answer says. Send
 * a window there at once, and call it again for the next time.
 * @throws {TransferError | SignerError}
 */
export function openInterface(signer: Signer, session: WebSession, options?: SessionOptions): Promise<string>;

/**
 * An address for a viewer of a job's desktop, such as noVNC, signed by its user, once and within half
 * a minute. Call it for each connection.
 * @throws {TransferError | SignerError}
 */
export function openDesktop(signer: Signer, session: DesktopSession, options?: SessionOptions): Promise<string>;
