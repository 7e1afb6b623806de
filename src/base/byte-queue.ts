/**
 * Collects what a stream delivers and gives it out in pieces of known length. Memory grows with what has arrived,
 * never with what a header announces.
 */
export class ByteQueue {
  private chunks: Buffer[] = [];
  private bytes = 0;

  get length(): number {
    return this.bytes;
  }

  push(chunk: Buffer): void {
    if (chunk.length === 0) return;
    this.chunks.push(chunk);
    this.bytes += chunk.length;
  }

  /** Exactly `count` bytes, or nothing when fewer have arrived. A view where one chunk holds them all. */
  take(count: number): Buffer | undefined {
    if (this.bytes < count) return undefined;
    if (count === 0) return Buffer.alloc(0);
    const first = this.chunks[0]!;
    if (first.length >= count) {
      this.drop(count);
      return first.subarray(0, count);
    }
    const parts: Buffer[] = [];
    let missing = count;
    for (const chunk of this.chunks) {
      if (missing === 0) break;
      const part = chunk.subarray(0, missing);
      parts.push(part);
      missing -= part.length;
    }
    this.drop(count);
    return Buffer.concat(parts, count);
  }

  /** Throws away at most `count` bytes; returns how many there were. */
  drop(count: number): number {
    let left = Math.min(count, this.bytes);
    const dropped = left;
    let whole = 0;
    while (left > 0 && this.chunks[whole]!.length <= left) left -= this.chunks[whole++]!.length;
    if (whole > 0) this.chunks.splice(0, whole);
    if (left > 0) this.chunks[0] = this.chunks[0]!.subarray(left);
    this.bytes -= dropped;
    return dropped;
  }
}
