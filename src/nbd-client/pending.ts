import { AppError } from '../base/errors.js';
import { Command, NbdError, nameOfCommand, nameOfError } from '../nbd/protocol.js';
import type { ReplyTarget, StatusExtent } from './reply-parser.js';

/** The server refused a request; `errno` is the number of its answer, as Linux has it. */
export class NbdRefusal extends Error {
  override readonly name = 'NbdRefusal';

  constructor(
    what: string,
    readonly errno: number,
  ) {
    super(`${what}: ${nameOfError(errno)}`);
  }
}

/** Holes are answered with views of this. */
const zeros = Buffer.alloc(1024 * 1024);

/** One request until it is answered: what to send, again if need be, and what has arrived for it. */
export class PendingRequest implements ReplyTarget {
  readonly settled: Promise<void>;
  extents: StatusExtent[] = [];
  errno = 0;
  private resolve!: () => void;
  private reject!: (error: Error) => void;
  private parts: { offset: number; bytes: Uint8Array }[] = [];
  private arrived = 0;

  constructor(
    readonly command: number,
    readonly flags: number,
    readonly offset: number,
    readonly length: number,
    readonly data?: Uint8Array,
  ) {
    this.settled = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
  }

  get readOffset(): number {
    return this.offset;
  }

  get readBytes(): number {
    return this.command === Command.READ ? this.length : 0;
  }

  /** Sent again: half an answer of the lost connection counts for nothing. */
  restart(): void {
    this.parts = [];
    this.arrived = 0;
    this.extents = [];
    this.errno = 0;
  }

  onData(offset: number, bytes: Buffer): void {
    this.parts.push({ offset, bytes });
    this.arrived += bytes.length;
  }

  onHole(offset: number, length: number): void {
    for (let at = 0; at < length; at += zeros.length) {
      const bytes = zeros.subarray(0, Math.min(zeros.length, length - at));
      this.parts.push({ offset: offset + at, bytes });
    }
    this.arrived += length;
  }

  onExtents(extents: StatusExtent[]): void {
    this.extents = extents;
  }

  onError(errno: number): void {
    // The first one says what is wrong.
    if (this.errno === 0) this.errno = errno === 0 ? NbdError.EIO : errno;
  }

  onDone(): void {
    if (this.errno === NbdError.ESHUTDOWN) return;
    const what = `${nameOfCommand(this.command)} of ${this.length} bytes at ${this.offset}`;
    if (this.errno !== 0) this.reject(new NbdRefusal(what, this.errno));
    else if (this.arrived !== this.readBytes) this.reject(new AppError('io', `${what}: half an answer`));
    else if (this.command === Command.BLOCK_STATUS && this.extents.length === 0) {
      this.reject(new AppError('io', `${what}: no extents`));
    } else this.resolve();
  }

  fail(error: Error): void {
    this.reject(error);
  }

  /** In the order of their places; chunks may come in any. */
  dataParts(): Uint8Array[] {
    const { parts } = this;
    let end = this.offset;
    for (const part of parts) {
      if (part.offset !== end) return this.sortedParts();
      end += part.bytes.length;
    }
    return parts.map((part) => part.bytes);
  }

  private sortedParts(): Uint8Array[] {
    this.parts.sort((a, b) => a.offset - b.offset);
    let end = this.offset;
    for (const { offset, bytes } of this.parts) {
      // As many bytes as were asked for, and yet not all of them: some came twice.
      if (offset !== end) throw new AppError('io', 'chunks of one answer overlap');
      end += bytes.length;
    }
    return this.parts.map((part) => part.bytes);
  }
}
