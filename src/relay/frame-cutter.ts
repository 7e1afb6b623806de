import { assert } from '../base/assert.js';
import { HEADER_BYTES } from '../wire/headers.js';

/**
 * A stream of the sheepdog protocol cut into whole frames, for one who only passes them on: of a frame nothing but its
 * header is looked at, and nothing is copied but headers that chunks have cut and pieces so small that keeping views
 * of them would cost more than their bytes. No I/O.
 */
export interface CutFrame {
  /** The whole frame. The first part begins with the whole header, which may be changed in place. */
  readonly parts: readonly Buffer[];
  readonly bytes: number;
}

/** Bytes of payload behind this header, or why the stream cannot go on. Asked once for each frame. */
export type PayloadRule = (header: Buffer) => number | string;

/** Pieces below this are gathered: who sends single bytes must not make us keep an object for each (I-11). */
const SMALL_PIECE_BYTES = 4096;
const GATHER_BYTES = 64 * 1024;

export class FrameCutter {
  private readonly header = Buffer.alloc(HEADER_BYTES);
  private headerBytes = 0;
  /** Of the frame whose payload is being collected. */
  private parts: Buffer[] | undefined;
  private missingBytes = 0;
  private bytes = 0;
  /** The last part, while it has room for small pieces. */
  private tail: Buffer | undefined;
  private tailBytes = 0;
  private broken: string | undefined;

  constructor(
    private readonly payloadBytesOf: PayloadRule,
    private readonly onFrame: (frame: CutFrame) => void,
  ) {}

  /** Bytes of a frame that is not whole yet. */
  get heldBytes(): number {
    return this.parts === undefined ? this.headerBytes : this.bytes - this.missingBytes;
  }

  /** Calls onFrame for each frame this chunk completes. Returns why the stream is broken, if it is. */
  push(chunk: Buffer): string | undefined {
    let at = 0;
    while (at < chunk.length && this.broken === undefined) {
      at += this.parts === undefined ? this.takeHeader(chunk, at) : this.takePayload(chunk, at);
    }
    return this.broken;
  }

  /** Bytes used of the chunk. */
  private takeHeader(chunk: Buffer, at: number): number {
    const left = chunk.length - at;
    if (this.headerBytes === 0 && left >= HEADER_BYTES) return this.takeWhole(chunk, at, left);
    const count = Math.min(HEADER_BYTES - this.headerBytes, left);
    chunk.copy(this.header, this.headerBytes, at, at + count);
    this.headerBytes += count;
    if (this.headerBytes === HEADER_BYTES) {
      this.headerBytes = 0;
      this.begin(Buffer.from(this.header));
    }
    return count;
  }

  /** The way of nearly all frames: the header lies in one chunk, and the payload often too. */
  private takeWhole(chunk: Buffer, at: number, left: number): number {
    const payloadBytes = this.payloadBytesOf(chunk.subarray(at, at + HEADER_BYTES));
    if (typeof payloadBytes === 'string') {
      this.broken = payloadBytes;
      return left;
    }
    const bytes = HEADER_BYTES + payloadBytes;
    if (bytes <= left) {
      this.onFrame({ parts: [chunk.subarray(at, at + bytes)], bytes });
      return bytes;
    }
    this.parts = [chunk.subarray(at)];
    this.bytes = bytes;
    this.missingBytes = bytes - left;
    return left;
  }

  private begin(header: Buffer): void {
    const payloadBytes = this.payloadBytesOf(header);
    if (typeof payloadBytes === 'string') {
      this.broken = payloadBytes;
      return;
    }
    this.parts = [header];
    this.bytes = HEADER_BYTES + payloadBytes;
    this.missingBytes = payloadBytes;
    if (this.missingBytes === 0) this.complete();
  }

  private takePayload(chunk: Buffer, at: number): number {
    const count = Math.min(this.missingBytes, chunk.length - at);
    this.missingBytes -= count;
    if (count < SMALL_PIECE_BYTES) this.gather(chunk, at, count);
    else {
      this.endTail();
      this.parts!.push(chunk.subarray(at, at + count));
    }
    if (this.missingBytes === 0) this.complete();
    return count;
  }

  private gather(chunk: Buffer, at: number, count: number): void {
    if (this.tail !== undefined && this.tail.length - this.tailBytes < count) this.endTail();
    // Never more than what is still to come, so a short rest takes a short buffer.
    this.tail ??= Buffer.allocUnsafeSlow(Math.max(count, Math.min(count + this.missingBytes, GATHER_BYTES)));
    chunk.copy(this.tail, this.tailBytes, at, at + count);
    this.tailBytes += count;
  }

  private endTail(): void {
    if (this.tail === undefined) return;
    this.parts!.push(this.tail.subarray(0, this.tailBytes));
    this.tail = undefined;
    this.tailBytes = 0;
  }

  private complete(): void {
    this.endTail();
    const { parts, bytes } = this;
    assert(parts !== undefined, 'a frame that ends has begun');
    this.parts = undefined;
    this.bytes = 0;
    this.onFrame({ parts, bytes });
  }
}
