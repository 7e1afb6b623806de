import { COPIES_MAX } from '../wire/sheepdog.js';
import { escapeCommas, type KeyValues, parseKeyValues } from './key-values.js';
import { parseSize } from './sizes.js';
import { ToolError } from './tool-error.js';

/** The options that QEMU's sheepdog driver had for new images (`create -o`, `convert -o`). Pure. */
export interface CreateOptions {
  readonly sizeBytes?: number;
  readonly backingFile?: string;
  readonly backingFormat?: string;
  readonly preallocation?: string;
  readonly redundancy?: string;
  readonly objectBytes?: number;
}

/** What a sheep is asked for. */
export interface VolumeShape {
  readonly preallocate: boolean;
  readonly copies: number | undefined;
  readonly blockSizeShift: number | undefined;
}

export const optionHelp = `Supported options:
  backing_file=<str>     - File name of a base image
  backing_fmt=<str>      - Must be 'sheepdog' if present
  object_size=<size>     - Object size of the image
  preallocation=<str>    - Preallocation mode (allowed values: off, full)
  redundancy=<str>       - Redundancy of the image
  size=<size>            - Virtual disk size
`;

const sizeHelp = `Optional suffix k, M, G, T, P or E means kilo-, mega-, giga-, tera-, peta-
and exabytes, respectively.`;

/** -o may be given more than once. Rejects with ToolError. */
export function parseOptionLists(lists: readonly string[]): KeyValues | 'help' {
  for (const list of lists) {
    if (list === '' || list.startsWith(',')) throw new ToolError(`Invalid option list: ${list}`);
  }
  const pairs = parseKeyValues(lists.join(','), undefined);
  return pairs.some(([key]) => key === 'help' || key === '?') ? 'help' : pairs;
}

/** Rejects with ToolError. */
export function readCreateOptions(pairs: KeyValues): CreateOptions {
  let options: CreateOptions = {};
  for (const [key, value] of pairs) {
    switch (key) {
      case 'size':
        options = { ...options, sizeBytes: sizeOption(key, value) };
        break;
      case 'object_size':
        options = { ...options, objectBytes: sizeOption(key, value) };
        break;
      case 'backing_file':
        options = { ...options, backingFile: value };
        break;
      case 'backing_fmt':
        options = { ...options, backingFormat: value };
        break;
      case 'preallocation':
        options = { ...options, preallocation: value };
        break;
      case 'redundancy':
        options = { ...options, redundancy: value };
        break;
      default:
        throw new ToolError(`Invalid parameter '${key}'`);
    }
  }
  return options;
}

function sizeOption(key: string, text: string): number {
  const bytes = parseSize(text);
  if (typeof bytes === 'number') return bytes;
  throw new ToolError(`Parameter '${key}' expects a non-negative number below 2^64\n${sizeHelp}`);
}

/** `Formatting 'sheepdog:x', fmt=raw size=1073741824 ...`: scripts read this line. */
export function formattingLine(file: string, format: string, options: CreateOptions): string {
  const fields: [string, string | number | undefined][] = [
    ['size', options.sizeBytes],
    ['backing_file', options.backingFile],
    ['backing_fmt', options.backingFormat],
    ['preallocation', options.preallocation],
    ['redundancy', options.redundancy],
    ['object_size', options.objectBytes],
  ];
  const given = fields.filter(([, value]) => value !== undefined);
  const words = given.map(([key, value]) => `${key}=${escapeCommas(String(value))}`);
  return `Formatting '${file}', fmt=${format} ${words.join(' ')}\n`;
}

/** Rejects with ToolError, in the order in which the driver looked at its options. */
export function shapeOf(options: CreateOptions): VolumeShape {
  const { preallocation = 'off' } = options;
  if (!['off', 'full', 'metadata', 'falloc'].includes(preallocation)) {
    throw new ToolError(`Invalid parameter '${preallocation}'`);
  }
  if (preallocation !== 'off' && preallocation !== 'full') {
    throw new ToolError('Preallocation mode not supported for Sheepdog');
  }
  return {
    preallocate: preallocation === 'full',
    copies: options.redundancy === undefined ? undefined : copiesOf(options.redundancy),
    blockSizeShift: options.objectBytes === undefined ? undefined : shiftOf(options.objectBytes),
  };
}

function copiesOf(redundancy: string): number {
  const match = /^(\d+)(?::(\d+))?$/.exec(redundancy);
  const copies = Number(match?.[1] ?? 0);
  if (match?.[2] !== undefined && isErasureCode(copies, Number(match[2]))) {
    throw new ToolError(`Erasure coding (redundancy=${redundancy}) is not available, use redundancy=N`);
  }
  if (match === null || match[2] !== undefined || copies < 1 || copies > COPIES_MAX) {
    throw new ToolError('Invalid redundancy mode');
  }
  return copies;
}

function isErasureCode(dataStrips: number, parityStrips: number): boolean {
  return [2, 4, 8, 16].includes(dataStrips) && parityStrips >= 1 && parityStrips <= 15;
}

function shiftOf(objectBytes: number): number {
  const shift = Math.log2(objectBytes);
  if (Number.isInteger(shift) && shift >= 20 && shift <= 31) return shift;
  // The spelling is the original's; programs may match it.
  const limits = 'obect_size needs to be power of 2 and be limited from 2^20 to 2^31';
  throw new ToolError(`Invalid object_size. ${limits}`);
}
