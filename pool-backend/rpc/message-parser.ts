import { ByteQueue } from '../../src/base/byte-queue.js';
import { decodeHeader, HEADER_BYTES, LENGTH_BYTES, MESSAGE_BYTES_MAX, type Message } from './message.js';

/** The stream cannot be cut into messages any more: the connection has to end. */
export class FramingError extends Error {
  override readonly name = 'FramingError';
}

/** Cuts what a socket delivers into messages. Holds at most one incomplete message, and no more of it than arrived. */
export class MessageParser {
  private readonly received = new ByteQueue();
  /** Of the body that is being waited for, header included. */
  private awaitedBytes: number | undefined;

  constructor(private readonly messageBytesMax = MESSAGE_BYTES_MAX) {}

  get bufferedBytes(): number {
    return this.received.length;
  }

  push(chunk: Buffer): void {
    this.received.push(chunk);
  }

  /** The next complete message, if there is one. Throws FramingError when its length cannot be right. */
  next(): Message | undefined {
    if (this.awaitedBytes === undefined) {
      const word = this.received.take(LENGTH_BYTES);
      if (word === undefined) return undefined;
      this.awaitedBytes = this.checkLength(word.readUInt32BE(0)) - LENGTH_BYTES;
    }
    const bytes = this.received.take(this.awaitedBytes);
    if (bytes === undefined) return undefined;
    this.awaitedBytes = undefined;
    return { ...decodeHeader(bytes), body: bytes.subarray(HEADER_BYTES) };
  }

  private checkLength(length: number): number {
    if (length < LENGTH_BYTES + HEADER_BYTES)
      throw new FramingError(`a message of ${length} bytes is too small`);
    if (length > this.messageBytesMax) {
      throw new FramingError(
        `packet ${length} bytes received from client too large, want ${this.messageBytesMax}`,
      );
    }
    return length;
  }
}
