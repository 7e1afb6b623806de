import { assert } from '../../src/base/assert.js';
import type { PeerMessage } from '../../src/wire/peer-message.js';

/** The real codec would cut these to their width; here a value that does not fit is a bug at once. */
export function checkFields(m: PeerMessage): void {
  const fits = (value: number, max: number): boolean => Number.isInteger(value) && value >= 0 && value <= max;
  const u32 = 0xffff_ffff;
  const ok =
    fits(m.type, 0xff) &&
    fits(m.flags, 0xffff) &&
    fits(m.id, u32) &&
    fits(m.result, 0xffff) &&
    fits(m.epoch, u32) &&
    fits(m.root, u32) &&
    fits(m.copies, 0xff) &&
    fits(m.objectShift, 0xff) &&
    fits(m.offset, Number.MAX_SAFE_INTEGER) &&
    fits(m.length, Number.MAX_SAFE_INTEGER) &&
    fits(m.sequence, u32) &&
    fits(m.commit, u32);
  assert(ok, `message field out of range: type ${m.type} id ${m.id} epoch ${m.epoch} seq ${m.sequence}`);
}
