import { AppError } from '../base/errors.js';

/**
 * The payload of a CONTROL frame, both ways (the header is in sheepdog-header.ts):
 *
 * | offset | width | meaning                            |
 * |--------|-------|------------------------------------|
 * | 0      | u32   | bytes of the JSON text (n)         |
 * | 4      | n     | JSON text, UTF-8                   |
 * | 4 + n  | rest  | blob (raw bytes, may be empty)     |
 */
export const PAYLOAD_PREFIX_BYTES = 4;

export interface ControlPayload {
  readonly json: unknown;
  /** A view of the received bytes, never copied. */
  readonly blob: Buffer;
}

/** Length prefix and JSON text in one buffer; the blob is sent after it as it is, so it is never copied. */
export function encodePayloadHead(json: unknown): Buffer {
  const text = JSON.stringify(json);
  const textBytes = Buffer.byteLength(text);
  const out = Buffer.allocUnsafe(PAYLOAD_PREFIX_BYTES + textBytes);
  out.writeUInt32LE(textBytes, 0);
  out.write(text, PAYLOAD_PREFIX_BYTES, 'utf8');
  return out;
}

/** Throws AppError 'invalid' when the payload is not what the table above says. */
export function decodePayload(payload: Buffer, jsonBytesMax: number): ControlPayload {
  if (payload.length < PAYLOAD_PREFIX_BYTES) throw new AppError('invalid', 'control payload is too short');
  const textBytes = payload.readUInt32LE(0);
  if (textBytes > jsonBytesMax) throw new AppError('invalid', `control JSON exceeds ${jsonBytesMax} bytes`);
  const end = PAYLOAD_PREFIX_BYTES + textBytes;
  if (end > payload.length) throw new AppError('invalid', 'control JSON is longer than its payload');
  return {
    json: parseJson(payload.toString('utf8', PAYLOAD_PREFIX_BYTES, end)),
    blob: payload.subarray(end),
  };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new AppError('invalid', 'control payload is not JSON', { cause: error });
  }
}

/**
 * Collects what a stream delivers and gives it out in pieces of known length. Memory grows with what has arrived,
 * never with what a header announces.
 */
export class ByteQueue {
  private chunks: Buffer[] = [];
  private bytes = 0;

  get length(): number {
    return this.bytes;
  }

  push(chunk: Buffer): void {
    if (chunk.length === 0) return;
    this.chunks.push(chunk);
    this.bytes += chunk.length;
  }

  /** Exactly `count` bytes, or nothing when fewer have arrived. A view where one chunk holds them all. */
  take(count: number): Buffer | undefined {
    if (this.bytes < count) return undefined;
    if (count === 0) return Buffer.alloc(0);
    const first = this.chunks[0]!;
    if (first.length >= count) {
      this.drop(count);
      return first.subarray(0, count);
    }
    const parts: Buffer[] = [];
    let missing = count;
    for (const chunk of this.chunks) {
      if (missing === 0) break;
      const part = chunk.subarray(0, missing);
      parts.push(part);
      missing -= part.length;
    }
    this.drop(count);
    return Buffer.concat(parts, count);
  }

  /** Throws away at most `count` bytes; returns how many there were. */
  drop(count: number): number {
    let left = Math.min(count, this.bytes);
    const dropped = left;
    let whole = 0;
    while (left > 0 && this.chunks[whole]!.length <= left) left -= this.chunks[whole++]!.length;
    if (whole > 0) this.chunks.splice(0, whole);
    if (left > 0) this.chunks[0] = this.chunks[0]!.subarray(left);
    this.bytes -= dropped;
    return dropped;
  }
}
