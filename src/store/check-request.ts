import { assert } from '../base/assert.js';
import { areBlocks } from '../base/block-sums.js';
import { BLOCK_SIZE } from '../base/bytes.js';
import { AppError } from '../base/errors.js';
import type { Operation } from './operation.js';
import { checkRange } from './reader.js';

/** Largest object: 2 GiB of data and a margin; also what an object's table may make us allocate. */
export const MAX_OBJECT_BYTES = 4 * 1024 ** 3;

/** AppError 'invalid' when no object of any size could take it. */
export function checkRequest(op: Operation): void {
  const { objectBytes } = op;
  if (!Number.isSafeInteger(objectBytes) || objectBytes <= 0 || objectBytes > MAX_OBJECT_BYTES) {
    throw new AppError('invalid', `an object cannot have ${objectBytes} bytes`);
  }
  const { offset, length, dataSums: sums } = op;
  checkRange(op, offset, length);
  if (sums !== undefined)
    assert(areBlocks(offset, length) && sums.length * BLOCK_SIZE === length, 'a sum for each block');
  if (op.mode === 'cow' && op.parent === undefined) throw new AppError('invalid', 'copy without a parent');
}
