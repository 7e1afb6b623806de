import type { Duplex } from 'node:stream';
import type { Extent } from '../volume/device.js';
import type { ReplyStyle } from './exports.js';
import {
  AllocationFlag,
  BASE_ALLOCATION_ID,
  CHUNK_DONE,
  ChunkType,
  EXTENDED_CHUNK_BYTES,
  EXTENDED_REPLY_MAGIC,
  SIMPLE_REPLY_BYTES,
  SIMPLE_REPLY_MAGIC,
  STRUCTURED_CHUNK_BYTES,
  STRUCTURED_REPLY_MAGIC,
} from './protocol.js';
import type { NbdRequest } from './request.js';

const SLAB_BYTES = 16 * 1024;
/** Longest thing ever put into the slab at once: an error chunk with its message. */
const SLAB_ROOM_BYTES = 1024;
const ERROR_TEXT_BYTES_MAX = 512;
/** Payloads up to here are copied beside their header: cheaper than one more buffer in the system call. */
const COPY_BYTES_MAX = 512;

/** A stretch of a read's answer: data, or a hole of that many zeros. */
export interface ReadPart {
  readonly offset: number;
  readonly length: number;
  readonly data: Uint8Array | undefined;
}

/**
 * Encodes replies and keeps those of one turn together. Headers are written one after the other into a slab, payloads
 * are passed on as they are, and `flush` hands everything to the stream as one batch (one system call).
 */
export class ReplyWriter {
  private slab = Buffer.allocUnsafeSlow(SLAB_BYTES);
  private runStart = 0;
  private end = 0;
  private batch: Uint8Array[] = [];

  constructor(
    private readonly stream: Duplex,
    private readonly style: ReplyStyle,
  ) {}

  /** Success without payload. */
  done(request: NbdRequest): void {
    if (this.style === 'extended') this.chunk(request, CHUNK_DONE, ChunkType.NONE, 0);
    else this.simple(request, 0);
  }

  error(request: NbdRequest, error: number, message: string): void {
    if (this.style === 'simple') {
      this.simple(request, error);
      return;
    }
    const text = Buffer.from(message).subarray(0, ERROR_TEXT_BYTES_MAX);
    this.chunk(request, CHUNK_DONE, ChunkType.ERROR, 6 + text.length);
    this.u32(error);
    this.end = this.slab.writeUInt16BE(text.length, this.end);
    this.end += text.copy(this.slab, this.end);
  }

  /** The answer to READ with all its data in one piece: the hot path. */
  data(request: NbdRequest, data: Uint8Array): void {
    if (this.style === 'simple') {
      this.simple(request, 0);
    } else if (data.length === 0) {
      this.chunk(request, CHUNK_DONE, ChunkType.NONE, 0);
      return;
    } else {
      this.chunk(request, CHUNK_DONE, ChunkType.OFFSET_DATA, 8 + data.length);
      this.u32(request.offsetHigh);
      this.u32(request.offsetLow);
    }
    this.payload(data);
  }

  /** The answer to READ in parts with holes; structured and extended styles only. At least one part. */
  parts(request: NbdRequest, parts: readonly ReadPart[]): void {
    parts.forEach((part, index) => {
      const flags = index === parts.length - 1 ? CHUNK_DONE : 0;
      if (part.data === undefined) {
        this.chunk(request, flags, ChunkType.OFFSET_HOLE, 12);
        this.u64(part.offset);
        this.u32(part.length);
      } else {
        this.chunk(request, flags, ChunkType.OFFSET_DATA, 8 + part.data.length);
        this.u64(part.offset);
        this.payload(part.data);
      }
    });
  }

