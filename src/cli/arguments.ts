import { isIP } from 'node:net';
import type { VdiRef } from '../control/api.js';
import { BLOCK_SIZE_SHIFT_MAX, BLOCK_SIZE_SHIFT_MIN, COPIES_MAX } from '../wire/sheepdog.js';
import { Exit, exitCodes } from './exit.js';
import { parseSize } from './sizes.js';

/** Arguments shared by several commands, with the original's complaints and exit codes. */

/** `-s X`: digits are a snapshot id, anything else is a tag. */
export function vdiRef(name: string, snapshot: string | undefined): VdiRef {
  if (snapshot === undefined) return { name };
  if (!/^\d+$/.test(snapshot)) return { name, tag: snapshot };
  const snapId = Number(snapshot);
  if (snapId === 0) throw new Exit(exitCodes.failure, 'The snapshot id must be larger than zero');
  return { name, snapId };
}

/** How the original names what it could not open. */
export function openText(ref: VdiRef): string {
  return `Failed to open VDI ${ref.name} (snapshot id: ${ref.snapId ?? 0} snapshot tag: ${ref.tag ?? ''})`;
}

export function sizeArgument(text: string): number {
  const bytes = parseSize(text);
  if (bytes !== undefined) return bytes;
  throw new Exit(exitCodes.usage, `Invalid size '${text}'`, {
    hint: 'A size is a number of bytes, or has one of the suffixes K M G T P (1024-based), as in 4G or 4GiB.',
  });
}

export function addressArgument(text: string): string {
  if (isIP(text) !== 0) return text;
  throw new Exit(exitCodes.usage, `${text} is no IP address`);
}

const copiesHelp = `To create replicated vdi, set -c x
  x(1 to 31)   - number of replicated copies
To create erasure coded vdi, set -c x:y
  x(2,4,8,16)  - number of data strips
  y(1 to 15)   - number of parity strips`;

export function copiesArgument(text: string): number {
  const copies = /^\d+$/.test(text) ? Number(text) : 0;
  if (copies >= 1 && copies <= COPIES_MAX) return copies;
  if (/^(2|4|8|16):([1-9]|1[0-5])$/.test(text)) {
    throw new Exit(exitCodes.failure, `Erasure coding (${text}) is not available yet`, {
      hint: 'Use a number of copies, as in -c 3.',
    });
  }
  throw new Exit(exitCodes.failure, `Invalid parameter ${text}\n${copiesHelp}`);
}

export function shiftArgument(text: string): number {
  const shift = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (Number.isNaN(shift)) throw new Exit(exitCodes.usage, `Invalid block size shift '${text}'`);
  if (shift > BLOCK_SIZE_SHIFT_MAX) {
    throw new Exit(exitCodes.failure, 'Object Size is limited to 2^31. Please set shift bit lower than 31');
  }
  if (shift < BLOCK_SIZE_SHIFT_MIN) {
    throw new Exit(exitCodes.failure, 'Object Size is larger than 2^20. Please set shift bit larger than 20');
  }
  return shift;
}

export function countArgument(text: string, what: string, min: number, max: number): number {
  const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (value >= min && value <= max) return value;
  throw new Exit(exitCodes.usage, `Invalid ${what} '${text}': a number from ${min} to ${max} is wanted`);
}
