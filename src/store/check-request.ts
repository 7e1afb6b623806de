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
  checkRange(op, op.offset, op.length);
  if (op.mode === 'cow' && op.parent === undefined) throw new AppError('invalid', 'copy without a parent');
}
