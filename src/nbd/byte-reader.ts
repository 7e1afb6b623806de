import type { Duplex } from 'node:stream';
import { assert } from '../base/assert.js';

/** The other side went away, or we dropped it. Never an answer: only an end. */
export class ConnectionEnded extends Error {
  override readonly name = 'ConnectionEnded';
}

/**
 * Reads exact byte counts from a stream, for the handshake, where clarity matters and speed does not. The
 * stream is paused whenever nobody asks, so at most one chunk beyond the request is ever held.
 */
export class ByteReader {
  private chunks: Buffer[] = [];
  private buffered = 0;
  private wanted = 0;
  private ended = false;
  private resolve: (() => void) | undefined;
  private reject: ((error: Error) => void) | undefined;

  constructor(private readonly stream: Duplex) {
    stream.on('data', this.onData);
    stream.on('end', this.onEnd);
    stream.on('close', this.onEnd);
    stream.pause();
  }

  /** Exactly `length` bytes. Rejects with ConnectionEnded. One call at a time; the caller checked the length. */
  async read(length: number): Promise<Buffer> {
    await this.fill(length);
    return this.take(length);
  }

  /** Drops `length` bytes without keeping them. */
  async skip(length: number): Promise<void> {
    let left = length;
    while (left > 0) {
      if (this.buffered === 0) await this.fill(1);
      left -= this.take(Math.min(left, this.buffered)).length;
    }
  }

  /** Gives the stream up, paused; returns what arrived and was not read. */
  detach(): Buffer {
    this.stream.off('data', this.onData);
    this.stream.off('end', this.onEnd);
    this.stream.off('close', this.onEnd);
    this.stream.pause();
    return this.take(this.buffered);
  }

  private async fill(length: number): Promise<void> {
    assert(this.resolve === undefined, 'one read at a time');
    if (this.buffered >= length) return;
    if (this.ended || this.stream.destroyed) throw new ConnectionEnded('the client went away');
    await new Promise<void>((resolve, reject) => {
      this.wanted = length;
      this.resolve = resolve;
      this.reject = reject;
      this.stream.resume();
    });
  }

  private take(length: number): Buffer {
    if (this.chunks.length > 1) this.chunks = [Buffer.concat(this.chunks)];
    const all = this.chunks[0] ?? Buffer.alloc(0);
    this.chunks = all.length > length ? [all.subarray(length)] : [];
    this.buffered -= length;
    return all.subarray(0, length);
  }

  private readonly onData = (chunk: Buffer): void => {
    this.chunks.push(chunk);
    this.buffered += chunk.length;
    if (this.resolve === undefined || this.buffered < this.wanted) {
      if (this.resolve === undefined) this.stream.pause();
      return;
    }
    this.stream.pause();
    const { resolve } = this;
    this.resolve = this.reject = undefined;
    resolve();
  };

  private readonly onEnd = (): void => {
    this.ended = true;
    const { reject } = this;
    this.resolve = this.reject = undefined;
    reject?.(new ConnectionEnded('the client went away'));
  };
}
