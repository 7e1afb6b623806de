/**
 * Bytes in, peer messages out: an incremental decoder for chunks cut anywhere. No I/O.
 *
 * Ownership: chunks pushed are kept. A payload that lies inside one chunk is a view of it (so a chunk must not be
 * reused after it was pushed); one that spans chunks is gathered, with a single copy, in a buffer of its own. Room is
 * asked for only after the header's checksum and length have been checked (I-10).
 */
import { assert } from '../base/assert.js';
import { areBlocks, blockSums, joinSums } from '../base/block-sums.js';
import { crc32 } from '../base/bytes.js';
import { ReadRoom } from '../base/read-room.js';
import { type PeerMessage, PeerType } from '../wire/peer-message.js';
import { decodeHeader, PEER_HEADER_BYTES, type PeerHeader } from './peer-codec.js';

export class PeerFramer {
  private readonly reads = new ReadRoom();
  /** A header cut by the end of a chunk waits here. */
  private readonly partial = Buffer.alloc(PEER_HEADER_BYTES);
  private readonly partialView = new DataView(
    this.partial.buffer,
    this.partial.byteOffset,
    PEER_HEADER_BYTES,
  );
  private partialBytes = 0;
  /** A verified header whose payload is not complete, and what has been gathered of it. */
  private header: PeerHeader | undefined;
  private gathered: Buffer | undefined;
  private gatheredBytes = 0;
  private broken: string | undefined;
  private stopped = false;

  constructor(private readonly onMessage: (message: PeerMessage) => void) {}

  /**
   * Calls onMessage for each message completed by this chunk. Returns why the stream is broken, if it is; it stays
   * broken and nothing more comes out.
   */
  push(chunk: Uint8Array): string | undefined {
    let at = 0;
    let view: DataView | undefined;
    while (at < chunk.length && this.broken === undefined && !this.stopped) {
      if (this.header !== undefined) {
        at = this.takePayload(chunk, at, this.header);
      } else if (this.partialBytes > 0 || chunk.length - at < PEER_HEADER_BYTES) {
        at = this.takePartialHeader(chunk, at);
      } else {
        view ??= new DataView(chunk.buffer, chunk.byteOffset, chunk.length);
        this.takeHeader(decodeHeader(view, at));
        at += PEER_HEADER_BYTES;
      }
    }
    return this.broken;
  }

  /** Where the bytes that come next are best read to. */
  room(): Buffer {
    return this.reads.next(this.gathered?.subarray(this.gatheredBytes));
  }

  /** The same as `push`, for bytes that were read to the beginning of what `room` returned last. */
  filled(bytes: Buffer): string | undefined {
    this.reads.took(bytes.length);
    if (!this.reads.direct) return this.push(bytes);
    if (!this.stopped) this.gather(this.header!, bytes.length);
    return this.broken;
  }

  /** No message comes out after this, not even from a chunk that is being taken apart right now. */
  stop(): void {
    this.stopped = true;
  }

  /** At the end of the stream: why it is not a good end, if it is not. */
  end(): string | undefined {
    if (this.broken !== undefined) return this.broken;
    if (this.header !== undefined) return 'stream ends inside a payload';
    return this.partialBytes > 0 ? 'stream ends inside a header' : undefined;
  }

  private takePartialHeader(chunk: Uint8Array, at: number): number {
    const count = Math.min(PEER_HEADER_BYTES - this.partialBytes, chunk.length - at);
    this.partial.set(chunk.subarray(at, at + count), this.partialBytes);
    this.partialBytes += count;
    if (this.partialBytes === PEER_HEADER_BYTES) {
      this.partialBytes = 0;
      this.takeHeader(decodeHeader(this.partialView, 0));
    }
    return at + count;
  }

  private takeHeader(header: PeerHeader | string): void {
    if (typeof header === 'string') {
      this.broken = header;
    } else if (header.payloadLength > 0) {
      this.header = header;
    } else if (header.payloadCrc !== 0) {
      this.broken = 'checksum of an empty payload';
    } else {
      this.onMessage(header.message);
    }
  }

  private takePayload(chunk: Uint8Array, at: number, header: PeerHeader): number {
    const available = chunk.length - at;
    if (this.gathered === undefined && available >= header.payloadLength) {
      const end = at + header.payloadLength;
      this.finish(header, chunk.subarray(at, end));
      return end;
    }
    this.gathered ??= Buffer.allocUnsafeSlow(header.payloadLength);
    const count = Math.min(header.payloadLength - this.gatheredBytes, available);
    this.gathered.set(chunk.subarray(at, at + count), this.gatheredBytes);
    this.gather(header, count);
    return at + count;
  }

  private gather(header: PeerHeader, count: number): void {
    this.gatheredBytes += count;
    if (this.gatheredBytes === header.payloadLength) this.finish(header, this.gathered!);
  }

  private finish(header: PeerHeader, payload: Uint8Array): void {
    assert(payload.length === header.payloadLength, 'payload is as long as its header says');
    this.header = undefined;
    this.gathered = undefined;
    this.gatheredBytes = 0;
    const { message } = header;
    // The store wants the sums of these blocks: the bytes are looked at once.
    const sums = willBeStored(message, payload) ? blockSums(payload) : undefined;
    if ((sums === undefined ? crc32(payload) : joinSums(sums)) !== header.payloadCrc) {
      this.broken = 'payload checksum mismatch';
      return;
    }
    message.payload = payload;
    message.payloadCrc = header.payloadCrc;
    message.payloadSums = sums;
    this.onMessage(message);
  }
}

function willBeStored({ type, offset }: PeerMessage, payload: Uint8Array): boolean {
  return (type === PeerType.write || type === PeerType.replicaWrite) && areBlocks(offset, payload.length);
}
