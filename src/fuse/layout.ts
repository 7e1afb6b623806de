/**
 * Records of the kernel's protocol as tables: a layout is a list of fields, and both directions follow from it.
 * Integers are in the byte order of the host, which is little-endian on every machine that Node runs on with Linux.
 */
const fieldBytes = { u16: 2, u32: 4, i32: 4, u64: 8 } as const;

export type FieldType = keyof typeof fieldBytes;
export type Field = readonly [name: string, type: FieldType];
export type Values<F extends readonly Field[]> = { -readonly [K in F[number][0]]: number };

const TWO_32 = 0x1_0000_0000;

export class Layout<const F extends readonly Field[]> {
  readonly bytes: number;
  private readonly places: { name: string; type: FieldType; at: number }[] = [];

  constructor(fields: F) {
    let at = 0;
    for (const [name, type] of fields) {
      this.places.push({ name, type, at });
      at += fieldBytes[type];
    }
    this.bytes = at;
  }

  /**
   * The caller has checked that `bytes` bytes are there. u64 above 2^53 lose their low bits: check them before use.
   */
  decode(buffer: Buffer, at = 0): Values<F> {
    const values: Record<string, number> = {};
    for (const place of this.places) values[place.name] = get(buffer, at + place.at, place.type);
    return values as Values<F>;
  }

  /** Fields that are left out are zero. */
  encode(values: Partial<Values<F>>): Buffer {
    const buffer = Buffer.alloc(this.bytes);
    this.write(buffer, 0, values);
    return buffer;
  }

  write(buffer: Buffer, at: number, values: Partial<Values<F>>): void {
    for (const { name, type, at: place } of this.places) {
      put(buffer, at + place, type, (values as Record<string, number | undefined>)[name] ?? 0);
    }
  }

  /** Where a field lies. */
  offsetOf(name: F[number][0]): number {
    return this.places.find((place) => place.name === name)!.at;
  }
}

export function getU64(buffer: Buffer, at: number): number {
  return buffer.readUInt32LE(at) + buffer.readUInt32LE(at + 4) * TWO_32;
}

export function putU64(buffer: Buffer, at: number, value: number): void {
  buffer.writeUInt32LE(value % TWO_32, at);
  buffer.writeUInt32LE(Math.floor(value / TWO_32), at + 4);
}

function get(buffer: Buffer, at: number, type: FieldType): number {
  switch (type) {
    case 'u16':
      return buffer.readUInt16LE(at);
    case 'u32':
      return buffer.readUInt32LE(at);
    case 'i32':
      return buffer.readInt32LE(at);
    case 'u64':
      return getU64(buffer, at);
  }
}

function put(buffer: Buffer, at: number, type: FieldType, value: number): void {
  if (type === 'u16') buffer.writeUInt16LE(value, at);
  else if (type === 'u32') buffer.writeUInt32LE(value, at);
  else if (type === 'i32') buffer.writeInt32LE(value, at);
  else putU64(buffer, at, value);
}
