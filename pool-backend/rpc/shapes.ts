import { XdrError, XdrReader, XdrWriter } from './xdr.js';

/** How one value looks on the wire: written as tables in procedures.ts, so that reading and writing cannot differ. */
export interface Shape<T> {
  read(from: XdrReader): T;
  write(to: XdrWriter, value: T): void;
}

/** The TypeScript type of what a shape describes. */
export type ValueOf<S> = S extends Shape<infer T> ? T : never;

/** Limits of libvirt's protocol (remote_protocol.x): bytes of a string, and entries of the lists used here. */
export const STRING_BYTES_MAX = 4 * 1024 * 1024;
export const LIST_ENTRIES_MAX = 16_384;
export const TYPED_PARAMS_MAX = 64;
const UUID_BYTES = 16;

export const u32: Shape<number> = { read: (from) => from.u32(), write: (to, value) => to.u32(value) };
export const i32: Shape<number> = { read: (from) => from.i32(), write: (to, value) => to.i32(value) };
export const u64: Shape<bigint> = { read: (from) => from.u64(), write: (to, value) => to.u64(value) };
export const i64: Shape<bigint> = { read: (from) => from.i64(), write: (to, value) => to.i64(value) };

/** A C int used as a truth value. */
export const bool: Shape<boolean> = {
  read: (from) => from.i32() !== 0,
  write: (to, value) => to.i32(value ? 1 : 0),
};

export const text: Shape<string> = {
  read: (from) => from.string(STRING_BYTES_MAX),
  write: (to, value) => to.string(value, STRING_BYTES_MAX),
};

/** 16 bytes, in their usual form with hyphens. */
export const uuid: Shape<string> = {
  read: (from) => formatUuid(from.fixedOpaque(UUID_BYTES)),
  write: (to, value) => to.fixedOpaque(Buffer.from(value.replaceAll('-', ''), 'hex')),
};

/** Nothing at all. */
export const empty: Shape<void> = { read: () => undefined, write: () => undefined };

// biome-ignore lint/suspicious/noExplicitAny: a table of shapes of any values
type Fields = Record<string, Shape<any>>;

/** Fields one after the other, in the order in which they are written down. */
export function struct<F extends Fields>(fields: F): Shape<{ [K in keyof F]: ValueOf<F[K]> }> {
  const entries = Object.entries(fields);
  return {
    read: (from) =>
      Object.fromEntries(entries.map(([name, shape]) => [name, shape.read(from)])) as {
        [K in keyof F]: ValueOf<F[K]>;
      },
    write: (to, value) => {
      for (const [name, shape] of entries) shape.write(to, value[name]);
    },
  };
}

/** A word that says whether the value follows. */
export function optional<T>(shape: Shape<T>): Shape<T | undefined> {
  return {
    read: (from) => {
      const present = from.u32();
      if (present > 1) throw new XdrError(`${present} is not a truth value`);
      return present === 1 ? shape.read(from) : undefined;
    },
    write: (to, value) => {
      to.u32(value === undefined ? 0 : 1);
      if (value !== undefined) shape.write(to, value);
    },
  };
}

/** A count and so many values; `what` names them in the error when there are more than `max`. */
export function list<T>(shape: Shape<T>, what: string, max = LIST_ENTRIES_MAX): Shape<readonly T[]> {
  return {
    read: (from) => Array.from({ length: from.count(max, what) }, () => shape.read(from)),
    write: (to, values) => {
      to.count(values.length, max, what);
      for (const value of values) shape.write(to, value);
    },
  };
}

/** One value of a union told apart by an int (virTypedParameter's types): integers, a double's bytes, or a text. */
export const typedValue: Shape<{ type: number; value: number | bigint | string }> = {
  read: (from) => {
    const type = from.i32();
    switch (type) {
      case 1:
      case 6:
        return { type, value: from.i32() };
      case 2:
        return { type, value: from.u32() };
      case 3:
        return { type, value: from.i64() };
      case 4:
      case 5:
        return { type, value: from.u64() };
      case 7:
        return { type, value: from.string(STRING_BYTES_MAX) };
      default:
        throw new XdrError(`unknown type of a parameter: ${type}`);
    }
  },
  write: (to, { type, value }) => {
    to.i32(type);
    if (typeof value === 'string') to.string(value, STRING_BYTES_MAX);
    else if (typeof value === 'bigint') to.u64(BigInt.asUintN(64, value));
    else to.u32(value >>> 0);
  },
};

/** Reads a whole body. Throws XdrError unless the bytes are exactly one such value. */
export function decode<T>(shape: Shape<T>, body: Buffer): T {
  const reader = new XdrReader(body);
  const value = shape.read(reader);
  reader.end();
  return value;
}

/** Throws XdrError when the value breaks a limit of the protocol. */
export function encode<T>(shape: Shape<T>, value: T): Buffer {
  const writer = new XdrWriter();
  shape.write(writer, value);
  return writer.finish();
}

export function formatUuid(bytes: Buffer): string {
  const hex = bytes.toString('hex');
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}
