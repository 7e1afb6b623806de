/** Writes 4 KiB blocks that say who they are, so that after a crash each block tells which write it holds. */
import type { NbdClient } from './nbd-client.js';

export const BLOCK_BYTES = 4096;
const READ_BYTES = 1024 * 1024;

/** A block of one write: stamp and block number, over and over; never all zeroes. */
function fill(target: Buffer, stamp: number, block: number): void {
  for (let at = 0; at < target.length; at += 8) {
    target.writeUInt32LE(stamp, at);
    target.writeUInt32LE(block, at + 4);
  }
}

/** The stamp of a block: 0 for a block never written, undefined for a mixture of writes or bytes of another place. */
function stampOf(data: Buffer, block: number): number | undefined {
  const stamp = data.readUInt32LE(0);
  const wanted = Buffer.alloc(data.length);
  if (stamp !== 0) fill(wanted, stamp, block);
  return data.equals(wanted) ? stamp : undefined;
}

export class StampedVolume {
  /** Stamp of the last acknowledged write of each block. */
  readonly acknowledged: Uint32Array;
  /** Stamps of writes that were sent and never answered, of each block. */
  private readonly unanswered = new Map<number, Set<number>>();
  private readonly busy = new Set<number>();
  private nextStamp = 1;
  acknowledgedWrites = 0;

  constructor(readonly blocks: number) {
    this.acknowledged = new Uint32Array(blocks);
  }

  /** Writes random places with `depth` requests in flight until the first one fails; resolves then. */
  async writeUntilBroken(client: NbdClient, below: (below: number) => number, depth: number): Promise<void> {
    await Promise.all(
      Array.from({ length: depth }, async () => {
        for (;;) {
          try {
            if (below(20) === 0) await client.flush();
            else await this.writeSomewhere(client, below);
          } catch {
            // The sheep was killed: the stamps of this write stay unanswered.
            return;
          }
        }
      }),
    );
  }

  async writeSomewhere(client: NbdClient, below: (below: number) => number): Promise<void> {
    for (;;) {
      const count = Math.min(1 + below(below(8) === 0 ? 256 : 8), this.blocks);
      const first = below(this.blocks - count + 1);
      const mine = Array.from({ length: count }, (_, i) => first + i);
      if (!mine.some((block) => this.busy.has(block))) return this.write(client, mine);
    }
  }

  /** Writes these blocks, of which no other write may be in flight. */
  writeAt(client: NbdClient, first: number, count: number): Promise<void> {
    return this.write(
      client,
      Array.from({ length: count }, (_, i) => first + i),
    );
  }

  /** What the volume holds now, kept: for a snapshot. Nothing may be in flight. */
  frozen(): StampedVolume {
    const copy = new StampedVolume(this.blocks);
    copy.acknowledged.set(this.acknowledged);
    return copy;
  }

  /** Checks every block; throws with the first that holds neither its last acknowledged nor an unanswered write. */
  async check(client: NbdClient, who: string): Promise<void> {
    for (let first = 0; first < this.blocks; first += READ_BYTES / BLOCK_BYTES) {
      const count = Math.min(READ_BYTES / BLOCK_BYTES, this.blocks - first);
      const data = await client.read(first * BLOCK_BYTES, count * BLOCK_BYTES);
      for (let i = 0; i < count; i++) {
        this.checkBlock(data.subarray(i * BLOCK_BYTES, (i + 1) * BLOCK_BYTES), first + i, who);
      }
    }
  }

  private async write(client: NbdClient, mine: readonly number[]): Promise<void> {
    const stamp = this.nextStamp++;
    const data = Buffer.alloc(mine.length * BLOCK_BYTES);
    for (const [i, block] of mine.entries()) {
      fill(data.subarray(i * BLOCK_BYTES, (i + 1) * BLOCK_BYTES), stamp, block);
      this.busy.add(block);
      if (!this.unanswered.has(block)) this.unanswered.set(block, new Set());
      this.unanswered.get(block)!.add(stamp);
    }
    try {
      await client.write(mine[0]! * BLOCK_BYTES, data);
    } finally {
      for (const block of mine) this.busy.delete(block);
    }
    this.acknowledgedWrites++;
    for (const block of mine) {
      this.acknowledged[block] = stamp;
      this.unanswered.delete(block);
    }
  }

  /** What is read once is what stays: an unanswered write that is seen counts as acknowledged, any other as void. */
  private checkBlock(data: Buffer, block: number, who: string): void {
    const found = stampOf(data, block);
    const wanted = this.acknowledged[block]!;
    const maybe = this.unanswered.get(block);
    if (found === undefined || (found !== wanted && maybe?.has(found) !== true)) {
      const others = maybe === undefined ? '' : ` or one of ${[...maybe].join(' ')}`;
      const text = found ?? `no whole write (${data.toString('hex', 0, 16)})`;
      throw new Error(`block ${block} through ${who}: found ${text}, wanted ${wanted}${others}`);
    }
    this.acknowledged[block] = found;
    this.unanswered.delete(block);
  }
}
