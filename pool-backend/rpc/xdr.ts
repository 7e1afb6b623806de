/**
 * XDR (RFC 4506), as far as libvirt's protocol needs it: big-endian words, and strings and opaque bytes padded to four.
 * Lengths are checked against the named limit and against what is there before anything is allocated (I-10).
 */
export class XdrError extends Error {
  override readonly name = 'XdrError';
}

const WORD_BYTES = 4;
const padding = (length: number): number => (WORD_BYTES - (length % WORD_BYTES)) % WORD_BYTES;
const strictUtf8 = new TextDecoder('utf-8', { fatal: true });

/** Reads one body from its beginning. Every method throws XdrError when the bytes do not hold what is asked for. */
export class XdrReader {
  private offset = 0;

  constructor(private readonly bytes: Buffer) {}

  get remaining(): number {
    return this.bytes.length - this.offset;
  }

  u32(): number {
    return this.bytes.readUInt32BE(this.advance(WORD_BYTES));
  }

  i32(): number {
    return this.bytes.readInt32BE(this.advance(WORD_BYTES));
  }

  u64(): bigint {
    return this.bytes.readBigUInt64BE(this.advance(2 * WORD_BYTES));
  }

  i64(): bigint {
    return this.bytes.readBigInt64BE(this.advance(2 * WORD_BYTES));
  }

  /** Exactly `length` bytes and their padding; a view, not a copy. */
  fixedOpaque(length: number): Buffer {
    const start = this.advance(length + padding(length));
    return this.bytes.subarray(start, start + length);
  }

  opaque(maxBytes: number): Buffer {
    return this.fixedOpaque(this.count(maxBytes, 'bytes'));
  }

  /** UTF-8 without NUL characters: neither has a meaning in a name, and C programs would read another one. */
  string(maxBytes: number): string {
    const bytes = this.opaque(maxBytes);
    if (bytes.includes(0)) throw new XdrError('a string holds a NUL character');
    try {
      return strictUtf8.decode(bytes);
    } catch (error) {
      throw new XdrError('a string is not UTF-8', { cause: error });
    }
  }

  /** A length word, checked against its limit and against one byte at least for each that is announced. */
  count(max: number, what: string): number {
    const count = this.u32();
    if (count > max) throw new XdrError(`${count} ${what}, at most ${max} are allowed`);
    if (count > this.remaining) throw new XdrError(`${count} ${what} are announced, the message is shorter`);
    return count;
  }

  /** The body must be used up: what follows belongs to another version of the protocol, or to an attack. */
  end(): void {
    if (this.remaining !== 0) throw new XdrError(`${this.remaining} bytes too many`);
  }

  private advance(length: number): number {
    if (length > this.remaining) throw new XdrError('the message is too short');
    const start = this.offset;
    this.offset += length;
    return start;
  }
}

/** Collects one body. Throws XdrError for what a peer would refuse to read. */
export class XdrWriter {
  private readonly parts: Buffer[] = [];

  u32(value: number): void {
    const word = Buffer.allocUnsafe(WORD_BYTES);
    word.writeUInt32BE(value);
    this.parts.push(word);
  }

  i32(value: number): void {
    const word = Buffer.allocUnsafe(WORD_BYTES);
    word.writeInt32BE(value);
    this.parts.push(word);
  }

  u64(value: bigint): void {
    const words = Buffer.allocUnsafe(2 * WORD_BYTES);
    words.writeBigUInt64BE(value);
    this.parts.push(words);
  }

  i64(value: bigint): void {
    const words = Buffer.allocUnsafe(2 * WORD_BYTES);
    words.writeBigInt64BE(value);
    this.parts.push(words);
  }

  fixedOpaque(bytes: Uint8Array): void {
    this.parts.push(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length));
    if (padding(bytes.length) > 0) this.parts.push(Buffer.alloc(padding(bytes.length)));
  }

  opaque(bytes: Uint8Array, maxBytes: number): void {
    if (bytes.length > maxBytes) throw new XdrError(`${bytes.length} bytes, at most ${maxBytes} are allowed`);
    this.u32(bytes.length);
    this.fixedOpaque(bytes);
  }

  string(text: string, maxBytes: number): void {
    this.opaque(Buffer.from(text), maxBytes);
  }

  count(count: number, max: number, what: string): void {
    if (count > max) throw new XdrError(`too many ${what} '${count}' for limit '${max}'`);
    this.u32(count);
  }

  finish(): Buffer {
    return Buffer.concat(this.parts);
  }
}
