/** Parameters of a call: strings, booleans, null, numbers (whole ones of at most 53 bits), and arrays and objects of these. */
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
  /**
   * Has the user asked even if nothing in the request has to be asked for. A folder upload with hidden files, or with files from which programs
   * start, is taken only then: the intent does not name them, so the provider refuses them where nobody was asked.
   */
  readonly ask?: boolean;
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
  /** The provider's origin. */
  readonly origin: string;
  /** The provider's id. */
  readonly provider: string;
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

/** Why a transfer or a terminal did not come about, or ended. */
export type TransferErrorCode =
  /** The provider said no; the message says why. */
  | "refused"
  /** Something of that name is there, or two requests crossed. */
  | "conflict"
  /** The session is over, or its token was never good here: ask UCloud for another. */
  | "over"
  /** The provider cannot do it now. */
  | "unavailable"
  /** Nobody answers, or the connection broke off. */
  | "unreachable"
  /** UCloud named another place than the signer's provider, or another protocol than the one that is spoken here. Nothing was sent. */
  | "elsewhere";

export class TransferError extends Error {
  constructor(code: TransferErrorCode, message: string, answer?: { status?: number; errorCode?: string });
  readonly code: TransferErrorCode;
  /** The provider's answer, if there was one. */
  readonly status: number | null;
  /** Its `errorCode`, such as `INTENT_REPLAYED`. */
  readonly errorCode: string | null;
}

/** One of UCloud's `responses` to `files.createDownload`. */
export interface DownloadResponse {
  readonly endpoint: string;
}

/** One of UCloud's `responses` to `files.createUpload`. */
export interface UploadResponse {
  readonly endpoint: string;
  readonly protocol: string;
  readonly token: string;
}

/** A `session` of UCloud's answer to `jobs.openTerminalInFolder`. */
export interface ShellSession {
  readonly sessionIdentifier: string;
  readonly domainOverride: string;
}

export interface SessionOptions {
  /** The project that the user acts in; null or left out for none. */
  readonly project?: string | null;
}

export interface UploadOptions extends SessionOptions {
  /** How long a piece is, in bytes: 8 MiB if left out, 32,000,000 at most. */
  readonly chunk?: number;
  /** Told after each piece that is written, in bytes. */
  readonly onProgress?: (progress: { readonly sent: number; readonly total: number }) => void;
  /** Ends the upload; it is then rejected with the signal's reason. */
  readonly signal?: AbortSignal;
}

/** A file of a folder. */
export interface FolderFile {
  /** Beneath the folder, with `/` between names. */
  readonly path: string;
  readonly blob: Blob;
  /** When it last changed, in milliseconds since 1970; the provider keeps it, and passes over what it has already. */
  readonly modifiedAt?: number;
}

export interface FolderOptions extends SessionOptions {
  /** Told as bytes leave, and as files are done at the provider. */
  readonly onProgress?: (progress: { readonly sent: number; readonly total: number; readonly done: number; readonly files: number }) => void;
  /** Ends the upload; it is then rejected with the signal's reason. Files that are complete stay. */
  readonly signal?: AbortSignal;
}

/** What became of a folder's files. */
export interface FolderOutcome {
  /** How many were sent. */
  readonly sent: number;
  /** Those that the provider has already, or may not replace. */
  readonly skipped: readonly string[];
  /** Those that could not be read. */
  readonly unreadable: readonly string[];
}

export interface TerminalOptions extends SessionOptions {
  /** The terminal's size, in characters. */
  readonly cols: number;
  readonly rows: number;
  /** What the terminal shows, control sequences and all. */
  readonly onData: (text: string) => void;
}

export interface Terminal {
  /** Done when the terminal is over, with the reason if there is one. */
  readonly closed: Promise<string>;
  /** Types. */
  write(text: string): void;
  resize(cols: number, rows: number): void;
  /** Hangs up. */
  close(): void;
}

/** An address from which the browser can download the file at once, once: within half a minute. @throws {TransferError | SignerError} */
export function openDownload(signer: Signer, response: DownloadResponse, options?: SessionOptions): Promise<string>;

/** Sends a file in pieces; what is lost on the way is sent again. @throws {TransferError | SignerError} */
export function uploadFile(signer: Signer, response: UploadResponse, file: Blob, options?: UploadOptions): Promise<void>;

/** Sends a folder's files over a WebSocket. @throws {TransferError | SignerError} */
export function uploadFolder(signer: Signer, response: UploadResponse, files: readonly FolderFile[], options?: FolderOptions): Promise<FolderOutcome>;

/** The files of a folder that a person chose with `<input type="file" webkitdirectory>`, and the folder's name. */
export function folderOf(chosen: Iterable<File>): { name: string; files: FolderFile[] };

/** Opens a terminal; done when the shell runs. @throws {TransferError | SignerError} */
export function openTerminal(signer: Signer, session: ShellSession, options: TerminalOptions): Promise<Terminal>;
