import type { SeededRandom } from '../../../src/base/random.js';
import { emptyMessage, type PeerMessage, PeerType } from '../../../src/wire/peer-message.js';

export function message(fields: Partial<PeerMessage> = {}): PeerMessage {
  return { ...emptyMessage(PeerType.ping), ...fields };
}

/** Random values in every field, up to the largest each can hold. */
export function randomMessage(random: SeededRandom, payloadBytes: number): PeerMessage {
  return message({
    type: random.below(0x10000),
    flags: random.below(0x10000),
    id: random.u32(),
    result: random.below(0x10000),
    epoch: random.u32(),
    oid: random.bytes(8).readBigUInt64LE(),
    parent: random.bytes(8).readBigUInt64LE(),
    root: random.u32(),
    copies: random.below(256),
    objectShift: random.below(256),
    offset: random.below(2 ** 21) * 2 ** 32 + random.u32(),
    length: random.u32(),
    sequence: random.u32(),
    commit: random.u32(),
    payload: random.bytes(payloadBytes),
  });
}

/** Rejects when the promise takes longer, so that no test ends without a name. */
export async function within<T>(limitMs: number, what: string, promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const deadline = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: not within ${limitMs} ms`)), limitMs);
  });
  try {
    return await Promise.race([promise, deadline]);
  } finally {
    clearTimeout(timer);
  }
}

/** What is said; whether the payload is a Buffer, and whether checksums of it are known, is not part of it. */
export function comparable({ payloadCrc: _, payloadSums: __, ...value }: PeerMessage): object {
  return { ...value, payload: Buffer.from(value.payload).toString('hex') };
}
