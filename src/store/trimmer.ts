/**
 * Gives back what a base holds and its heir does not need, once the heir is the only one left: blocks of it that the
 * heir has written since are punched out, and a base of which nothing is inherited any more loses its name. Without
 * that, room of deleted snapshots would come back only with the volume.
 */
import { BLOCK_SIZE } from '../base/bytes.js';
import type { Timer } from '../base/clock.js';
import { basePath, basePaths, heirOf } from './bases.js';
import type { StoreContext } from './context.js';
import type { DiskFile } from './disk.js';
import type { StoredObject } from './object-file.js';
import { slotBytes } from './object-slot.js';
import type { ThinFile } from './thin-file.js';

/** A deletion removes many objects one after the other. */
const DELAY_MS = 5000;

export class Trimmer {
  context!: StoreContext;
  private timer: Timer | undefined;
  private running = false;

  /** Looks through all bases in a while. */
  soon(): void {
    if (this.timer || this.context.failure()) return;
    this.timer = this.context.clock.after(DELAY_MS, () => {
      this.timer = undefined;
      void this.run();
    });
  }

  stop(): void {
    this.timer?.cancel();
    this.timer = undefined;
  }

  /** One base at a time. Never rejects. */
  async run(): Promise<void> {
    const { disk, clock, log, failure } = this.context;
    if (this.running) {
      this.soon();
      return;
    }
    this.running = true;
    let later = false;
    try {
      for (const path of basePaths(disk)) {
        if (failure()) return;
        if (!this.trim(path)) later = true;
        await new Promise<void>((resolve) => clock.defer(resolve));
      }
    } catch (error) {
      // Only room is at stake.
      log.warn({ err: String(error) }, 'room of removed objects could not be freed');
    } finally {
      this.running = false;
    }
    if (later) this.soon();
  }

  /** False: the heir's tables still say something else, ask again. */
  private trim(path: string): boolean {
    const { cache } = this.context;
    const { life, n } = heirOf(path) ?? {};
    if (life === undefined || n === undefined) return true;
    const heir = cache.get(life.oid);
    const base = heir?.instance === life.instance ? heir.thin?.base(n) : undefined;
    if (!heir?.thin || !base || base.links() !== 1) return true;
    // After a crash the tables on the disk, and the journal, must find all that they know of.
    if (!heir.tailSettled) return false;
    this.trimBase(heir, heir.thin, n, base);
    return true;
  }

  private trimBase(heir: StoredObject, thin: ThinFile, n: number, base: DiskFile): void {
    const { disk } = this.context;
    const before = base.allocatedBytes();
    const needed = thin.sources.reduce((count, source) => count + Number(source === n), 0);
    if (needed === 0) {
      disk.unlink(basePath(heir, n));
      thin.release(n);
      this.context.usedBytes -= before;
    } else if (before > needed * BLOCK_SIZE + 2 * slotBytes(heir.blocks)) {
      punchOthers(thin.sources, n, base);
      this.context.usedBytes -= before - base.allocatedBytes();
    }
  }
}

function punchOthers(sources: Uint8Array, n: number, base: DiskFile): void {
  let first = 0;
  while (first < sources.length) {
    let end = first;
    while (end < sources.length && sources[end] !== n) end++;
    if (end > first) base.punch(first * BLOCK_SIZE, (end - first) * BLOCK_SIZE);
    first = end + 1;
  }
}
