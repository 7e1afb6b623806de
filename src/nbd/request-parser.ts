import { ReadRoom } from '../base/read-room.js';
import { decodeRequest, type NbdRequest, requestHeaderBytes } from './request.js';

/** What the parser asks of the connection. */
export interface RequestSink {
  /**
   * Asked once a header is complete, before its payload is looked at. 'take': the payload is gathered and
   * `onRequest` called; 'drain': the payload is skipped, `onRequest` called without it; 'wait': nothing is
   * consumed, and the parser stops until `resume`.
   */
  admit(request: NbdRequest): 'take' | 'drain' | 'wait';
  /** A complete request. The payload is the caller's; undefined when drained or when there is none. */
  onRequest(request: NbdRequest, payload: Buffer | undefined): void;
  /** Framing is lost; nothing more will come. */
  onBroken(reason: string): void;
}

/**
 * The parse loop of the transmission phase, over chunks as the socket gives them. Payloads are not copied: one that
 * lies in a single chunk is a view of it, a longer one is gathered once into a buffer of its known size.
 */
export class RequestParser {
  private readonly reads = new ReadRoom();
  private chunk: Buffer = Buffer.alloc(0);
  private at = 0;
  /** A header of which only a part has arrived. */
  private readonly partial: Buffer;
  private partialBytes = 0;
  private request: NbdRequest | undefined;
  private admitted = false;
  private gather: Buffer | undefined;
  private gathered = 0;
  private drainLeft = 0;
  private stopped = false;
  private waiting = false;

  constructor(
    private readonly sink: RequestSink,
    private readonly extended: boolean,
  ) {
    this.partial = Buffer.allocUnsafeSlow(requestHeaderBytes(extended));
  }

  /** Bytes of a payload that has begun and not yet arrived whole. */
  get gatheringBytes(): number {
    return this.gather?.length ?? 0;
  }

  /** Consumes a chunk. Returns false when it stopped in the middle: feed nothing more until `resume` says true. */
  feed(chunk: Buffer): boolean {
    this.chunk = chunk;
    this.at = 0;
    return this.run();
  }

  /** Where the bytes that come next are best read to. */
  room(): Buffer {
    return this.reads.next(this.gather?.subarray(this.gathered));
  }

  /** The same as `feed`, for bytes that were read to the beginning of what `room` returned last. */
  filled(bytes: Buffer): boolean {
    this.reads.took(bytes.length);
    if (!this.reads.direct) return this.feed(bytes);
    if (!this.stopped) this.gatherMore(this.request!, bytes.length);
    return true;
  }

  /** Goes on after 'wait'. True: the chunk is used up. */
  resume(): boolean {
    return this.run();
  }

  /** Consumes nothing more, ever. */
  stop(): void {
    this.stopped = true;
    this.chunk = Buffer.alloc(0);
    this.at = 0;
  }

  private run(): boolean {
    this.waiting = false;
    while (!this.stopped && (this.at < this.chunk.length || this.canFinish())) {
      if (this.request === undefined) this.parseHeader();
      else if (!this.admitted) this.admit(this.request);
      else this.parsePayload(this.request);
      if (this.waiting) return false;
    }
    return true;
  }

  /** A header that ended its chunk still has to be admitted, and an empty payload is complete at once. */
  private canFinish(): boolean {
    if (this.request === undefined) return false;
    return (
      !this.admitted || (this.gather === undefined && this.drainLeft === 0 && this.request.payloadBytes === 0)
    );
  }

  private parseHeader(): void {
    const size = this.partial.length;
    if (this.partialBytes === 0 && this.chunk.length - this.at >= size) {
      this.request = decodeRequest(this.chunk, this.at, this.extended);
      this.at += size;
    } else {
      const take = Math.min(size - this.partialBytes, this.chunk.length - this.at);
      this.chunk.copy(this.partial, this.partialBytes, this.at, this.at + take);
      this.partialBytes += take;
      this.at += take;
      if (this.partialBytes < size) return;
      this.partialBytes = 0;
      this.request = decodeRequest(this.partial, 0, this.extended);
    }
    if (this.request !== undefined) return;
    this.stop();
    this.sink.onBroken('bad request magic');
  }

  private admit(request: NbdRequest): void {
    const verdict = this.sink.admit(request);
    this.waiting = verdict === 'wait';
    this.admitted = verdict !== 'wait';
    if (verdict === 'drain') {
      this.drainLeft = request.payloadBytes;
      if (this.drainLeft === 0) this.finish(request, undefined);
    }
  }

  private parsePayload(request: NbdRequest): void {
    if (this.drainLeft > 0) {
      this.drain(request);
      return;
    }
    const size = request.payloadBytes;
    if (size === 0) {
      this.finish(request, undefined);
      return;
    }
    const available = this.chunk.length - this.at;
    if (this.gather === undefined && available >= size) {
      const payload = this.chunk.subarray(this.at, this.at + size);
      this.at += size;
      this.finish(request, payload);
      return;
    }
    this.gather ??= Buffer.allocUnsafeSlow(size);
    const take = Math.min(size - this.gathered, available);
    this.chunk.copy(this.gather, this.gathered, this.at, this.at + take);
    this.at += take;
    this.gatherMore(request, take);
  }

  private gatherMore(request: NbdRequest, count: number): void {
    this.gathered += count;
    if (this.gathered === request.payloadBytes) this.finish(request, this.gather);
  }

  private drain(request: NbdRequest): void {
    const take = Math.min(this.drainLeft, this.chunk.length - this.at);
    this.at += take;
    this.drainLeft -= take;
    if (this.drainLeft === 0) this.finish(request, undefined);
  }

  private finish(request: NbdRequest, payload: Buffer | undefined): void {
    this.request = undefined;
    this.admitted = false;
    this.gather = undefined;
    this.gathered = 0;
    this.sink.onRequest(request, payload);
  }
}
