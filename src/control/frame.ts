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
