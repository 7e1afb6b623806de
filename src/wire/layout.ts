/**
 * Fixed-size records as tables: order, name and width of each field, stated once, with typed encode and decode made
 * from the table. Little-endian. Used for everything but the few headers that are hot enough to be hand-written, and
 * as the test oracle of those.
 *
 *   u8 u16 u32 i16 i32   number          u64   bigint
 *   bytes n              Buffer; shorter input is padded with zeros, longer is refused
 *   text n               string in UTF-8 up to the first NUL; input of more than n bytes is refused ('invalid')
 *   pad n                written as zeros, ignored when read, no name in the record
 */
import { assert } from '../base/assert.js';
import { AppError } from '../base/errors.js';

type NumberKind = 'u8' | 'u16' | 'u32' | 'i16' | 'i32';
type Field =
  | readonly [name: string, kind: NumberKind | 'u64']
  | readonly [name: string, kind: 'bytes' | 'text' | 'pad', size: number];

interface ValueOf {
  u8: number;
  u16: number;
  u32: number;
  i16: number;
  i32: number;
  u64: bigint;
  bytes: Buffer;
  text: string;
}

/** What a record of these fields looks like in TypeScript. */
export type RecordOf<F extends readonly Field[]> = {
  [P in F[number] as P[1] extends keyof ValueOf ? P[0] : never]: P[1] extends keyof ValueOf
    ? ValueOf[P[1]]
    : never;
};

export interface Layout<R> {
  readonly sizeBytes: number;
  /** Offset and size of each named field. */
  readonly fields: { readonly [K in keyof R]: { readonly offset: number; readonly size: number } };
  /** A copy of the record at `offset`; the caller has checked that sizeBytes are there (asserted). */
  decode(bytes: Uint8Array, offset?: number): R;
  /** A new buffer; fields left out are zero. */
  encode(record: Partial<R>): Buffer;
  /** The same into existing memory, all sizeBytes of it. */
  encodeInto(record: Partial<R>, target: Uint8Array, offset?: number): void;
}

const numberSizes = { u8: 1, u16: 2, u32: 4, i16: 2, i32: 4, u64: 8 } as const;

interface Step {
  readonly name: string;
  readonly kind: Field[1];
  readonly offset: number;
  readonly size: number;
}

/** Builds a layout and asserts that its fields fill exactly `sizeBytes`, each name once. */
export function layout<const F extends readonly Field[]>(sizeBytes: number, fields: F): Layout<RecordOf<F>> {
  const steps: Step[] = [];
  let end = 0;
  for (const field of fields) {
    const [name, kind] = field;
    const size = field.length === 3 ? field[2] : numberSizes[field[1]];
    steps.push({ name, kind, offset: end, size });
    end += size;
  }
  assert(end === sizeBytes, `fields take ${end} bytes, the record has ${sizeBytes}`);
  const named = steps.filter((step) => step.kind !== 'pad');
  assert(new Set(named.map((step) => step.name)).size === named.length, 'field names are unique');
  return makeLayout(sizeBytes, named) as unknown as Layout<RecordOf<F>>;
}

type AnyRecord = Record<string, number | bigint | Buffer | string | undefined>;

function makeLayout(sizeBytes: number, named: readonly Step[]): Layout<AnyRecord> {
  const cutShort = `record of ${sizeBytes} bytes is cut short`;
  const noRoom = `no room for a record of ${sizeBytes} bytes`;
  function decode(bytes: Uint8Array, offset = 0): AnyRecord {
    assert(offset >= 0 && offset + sizeBytes <= bytes.length, cutShort);
    const source = asBuffer(bytes);
    const record: AnyRecord = {};
    for (const step of named) record[step.name] = readField(source, step, offset + step.offset);
    return record;
  }
  function encodeInto(record: Partial<AnyRecord>, target: Uint8Array, offset = 0): void {
    assert(offset >= 0 && offset + sizeBytes <= target.length, noRoom);
    const out = asBuffer(target);
    out.fill(0, offset, offset + sizeBytes);
    for (const step of named) {
      const value = record[step.name];
      if (value !== undefined) writeField(out, step, offset + step.offset, value);
    }
  }
  return {
    sizeBytes,
    fields: Object.fromEntries(named.map(({ name, offset, size }) => [name, { offset, size }])),
    decode,
    encodeInto,
    encode(record) {
      const out = Buffer.alloc(sizeBytes);
      encodeInto(record, out);
      return out;
    },
  };
}

function readField(source: Buffer, step: Step, at: number): number | bigint | Buffer | string {
  switch (step.kind) {
    case 'u8':
      return source[at]!;
    case 'u16':
      return source.readUInt16LE(at);
    case 'u32':
      return source.readUInt32LE(at);
    case 'i16':
      return source.readInt16LE(at);
    case 'i32':
      return source.readInt32LE(at);
    case 'u64':
      return source.readBigUInt64LE(at);
    case 'text':
      return textUpToNul(source.subarray(at, at + step.size));
    default:
      return Buffer.from(source.subarray(at, at + step.size));
  }
}

function writeField(out: Buffer, step: Step, at: number, value: number | bigint | Buffer | string): void {
  switch (step.kind) {
    case 'u8':
      out.writeUInt8(value as number, at);
      return;
    case 'u16':
      out.writeUInt16LE(value as number, at);
      return;
    case 'u32':
      out.writeUInt32LE(value as number, at);
      return;
    case 'i16':
      out.writeInt16LE(value as number, at);
      return;
    case 'i32':
      out.writeInt32LE(value as number, at);
      return;
    case 'u64':
      out.writeBigUInt64LE(value as bigint, at);
      return;
    default: {
      const bytes = typeof value === 'string' ? Buffer.from(value, 'utf8') : (value as Buffer);
      // A refusal, not a broken belief: a text that was read from a hostile record may have grown in UTF-8.
      if (bytes.length > step.size) {
        throw new AppError('invalid', `${step.name} of ${bytes.length} bytes does not fit into ${step.size}`);
      }
      out.set(bytes, at);
    }
  }
}

/** Fixed-size texts end at the first NUL, or fill their field without one (QEMU does that with tags). */
export function textUpToNul(bytes: Uint8Array): string {
  const nul = bytes.indexOf(0);
  return asBuffer(bytes).toString('utf8', 0, nul < 0 ? bytes.length : nul);
}

export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
}
