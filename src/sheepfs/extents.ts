import { FuseError } from '../fuse/errors.js';
import { Whence } from '../fuse/protocol.js';
import type { VolumeData } from './cluster-link.js';

export interface Run {
  readonly offset: number;
  readonly length: number;
  readonly hole: boolean;
}

type Map = Pick<VolumeData, 'blockStatus'>;

/** What of a range is data and what is a hole, in order. */
export async function* runsOf(data: Map, from: number, end: number): AsyncGenerator<Run> {
  let at = from;
  while (at < end) {
    for (const { lengthBytes, hole, zero } of await data.blockStatus(at, end - at)) {
      const length = Math.min(lengthBytes, end - at);
      if (length <= 0) break;
      yield { offset: at, length, hole: hole && zero };
      at += length;
    }
  }
}

/** SEEK_DATA and SEEK_HOLE in a file of `length` bytes. Rejects with ENXIO when there is nothing more. */
export async function seek(data: Map, offset: number, whence: number, length: number): Promise<number> {
  if (offset >= length) throw new FuseError('ENXIO');
  const wantsHole = whence === Whence.HOLE;
  for await (const run of runsOf(data, offset, length)) {
    if (run.hole === wantsHole) return run.offset;
  }
  // The end of a file counts as a hole.
  if (wantsHole) return length;
  throw new FuseError('ENXIO');
}

/** Where the last data of a volume ends, at least `from`. */
export async function dataEnd(data: Map, from: number, sizeBytes: number): Promise<number> {
  let end = from;
  for await (const run of runsOf(data, from, sizeBytes)) {
    if (!run.hole) end = run.offset + run.length;
  }
  return end;
}

/** Makes room for every hole of a range. Whoever writes there at another door meanwhile may lose that. */
export async function allocate(data: Pick<VolumeData, 'blockStatus' | 'zero'>, from: number, end: number) {
  for await (const run of runsOf(data, from, end)) {
    if (run.hole) await data.zero(run.offset, run.length, { mayUnmap: false });
  }
}
