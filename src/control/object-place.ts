import { BLOCK_SIZE } from '../base/bytes.js';
import type { Directory } from '../volume/directory.js';
import { indexOf, kindOf, vidOf } from '../wire/oid.js';
import type { ObjectPlace } from './api.js';

/** Offsets told of one object. */
const OFFSETS_MAX = 16;

/** The volume that an object was made in, and where in it these blocks lie. Undefined: no volume has it any more. */
export function placeOf(
  directory: Directory,
  oid: bigint,
  blocks: readonly number[],
): ObjectPlace | undefined {
  const record = directory.vdi(vidOf(oid));
  if (record === undefined) return undefined;
  const kind = kindOf(oid);
  const startBytes = kind === 'data' ? indexOf(oid) * 2 ** record.blockSizeShift : 0;
  return {
    name: directory.line(record.line)?.name ?? '',
    tag: record.tag,
    snapId: record.snapshotMs > 0 ? record.snapId : 0,
    deleted: record.state === 'deleted',
    part: kind === 'data' ? 'data' : kind === 'vmstate' ? 'vmstate' : 'inode',
    offsets: blocks.slice(0, OFFSETS_MAX).map((block) => startBytes + block * BLOCK_SIZE),
  };
}

/** The same as text, for logs. */
export function describePlace(place: ObjectPlace | undefined): string {
  if (place === undefined) return 'no volume';
  const { name, snapId, part, offsets } = place;
  const version = snapId > 0 ? `snapshot ${snapId} of volume ${name}` : `volume ${name}`;
  const what = part === 'data' ? '' : part === 'inode' ? ', its inode' : ', the state of a machine';
  return `${version}${what}${offsets.length > 0 ? ` at ${offsets.join(', ')}` : ''}`;
}
