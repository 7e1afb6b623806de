/**
 * Streams of the sheepdog protocol taken apart: chunks cut anywhere go in, frames come out. No I/O.
 *
 * A request has a payload only with the WRITE flag, whatever its opcode; an answer has one of data_length bytes. The
 * limit is checked before room is asked for (I-10). Chunks that were pushed are kept: header and payload are views of
 * them where they lie in one chunk, else they are gathered once. A stream that breaks a rule stays broken.
 */
import { assert } from '../base/assert.js';
import { HEADER_BYTES } from './headers.js';
import { Flag } from './sheepdog.js';

/**
 * Larger than a whole inode (12 587 576 bytes) and four default objects; the daemon may raise it for larger objects.
 */
export const PAYLOAD_BYTES_MAX = 16 * 1024 * 1024;

export interface Frame {
  readonly version: number;
  readonly opcode: number;
  readonly flags: number;
  readonly epoch: number;
  readonly id: number;
  /** As sent; of a request without WRITE it is the size of the client's buffer, from an untrusted hand. */
  readonly dataLength: number;
  /** All 48 bytes, for the layouts of headers.ts. */
  readonly header: Buffer;
  payload: Buffer;
}

const NO_PAYLOAD = Buffer.alloc(0);

/** Bytes of payload behind a header. */
type PayloadRule = (flags: number, dataLength: number) => number;
const requestRule: PayloadRule = (flags, dataLength) => ((flags & Flag.WRITE) !== 0 ? dataLength : 0);
const responseRule: PayloadRule = (_flags, dataLength) => dataLength;

export class Framer {
  /** Start of a frame that the last chunk cut: the header, then the payload (when `frame` is set). */
  private gathered: Buffer | undefined;
  private gatheredBytes = 0;
  private frame: Frame | undefined;
  private broken: string | undefined;
  private stopped = false;

  private constructor(
    private readonly payloadLengthOf: PayloadRule,
    private readonly onFrame: (frame: Frame) => void,
    private readonly payloadBytesMax: number,
  ) {}

  static forRequests(onFrame: (frame: Frame) => void, payloadBytesMax = PAYLOAD_BYTES_MAX): Framer {
    return new Framer(requestRule, onFrame, payloadBytesMax);
  }

  static forResponses(onFrame: (frame: Frame) => void, payloadBytesMax = PAYLOAD_BYTES_MAX): Framer {
    return new Framer(responseRule, onFrame, payloadBytesMax);
  }

  /** Calls onFrame for each frame this chunk completes. Returns why the stream is broken, if it is. */
  push(chunk: Uint8Array): string | undefined {
    const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length);
    let at = 0;
    while (at < bytes.length && this.broken === undefined && !this.stopped) {
      const wanted = this.frame === undefined ? HEADER_BYTES : this.payloadLengthOfFrame(this.frame);
      const missing = wanted - this.gatheredBytes;
      const count = Math.min(missing, bytes.length - at);
      const piece = bytes.subarray(at, at + count);
      at += count;
      if (this.gathered === undefined && count === wanted) this.complete(piece);
      else this.gather(piece, wanted);
    }
    return this.broken;
  }

  /** No frame comes out after this, not even from a chunk that is being taken apart right now. */
  stop(): void {
    this.stopped = true;
  }

  /** At the end of the stream: why it is not a good end, if it is not. */
  end(): string | undefined {
    if (this.broken !== undefined) return this.broken;
    if (this.frame !== undefined) return 'stream ends inside a payload';
    return this.gatheredBytes > 0 ? 'stream ends inside a header' : undefined;
  }

  private payloadLengthOfFrame(frame: Frame): number {
    return this.payloadLengthOf(frame.flags, frame.dataLength);
  }

  private gather(piece: Buffer, wanted: number): void {
    this.gathered ??= Buffer.allocUnsafeSlow(wanted);
    piece.copy(this.gathered, this.gatheredBytes);
    this.gatheredBytes += piece.length;
    if (this.gatheredBytes === wanted) this.complete(this.gathered);
  }

  /** `bytes` is a whole header, or the whole payload of the frame that waits for it. */
  private complete(bytes: Buffer): void {
    this.gathered = undefined;
    this.gatheredBytes = 0;
    const waiting = this.frame;
    if (waiting !== undefined) {
      assert(bytes.length === this.payloadLengthOfFrame(waiting), 'payload is as long as its header says');
      this.frame = undefined;
      waiting.payload = bytes;
      this.onFrame(waiting);
      return;
    }
    const frame = decodeFrame(bytes);
    const payloadLength = this.payloadLengthOfFrame(frame);
    if (payloadLength > this.payloadBytesMax) this.broken = `payload of ${payloadLength} bytes is too long`;
    else if (payloadLength > 0) this.frame = frame;
    else this.onFrame(frame);
  }
}

/** Every request passes here: hand-written, and held against the table by the test. */
function decodeFrame(header: Buffer): Frame {
  return {
    version: header[0]!,
    opcode: header[1]!,
    flags: header.readUInt16LE(2),
    epoch: header.readUInt32LE(4),
    id: header.readUInt32LE(8),
    dataLength: header.readUInt32LE(12),
    header,
    payload: NO_PAYLOAD,
  };
}
