/**
 * What one turn of the event loop sends on one connection, gathered into few pieces for one system call. Headers
 * and small payloads are written one after the other into a slab; a large payload stays where it is and becomes a
 * piece of its own (it must not change until it has been sent). No I/O.
 */
import type { PeerMessage } from '../wire/peer-message.js';
import { encodeHeader, PEER_HEADER_BYTES } from './peer-codec.js';

/** Copying this much costs less than handing one more piece to the socket. Measured by test/bench/peer-messages. */
export const COPY_BYTES_MAX = 2048;
const SLAB_BYTES = 256 * 1024;

export class SendBatch {
  /** Complete pieces, in order; the open end of the slab is not among them yet. */
  private pieces: Uint8Array[] = [];
  private slab = Buffer.alloc(0);
  private view = new DataView(this.slab.buffer, 0, 0);
  /** slab[start, end) has been written and belongs to no piece yet. */
  private start = 0;
  private end = 0;
  /** Bytes added and not yet taken. */
  bytes = 0;

  add(message: PeerMessage): void {
    const payload = message.payload;
    const copied = payload.length <= COPY_BYTES_MAX;
    this.reserve(PEER_HEADER_BYTES + (copied ? payload.length : 0));
    encodeHeader(message, this.view, this.end);
    this.end += PEER_HEADER_BYTES;
    this.bytes += PEER_HEADER_BYTES + payload.length;
    if (copied) {
      this.slab.set(payload, this.end);
      this.end += payload.length;
    } else {
      this.closePiece();
      this.pieces.push(payload);
    }
  }

  /** All pieces, in order. They belong to the caller; the batch is empty afterwards. */
  take(): Uint8Array[] {
    this.closePiece();
    const pieces = this.pieces;
    this.pieces = [];
    this.bytes = 0;
    return pieces;
  }

  private closePiece(): void {
    if (this.end === this.start) return;
    this.pieces.push(this.slab.subarray(this.start, this.end));
    this.start = this.end;
  }

  /** The slab is never written twice: pieces of it may still wait in the socket. */
  private reserve(bytes: number): void {
    if (this.slab.length - this.end >= bytes) return;
    this.closePiece();
    this.slab = Buffer.allocUnsafeSlow(SLAB_BYTES);
    this.view = new DataView(this.slab.buffer, this.slab.byteOffset, this.slab.length);
    this.start = 0;
    this.end = 0;
  }
}