  /** The answer to BLOCK_STATUS for base:allocation. At least one extent. */
  blockStatus(request: NbdRequest, extents: readonly Extent[]): void {
    const extended = this.style === 'extended';
    const body = Buffer.allocUnsafe((extended ? 8 : 4) + extents.length * (extended ? 16 : 8));
    let at = body.writeUInt32BE(BASE_ALLOCATION_ID, 0);
    if (extended) at = body.writeUInt32BE(extents.length, at);
    for (const extent of extents) {
      if (extended) at = body.writeUInt32BE(Math.floor(extent.lengthBytes / 4294967296), at);
      at = body.writeUInt32BE(extent.lengthBytes % 4294967296, at);
      if (extended) at = body.writeUInt32BE(0, at);
      const flags = (extent.hole ? AllocationFlag.HOLE : 0) | (extent.zero ? AllocationFlag.ZERO : 0);
      at = body.writeUInt32BE(flags, at);
    }
    const type = extended ? ChunkType.BLOCK_STATUS_EXT : ChunkType.BLOCK_STATUS;
    this.chunk(request, CHUNK_DONE, type, body.length);
    this.payload(body);
  }

  /** Hands all replies of this turn to the stream; `written` is called when the system has taken them. */
  flush(written: (error?: Error | null) => void): void {
    this.endRun();
    const { batch, stream } = this;
    this.batch = [];
    const last = batch.length - 1;
    if (last < 0) {
      written();
      return;
    }
    if (last > 0) stream.cork();
    for (let i = 0; i < last; i++) stream.write(batch[i]);
    stream.write(batch[last], written);
    if (last > 0) stream.uncork();
  }

  private simple(request: NbdRequest, error: number): void {
    this.reserve();
    const { slab, end } = this;
    slab.writeUInt32BE(SIMPLE_REPLY_MAGIC, end);
    slab.writeUInt32BE(error, end + 4);
    slab.writeUInt32BE(request.cookieHigh, end + 8);
    slab.writeUInt32BE(request.cookieLow, end + 12);
    this.end = end + SIMPLE_REPLY_BYTES;
  }

  private chunk(request: NbdRequest, flags: number, type: number, payloadBytes: number): void {
    this.reserve();
    const { slab, end } = this;
    const extended = this.style === 'extended';
    slab.writeUInt32BE(extended ? EXTENDED_REPLY_MAGIC : STRUCTURED_REPLY_MAGIC, end);
    slab.writeUInt16BE(flags, end + 4);
    slab.writeUInt16BE(type, end + 6);
    slab.writeUInt32BE(request.cookieHigh, end + 8);
    slab.writeUInt32BE(request.cookieLow, end + 12);
    if (extended) {
      slab.writeUInt32BE(request.offsetHigh, end + 16);
      slab.writeUInt32BE(request.offsetLow, end + 20);
      slab.writeUInt32BE(0, end + 24);
      slab.writeUInt32BE(payloadBytes, end + 28);
      this.end = end + EXTENDED_CHUNK_BYTES;
    } else {
      slab.writeUInt32BE(payloadBytes, end + 16);
      this.end = end + STRUCTURED_CHUNK_BYTES;
    }
  }

  private u32(value: number): void {
    this.end = this.slab.writeUInt32BE(value, this.end);
  }

  private u64(value: number): void {
    this.u32(Math.floor(value / 4294967296));
    this.u32(value % 4294967296);
  }

  private payload(data: Uint8Array): void {
    if (data.length === 0) return;
    if (data.length <= COPY_BYTES_MAX && this.end + data.length <= SLAB_BYTES) {
      this.slab.set(data, this.end);
      this.end += data.length;
      return;
    }
    this.endRun();
    this.batch.push(data);
  }

  private endRun(): void {
    if (this.end === this.runStart) return;
    this.batch.push(this.slab.subarray(this.runStart, this.end));
    this.runStart = this.end;
  }

  /** The slab is never written twice: what was handed to the stream may still be on its way. */
  private reserve(): void {
    if (this.end + SLAB_ROOM_BYTES <= SLAB_BYTES) return;
    this.endRun();
    this.slab = Buffer.allocUnsafeSlow(SLAB_BYTES);
    this.runStart = this.end = 0;
  }
}
