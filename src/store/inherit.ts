/**
 * How an object comes to inherit (D-16): a copy on write makes a thin object (thin-file.ts) that begins with all blocks
 * of its parent, without reading one of them.
 *
 * The journal's record has everything but the bytes: the parent, what the bases are, the sources and the checksums. So
 * the copy is as durable as any small write. Replay makes it again; what it needs for that are names of the parent's
 * files, or of the bases. Hence the rule for whoever takes a name from a file that is lent, by removing the object or
 * by putting another file in its place: before that its bytes, and the names of all bases, have to be durable
 * (`secureLent`).
 *
 *     words of the record, u32 each, in the place of checksums
 *     0 parent oid, low     2 parent instance, low     4 bases                   then 1 word for eight sources,
 *     1 parent oid, high    3 parent instance, high    5 one for each: origin    then 1 for each block: checksum
 */

import type { Life } from './bases.js';
import { BAD, checksumDifference, HOLE, moveChecksum, objectSeed } from './checksum.js';
import type { StoreContext } from './context.js';
import type { Inheritance, StoredObject } from './object-file.js';
import { hasRoomForSources, packSources, unpackSources } from './object-slot.js';
import { MAX_BASES, OWN } from './thin-file.js';

const FIXED_WORDS = 5;
/** Names that a file gets at most: file systems have a limit (ext4: 65,000), and a full one must not stop the store. */
const NAMES_MAX = 32_000;

/** What a thin object is made of. */
export interface Heritage extends Inheritance {
  readonly parent: Life;
  /** For each base the parent's source (thin-file.ts) that it is. */
  readonly origins: readonly number[];
}

/**
 * What an object begins with that takes everything over from `parent`. Undefined when it has to be a copy: of too many
 * files, of one that too many inherit from, of blocks that are bad or whose checksum has to be made anew.
 */
export function heritageFrom(parent: StoredObject, oid: bigint): Heritage | undefined {
  if (!hasRoomForSources(parent.blocks) || parent.instance === 0) return undefined;
  const difference = checksumDifference(parent.seed, objectSeed(oid));
  const origins: number[] = [];
  const numbers: number[] = [];
  const sources = new Uint8Array(parent.blocks);
  const table = new Uint32Array(parent.blocks);
  for (let block = 0; block < parent.blocks; block++) {
    const sum = parent.table[block]!;
    const moved = sum === BAD ? undefined : moveChecksum(sum, difference);
    if (moved === undefined) return undefined;
    table[block] = moved;
    if (sum === HOLE) continue;
    const origin = parent.thin?.sources[block] ?? OWN;
    numbers[origin] ??= origins.push(origin);
    sources[block] = numbers[origin];
  }
  const namesOf = (origin: number) =>
    (origin === OWN ? parent.file : parent.thin?.base(origin))?.links() ?? 0;
  if (origins.length > MAX_BASES || origins.some((origin) => namesOf(origin) >= NAMES_MAX)) return undefined;
  const { instance } = parent;
  return { parent: { oid: parent.oid, instance }, origins, baseCount: origins.length, sources, table };
}

export function encodeHeritage({ parent, origins, sources, table }: Heritage): Uint32Array {
  const sourceWords = Math.ceil(sources.length / 8);
  const words = new Uint32Array(FIXED_WORDS + origins.length + sourceWords + table.length);
  words[0] = Number(parent.oid & 0xffff_ffffn);
  words[1] = Number(parent.oid >> 32n);
  words[2] = parent.instance >>> 0;
  words[3] = Math.floor(parent.instance / 0x1_0000_0000);
  words[4] = origins.length;
  words.set(origins, FIXED_WORDS);
  const at = FIXED_WORDS + origins.length;
  packSources(sources, new Uint8Array(words.buffer, 4 * at, 4 * sourceWords));
  words.set(table, at + sourceWords);
  return words;
}

/** Undefined when the words are not those of an object of so many blocks. */
export function decodeHeritage(words: Uint32Array, blocks: number): Heritage | undefined {
  const baseCount = words[4] ?? 0;
  const sourceWords = Math.ceil(blocks / 8);
  if (baseCount > MAX_BASES || words.length !== FIXED_WORDS + baseCount + sourceWords + blocks)
    return undefined;
  const at = FIXED_WORDS + baseCount;
  const packed = Buffer.from(words.slice(at, at + sourceWords).buffer);
  return {
    parent: {
      oid: BigInt(words[0]!) | (BigInt(words[1]!) << 32n),
      instance: words[2]! + words[3]! * 0x1_0000_0000,
    },
    origins: [...words.subarray(FIXED_WORDS, at)],
    baseCount,
    sources: unpackSources(packed, blocks),
    table: words.slice(at + sourceWords),
  };
}

/** Makes durable what heirs need of an object's file, whose name is about to go; nobody may change it meanwhile. */
export async function secureLent(
  { cache, newBases, disk }: StoreContext,
  object: StoredObject,
): Promise<void> {
  cache.pin(object);
  try {
    // Otherwise the journal alone may have its bytes, under the object's name.
    if (object.dirtyIn > 0 || object.directDirty) await object.sync();
    await newBases.sync(disk);
  } finally {
    cache.unpin(object);
  }
}
