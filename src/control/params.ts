import { AppError } from '../base/errors.js';
import {
  BLOCK_SIZE_SHIFT_DEFAULT,
  BLOCK_SIZE_SHIFT_MAX,
  BLOCK_SIZE_SHIFT_MIN,
  COPIES_MAX,
  vdiBytesMax,
} from '../wire/sheepdog.js';
import type { VdiRef } from './api.js';

/**
 * Checks of what comes in over the control interface (I-10): each takes an unknown value, returns it typed, and
 * throws AppError 'invalid' with a sentence that says which parameter is wrong and what is allowed.
 */
export const NAME_BYTES_MAX = 255;
export const TAG_BYTES_MAX = 255;
export const DEFAULT_BLOCK_SIZE_SHIFT = BLOCK_SIZE_SHIFT_DEFAULT;
export const CALL_BLOB_BYTES_MAX = 4 * 1024 * 1024;
export const ATTR_VALUE_BYTES_MAX = 64 * 1024;

export type Fields = Readonly<Record<string, unknown>>;

function invalid(message: string): AppError {
  return new AppError('invalid', message);
}

export function checkFields(value: unknown): Fields {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw invalid('parameters must be a JSON object');
  }
  return value as Fields;
}

export function checkInteger(value: unknown, field: string, min: number, max: number): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < min || value > max) {
    throw invalid(`${field} must be an integer from ${min} to ${max}`);
  }
  return value;
}

export function checkOptionalInteger(
  value: unknown,
  field: string,
  min: number,
  max: number,
): number | undefined {
  return value === undefined || value === null ? undefined : checkInteger(value, field, min, max);
}

export function checkOptionalBoolean(value: unknown, field: string): boolean {
  if (value === undefined || value === null) return false;
  if (typeof value !== 'boolean') throw invalid(`${field} must be true or false`);
  return value;
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
const CONTROL_CHARACTERS = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/;

/** Text of 1 to `bytesMax` bytes of UTF-8, without control characters and without the `forbidden` ones. */
export function checkText(value: unknown, field: string, bytesMax: number, forbidden = ''): string {
  if (typeof value !== 'string' || value === '') throw invalid(`${field} must not be empty`);
  if (Buffer.byteLength(value) > bytesMax) throw invalid(`${field} is longer than ${bytesMax} bytes`);
  if (CONTROL_CHARACTERS.test(value)) throw invalid(`${field} contains a control character`);
  // Half of a surrogate pair has no UTF-8 form: it would be stored as another name than the one asked for.
  if (Buffer.from(value).toString() !== value) throw invalid(`${field} is not well-formed Unicode`);
  for (const character of forbidden) {
    if (value.includes(character)) throw invalid(`${field} must not contain '${character}'`);
  }
  return value;
}

/** A volume's name. '@' separates the snapshot in `volume@snapshot`; '/' would not fit export names and paths. */
export function checkName(value: unknown, field = 'name'): string {
  return checkText(value, field, NAME_BYTES_MAX, '@/');
}

/** A snapshot's tag. All digits would be taken for a snapshot id. */
export function checkTag(value: unknown, field = 'tag'): string {
  const tag = checkText(value, field, TAG_BYTES_MAX, '/');
  if (/^\d+$/.test(tag)) throw invalid(`${field} must not consist of digits only: that is a snapshot id`);
  return tag;
}

/** The tag of a new snapshot: '' for one without a tag, which is known by its id only. */
export function checkNewTag(value: unknown, field = 'tag'): string {
  return value === undefined || value === null || value === '' ? '' : checkTag(value, field);
}

export function checkSnapId(value: unknown, field = 'snapId'): number {
  return checkInteger(value, field, 1, 0xffffffff);
}

export function checkVdiRef(fields: Fields): VdiRef {
  const ref: VdiRef = { name: checkName(fields.name) };
  if (fields.tag !== undefined && fields.tag !== '') ref.tag = checkTag(fields.tag);
  if (fields.snapId !== undefined) ref.snapId = checkSnapId(fields.snapId);
  if (ref.tag !== undefined && ref.snapId !== undefined) {
    throw invalid('a snapshot is named by tag or by id, not by both');
  }
  return ref;
}

export function checkBlockSizeShift(value: unknown): number | undefined {
  return checkOptionalInteger(value, 'blockSizeShift', BLOCK_SIZE_SHIFT_MIN, BLOCK_SIZE_SHIFT_MAX);
}

export function checkCopies(value: unknown, field = 'copies'): number {
  return checkInteger(value, field, 1, COPIES_MAX);
}

/** The size of a volume in bytes: at least 1, at most what the index of its inode can hold. */
export function checkSizeBytes(value: unknown, blockSizeShift: number, field = 'sizeBytes'): number {
  const max = vdiBytesMax(blockSizeShift);
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 1) {
    throw invalid(`${field} must be a whole number of bytes, at least 1`);
  }
  if (value > max) throw invalid(`New VDI size is too large. This volume's max size is ${max}`);
  return value;
}

/** A range of one read or write call; whether it lies inside the volume is checked where the size is known. */
export function checkRange(offset: unknown, length: unknown): { offset: number; length: number } {
  return {
    offset: checkInteger(offset, 'offset', 0, Number.MAX_SAFE_INTEGER),
    length: checkInteger(length, 'length', 0, CALL_BLOB_BYTES_MAX),
  };
}

export function checkAttrKey(value: unknown): string {
  return checkText(value, 'key', NAME_BYTES_MAX);
}

/** An attribute's value, base64 on the wire; at most 64 KiB decoded. */
export function checkAttrValue(value: unknown): string {
  if (typeof value !== 'string' || !/^[A-Za-z0-9+/]*={0,2}$/.test(value) || value.length % 4 !== 0) {
    throw invalid('value must be base64');
  }
  if (Buffer.byteLength(value, 'base64') > ATTR_VALUE_BYTES_MAX) {
    throw invalid(`value is longer than ${ATTR_VALUE_BYTES_MAX} bytes`);
  }
  return value;
}
