import type { BlockDevice, Extent } from '../volume/device.js';
import { BASE_ALLOCATION_ID } from './protocol.js';

const EFFECT_LENGTH_BYTES = 8;
const CONTEXT_ID_BYTES = 4;

/**
 * The payload of an extended BLOCK_STATUS: u64 effect length, then one u32 per wanted context id. We have one context,
 * so exactly one id is right. Returns the effect length, or undefined when the payload is not valid.
 */
export function decodeStatusPayload(payload: Buffer): number | undefined {
  if (payload.length !== EFFECT_LENGTH_BYTES + CONTEXT_ID_BYTES) return undefined;
  if (payload.readUInt32BE(EFFECT_LENGTH_BYTES) !== BASE_ALLOCATION_ID) return undefined;
  const length = payload.readUInt32BE(0) * 4294967296 + payload.readUInt32BE(4);
  return length > 0 ? length : undefined;
}

/** Extents from `offset`, neighbours of one kind joined, at most `limit`; never empty for a range of the device. */
export async function allocationOf(
  device: BlockDevice,
  offset: number,
  length: number,
  limit: number,
): Promise<Extent[]> {
  const joined: { lengthBytes: number; hole: boolean; zero: boolean }[] = [];
  for (const extent of await device.blockStatus(offset, length, limit)) {
    const last = joined.at(-1);
    if (last !== undefined && last.hole === extent.hole && last.zero === extent.zero) {
      last.lengthBytes += extent.lengthBytes;
    } else joined.push({ ...extent });
  }
  return joined;
}
