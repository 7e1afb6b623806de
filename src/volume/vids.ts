import { AppError } from '../base/errors.js';
import { sdHashVdi } from '../wire/hash.js';
import { VID_COUNT } from '../wire/oid.js';

/** The first free vid from the hash of the name on, around the end; vid 0 is never used (reference, section 6.1). */
export function freeVid(name: string, isUsed: (vid: number) => boolean): number {
  const start = sdHashVdi(name) || 1;
  let vid = start;
  do {
    if (!isUsed(vid)) return vid;
    vid = vid + 1 === VID_COUNT ? 1 : vid + 1;
  } while (vid !== start);
  throw new AppError('full-vdi', 'Maximum number of VDIs reached');
}
