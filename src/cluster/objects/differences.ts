/** What has to be done to a replica to make it equal to another one: from their tables of checksums. Pure. */
import { BLOCK_SIZE } from '../../base/bytes.js';

/** Bytes moved by one message while replicas are made equal. */
const RUN_BYTES_MAX = 1024 * 1024;

export interface Difference {
  /** create: make it, all holes; remove: it must not exist; hole and data: a range. */
  readonly kind: 'create' | 'remove' | 'hole' | 'data';
  readonly offset: number;
  readonly length: number;
}

/** The parts of a run that are left when blocks are taken out. Pure. */
export function without(
  { offset, length }: { readonly offset: number; readonly length: number },
  blocks: Iterable<number>,
): { offset: number; length: number }[] {
  const pieces: { offset: number; length: number }[] = [];
  let from = offset;
  const cut = (to: number) => {
    if (to > from) pieces.push({ offset: from, length: to - from });
  };
  for (const block of [...blocks].sort((a, b) => a - b)) {
    cut(Math.min(block * BLOCK_SIZE, offset + length));
    from = Math.max(from, (block + 1) * BLOCK_SIZE);
  }
  cut(offset + length);
  return pieces;
}

/** What turns an object with checksums `has` into one with checksums `want`, in order. Pure. */
export function differences(
  want: Uint32Array | undefined,
  has: Uint32Array | undefined,
  objectBytes: number,
): Difference[] {
  if (want === undefined) return has === undefined ? [] : [{ kind: 'remove', offset: 0, length: 0 }];
  const result: Difference[] = [];
  // A file that was cut short is no object of its size any more: it is made anew.
  if (has?.length !== want.length) {
    has = undefined;
    result.push({ kind: 'create', offset: 0, length: objectBytes });
  }
  for (let block = 0; block < want.length; ) {
    if (want[block] === (has?.[block] ?? 0)) {
      block++;
      continue;
    }
    const first = block;
    const hole = want[block] === 0;
    const limit = first + (hole ? want.length : RUN_BYTES_MAX / BLOCK_SIZE);
    while (
      block < want.length &&
      block < limit &&
      (want[block] === 0) === hole &&
      want[block] !== (has?.[block] ?? 0)
    ) {
      block++;
    }
    const offset = first * BLOCK_SIZE;
    const length = Math.min(block * BLOCK_SIZE, objectBytes) - offset;
    result.push({ kind: hole ? 'hole' : 'data', offset, length });
  }
  return result;
}
