import {
  AllocationFlag,
  CHUNK_DONE,
  ChunkType,
  SIMPLE_REPLY_BYTES,
  SIMPLE_REPLY_MAGIC,
  STRUCTURED_CHUNK_BYTES,
  STRUCTURED_REPLY_MAGIC,
} from '../nbd/protocol.js';
import { CHUNK_BYTES_MAX } from './limits.js';
import { getU64 } from './u64.js';

/** The other side does not speak the protocol: the connection is of no use any more. */
export class BrokenStream extends Error {
  override readonly name = 'BrokenStream';
}

export interface StatusExtent {
  readonly lengthBytes: number;
  readonly hole: boolean;
  readonly zero: boolean;
}

/** What the parser needs to know of a request that waits, and where it puts what arrives for it. */
export interface ReplyTarget {
  /** Of a read; 0 for others. */
  readonly readOffset: number;
  readonly readBytes: number;
  onData(offset: number, bytes: Buffer): void;
  onHole(offset: number, length: number): void;
  onExtents(extents: StatusExtent[]): void;
  onError(errno: number): void;
  onDone(): void;
}

const OFFSET_BYTES = 8;
const ERROR_BYTES = 6;
const EXTENT_BYTES = 8;
const NOTHING = Buffer.alloc(0);

/**
 * Simple and structured replies out of a stream of bytes, in whatever pieces it comes (the NBD specification,
 * "Structured reply chunk message"). Data of reads is handed on as views of what arrived, never put together; lengths
 * are compared with what was asked for before a byte of a chunk is taken.
 */
export class ReplyParser {
  private held: Buffer = NOTHING;
  private wanted = SIMPLE_REPLY_BYTES;
  private state: 'start' | 'header' | 'offset' | 'data' | 'body' = 'start';
  private flags = 0;
  private type = 0;
  private length = 0;
  private target: ReplyTarget | undefined;
  private cookie = 0;
  private dataAt = 0;
  private dataLeft = 0;

  constructor(
    private readonly find: (cookie: number) => ReplyTarget | undefined,
    private readonly forget: (cookie: number) => void,
  ) {}

