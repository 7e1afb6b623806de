/** Requests cut into what lies in one object each. */

/** Parts of one request that are under way at a time. */
const PARTS_MAX = 16;

/** A part of a request that lies in one object. */
export interface Part {
  readonly index: number;
  /** Inside the object. */
  readonly offset: number;
  readonly length: number;
  /** From the start of the request. */
  readonly at: number;
}

/** The parts of a range of a volume, none longer than `partMax` bytes. */
export function cutParts(offset: number, length: number, objectBytes: number, partMax: number): Part[] {
  const parts: Part[] = [];
  for (let at = 0; at < length; ) {
    const position = offset + at;
    const inside = position % objectBytes;
    const size = Math.min(objectBytes - inside, length - at, partMax);
    parts.push({ index: (position - inside) / objectBytes, offset: inside, length: size, at });
    at += size;
  }
  return parts;
}

/** Does the work on all parts, some at a time; rejects with the first failure when none is under way any more. */
export async function forParts(parts: readonly Part[], work: (part: Part) => Promise<void>): Promise<void> {
  for (let i = 0; i < parts.length; i += PARTS_MAX) {
    const settled = await Promise.allSettled(parts.slice(i, i + PARTS_MAX).map(work));
    const failed = settled.find((s) => s.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
  }
}
