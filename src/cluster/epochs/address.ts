import { AppError } from '../../base/errors.js';
import { INODE_BYTES } from '../../wire/inode.js';
import { invalidOid, isAttr, isInode } from '../../wire/oid.js';
import { attribute } from '../../wire/records.js';
import { BLOCK_SIZE_SHIFT_MAX, BLOCK_SIZE_SHIFT_MIN, COPIES_MAX } from '../../wire/sheepdog.js';

/** What is needed to place an object and to create a replica of it (D-16). */
export interface ObjectAddress {
  readonly oid: bigint;
  /** Root vid of the volume's family: all versions of one block lie on the same nodes. */
  readonly root: number;
  readonly copies: number;
  /** log2 of the size of the volume's data objects. */
  readonly objectShift: number;
}

export function objectBytesOf(address: ObjectAddress): number {
  if (isInode(address.oid)) return INODE_BYTES;
  if (isAttr(address.oid)) return attribute.sizeBytes;
  return 2 ** address.objectShift;
}

/** Throws 'invalid' unless the range lies inside the object and all numbers are in their bounds (I-10). */
export function checkAddress(address: ObjectAddress, offset: number, length: number): void {
  const problem = invalidOid(address.oid);
  if (problem !== undefined) throw new AppError('invalid', problem);
  if (address.copies < 1 || address.copies > COPIES_MAX) throw new AppError('invalid', 'copies out of range');
  if (address.objectShift < BLOCK_SIZE_SHIFT_MIN || address.objectShift > BLOCK_SIZE_SHIFT_MAX) {
    throw new AppError('invalid', 'object size out of range');
  }
  if (address.root < 0 || address.root > 0xffffff) throw new AppError('invalid', 'family root out of range');
  if (!Number.isSafeInteger(offset) || !Number.isSafeInteger(length) || offset < 0 || length < 0) {
    throw new AppError('invalid', `range ${offset}+${length} is not one`);
  }
  if (offset + length > objectBytesOf(address)) {
    throw new AppError('invalid', `range ${offset}+${length} is outside the object`);
  }
}