  /** Throws BrokenStream. */
  feed(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length) {
      if (this.state === 'data') {
        const piece = chunk.subarray(at, at + this.dataLeft);
        at += piece.length;
        this.target!.onData(this.dataAt, piece);
        this.dataAt += piece.length;
        this.dataLeft -= piece.length;
        if (this.dataLeft === 0) this.endChunk();
        continue;
      }
      const missing = this.wanted - this.held.length;
      const piece = chunk.subarray(at, at + missing);
      at += piece.length;
      const bytes = this.held.length === 0 ? piece : Buffer.concat([this.held, piece]);
      if (bytes.length < this.wanted) {
        // What is kept must not keep the whole chunk it came in.
        this.held = Buffer.from(bytes);
        return;
      }
      this.held = NOTHING;
      this.onPart(bytes);
    }
  }

  private onPart(bytes: Buffer): void {
    if (this.state === 'start') this.onStart(bytes);
    else if (this.state === 'header') this.onHeader(bytes);
    else if (this.state === 'offset') this.onOffset(bytes);
    else this.onBody(bytes);
  }

  /** A simple reply is shorter than the header of a chunk: what it is stands in its first bytes. */
  private onStart(bytes: Buffer): void {
    const magic = bytes.readUInt32BE(0);
    if (magic === STRUCTURED_REPLY_MAGIC) {
      this.expect('header', STRUCTURED_CHUNK_BYTES);
      this.held = bytes;
      return;
    }
    if (magic !== SIMPLE_REPLY_MAGIC) throw new BrokenStream('not a reply');
    this.onSimple(bytes.readUInt32BE(4), getU64(bytes, 8));
  }

  /** The answer to anything but a read may be one, whatever was negotiated. */
  private onSimple(errno: number, cookie: number): void {
    const target = this.find(cookie);
    if (target === undefined || target.readBytes > 0) throw new BrokenStream('a simple reply to nothing');
    if (errno !== 0) target.onError(errno);
    this.forget(cookie);
    target.onDone();
  }

  private onHeader(bytes: Buffer): void {
    this.flags = bytes.readUInt16BE(4);
    this.type = bytes.readUInt16BE(6);
    this.cookie = getU64(bytes, 8);
    this.length = bytes.readUInt32BE(16);
    this.target = this.find(this.cookie);
    if (this.target === undefined) throw new BrokenStream('an answer to nothing');
    if (this.type === ChunkType.OFFSET_DATA) {
      if (this.length <= OFFSET_BYTES || this.length - OFFSET_BYTES > this.target.readBytes) {
        throw new BrokenStream('more data than was asked for');
      }
      this.expect('offset', OFFSET_BYTES);
    } else if (this.length > CHUNK_BYTES_MAX) {
      throw new BrokenStream('a chunk absurdly long');
    } else if (this.length === 0) {
      this.onBody(NOTHING);
    } else this.expect('body', this.length);
  }

  private onOffset(bytes: Buffer): void {
    const { readOffset, readBytes } = this.target!;
    this.dataAt = getU64(bytes, 0);
    this.dataLeft = this.length - OFFSET_BYTES;
    if (this.dataAt < readOffset || this.dataAt + this.dataLeft > readOffset + readBytes) {
      throw new BrokenStream('data that was not asked for');
    }
    this.state = 'data';
  }

  private onBody(bytes: Buffer): void {
    const target = this.target!;
    switch (this.type) {
      case ChunkType.NONE:
        break;
      case ChunkType.OFFSET_HOLE:
        this.onHole(bytes);
        break;
      case ChunkType.BLOCK_STATUS:
        target.onExtents(decodeExtents(bytes));
        break;
      default:
        // Any type with the highest bit is an error, known or not; other unknown types must not be ignored.
        if ((this.type & 0x8000) === 0 || bytes.length < ERROR_BYTES) {
          throw new BrokenStream(`chunk type ${this.type}`);
        }
        target.onError(bytes.readUInt32BE(0));
    }
    this.endChunk();
  }

  private onHole(bytes: Buffer): void {
    const { readOffset, readBytes } = this.target!;
    if (bytes.length !== OFFSET_BYTES + 4) throw new BrokenStream('a hole without its range');
    const offset = getU64(bytes, 0);
    const length = bytes.readUInt32BE(OFFSET_BYTES);
    if (offset < readOffset || offset + length > readOffset + readBytes) {
      throw new BrokenStream('a hole that was not asked for');
    }
    this.target!.onHole(offset, length);
  }

  private endChunk(): void {
    const { target, cookie } = this;
    this.target = undefined;
    this.expect('start', SIMPLE_REPLY_BYTES);
    if ((this.flags & CHUNK_DONE) === 0) return;
    this.forget(cookie);
    target!.onDone();
  }

  private expect(state: 'start' | 'header' | 'offset' | 'body', bytes: number): void {
    this.state = state;
    this.wanted = bytes;
  }
}

/** One context: u32 id, then pairs of u32 length and u32 flags. */
function decodeExtents(bytes: Buffer): StatusExtent[] {
  if (bytes.length < 4 + EXTENT_BYTES || (bytes.length - 4) % EXTENT_BYTES !== 0) {
    throw new BrokenStream('a block status of no extents');
  }
  const extents: StatusExtent[] = [];
  for (let at = 4; at < bytes.length; at += EXTENT_BYTES) {
    const flags = bytes.readUInt32BE(at + 4);
    extents.push({
      lengthBytes: bytes.readUInt32BE(at),
      hole: (flags & AllocationFlag.HOLE) !== 0,
      zero: (flags & AllocationFlag.ZERO) !== 0,
    });
  }
  return extents;
}
