import type { BlockDevice } from '../volume/device.js';
import type { ReadPart } from './reply-writer.js';

/** Shorter reads are not worth a look at the map: the hot path of a guest never pays for it. */
export const SPARSE_READ_BYTES_MIN = 256 * 1024;
/** Holes shorter than this are sent as zeros: a chunk of their own costs the client more. */
const HOLE_BYTES_MIN = 64 * 1024;
const EXTENTS_MAX = 64;

/**
 * Reads a large range as data and holes, so that a copy of a sparse volume moves no zeros. A write racing with the
 * read may turn a hole into data between the two steps; the zeros are then the older of two allowed answers (I-2).
 */
export async function readSparse(device: BlockDevice, offset: number, length: number): Promise<ReadPart[]> {
  const extents = await device.blockStatus(offset, length, EXTENTS_MAX);
  const parts: { offset: number; length: number; hole: boolean }[] = [];
  let at = offset;
  for (const extent of extents) {
    const hole = extent.zero && extent.lengthBytes >= HOLE_BYTES_MIN;
    append(parts, at, extent.lengthBytes, hole);
    at += extent.lengthBytes;
  }
  append(parts, at, offset + length - at, false);
  return Promise.all(
    parts.map(async (part) => ({
      offset: part.offset,
      length: part.length,
      data: part.hole ? undefined : await device.read(part.offset, part.length),
    })),
  );
}

function append(
  parts: { offset: number; length: number; hole: boolean }[],
  offset: number,
  length: number,
  hole: boolean,
): void {
  if (length === 0) return;
  const last = parts.at(-1);
  if (last !== undefined && last.hole === hole) last.length += length;
  else parts.push({ offset, length, hole });
}
