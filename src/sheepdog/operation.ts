/**
 * The seam between the connections of the sheepdog port and what answers a request. A connection has checked framing,
 * version and opcode, and has collected the payload; an operation checks everything else, and answers or throws an
 * AppError, which becomes the result code of `errorKinds`.
 */
export interface Request {
  readonly opcode: number;
  readonly flags: number;
  /** With WRITE: bytes of payload. Without: the most the client takes as an answer; from an untrusted hand. */
  readonly dataLength: number;
  /** All 48 bytes, for the layouts of wire/headers.ts. */
  readonly header: Buffer;
  /** Empty without the WRITE flag. */
  readonly payload: Buffer;
  readonly client: Client;
  /** An answer before the last one; lost when the client does not read. Only for operations of our own. */
  send(answer: Answer): void;
}

export interface Answer {
  /** Result code (wire/results.ts). */
  readonly result: number;
  /**
   * An answer header made with a layout of wire/headers.ts when the operation has fields of its own: bytes 20 to 47 of
   * it are used, the rest is filled in by the connection.
   */
  readonly header?: Buffer;
  /** Never longer than the request's dataLength: the connection refuses to send more (P3). */
  readonly payload?: Uint8Array | readonly Uint8Array[];
  readonly flags?: number;
}

export type Operation = (request: Request) => Answer | Promise<Answer>;

/** Operations by opcode. */
export type Operations = ReadonlyMap<number, Operation>;

/**
 * Thrown by an operation that has no answer: the connection is closed instead, and the client comes back and asks
 * again. For I/O that this sheep can no longer do while it stops: an error would reach a guest.
 */
export class Unanswerable extends Error {}

/** The connection a request came by. It has no identity but where it comes from, and what it has done so far. */
export interface Client {
  /** Remote address, or '' for a unix socket. */
  readonly address: string;
  /** True until its first request. */
  readonly silent: boolean;
  /** Called once when the connection is gone. */
  onClose(listener: () => void): void;
  /** Whatever an operation wants to remember of this connection; each file uses a symbol of its own. */
  readonly notes: Map<symbol, unknown>;
}
