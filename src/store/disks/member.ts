/** One disk of a set: its store, and whether it can be trusted. */
import type { Clock, Timer } from '../../base/clock.js';
import { AppError } from '../../base/errors.js';
import { type Disk, DiskError } from '../disk.js';
import type { StoreStats } from '../object-store.js';
import type { Store } from '../store.js';
import { readSuperblock, SUPERBLOCK_PATH } from '../superblock.js';
import type { MemberEntry } from './disk-record.js';
import { seedOf, type Weighted } from './placement.js';

/** How often a disk is looked at: whether its directory is there, and whether it can be written and synced. */
export const PRESENCE_INTERVAL_MS = 1000;
export const WRITE_PROBE_INTERVAL_MS = 5000;
const PROBE_PATH = 'probe';
const PROBE_BYTES = new Uint8Array(16).fill(0x2e);

export class Member implements Weighted {
  readonly seed: number;
  /** Still one of the set: its objects can be found. */
  live = true;
  /** Being emptied: nothing new goes there. */
  leaving: boolean;
  /** Has no objects any more, and waits to be taken out. */
  empty = false;
  private timer: Timer | undefined;
  private probedMs = Number.NEGATIVE_INFINITY;

  constructor(
    readonly id: string,
    /** As an administrator knows it: a path. */
    readonly name: string,
    readonly disk: Disk,
    readonly store: Store,
    readonly bytes: number,
    leaving = false,
  ) {
    this.seed = seedOf(id);
    this.leaving = leaving;
  }

  /** Its part of new objects. */
  get weight(): number {
    return this.leaving ? 0 : this.bytes;
  }

  get entry(): MemberEntry {
    return { id: this.id, weight: this.bytes, ...(this.leaving && { leaving: true }) };
  }

  /** False when a new object of this size would eat into the reserve, and when the disk cannot say. */
  hasRoom(objectBytes: number): boolean {
    const space = orUndefined(() => this.disk.space());
    return space !== undefined && space.freeBytes - objectBytes >= this.store.context.space.reserveBytes;
  }

  /** Undefined when the disk is just going away: figures are no reason to fail. */
  get figures(): { readonly stats: StoreStats; readonly device: number | undefined } | undefined {
    return orUndefined(() => ({ stats: this.store.stats(), device: this.disk.space().device }));
  }

  /**
   * Throws DiskError when the directory is not the store's any more. Open files of a deleted directory go on working:
   * nothing else would tell.
   */
  checkPresence(): void {
    if (this.disk.exists(SUPERBLOCK_PATH) && this.disk.exists('obj')) return;
    throw new DiskError('missing', `${this.name}: the store's directory is gone`);
  }

  /** Looks at the disk for as long as it is one of the set; `onTrouble` gets what speaks against it. */
  watch(clock: Clock, onTrouble: (error: Error) => void): void {
    const look = async () => {
      try {
        await this.probe(clock);
      } catch (error) {
        if (this.live && isTrouble(error)) onTrouble(AppError.from(error, 'io'));
      }
      if (this.live) this.timer = clock.after(PRESENCE_INTERVAL_MS, look);
    };
    this.timer = clock.after(PRESENCE_INTERVAL_MS, look);
  }

  stopWatching(): void {
    this.timer?.cancel();
  }

  private async probe(clock: Clock): Promise<void> {
    this.checkPresence();
    if (clock.nowMs() - this.probedMs < WRITE_PROBE_INTERVAL_MS) return;
    this.probedMs = clock.nowMs();
    // Another directory with a store of its own may be mounted over this one.
    const block = readSuperblock(this.disk);
    const { openCount, nodeId } = this.store.identity;
    if (block?.openCount !== openCount || block.nodeId !== nodeId) {
      throw new DiskError('missing', `${this.name}: another store has taken the place of this one`);
    }
    const file = this.disk.open(PROBE_PATH, { create: true });
    try {
      file.write([PROBE_BYTES], 0);
      await file.sync();
    } finally {
      file.close();
    }
  }
}

function orUndefined<T>(ask: () => T): T | undefined {
  try {
    return ask();
  } catch (error) {
    if (error instanceof DiskError) return undefined;
    throw error;
  }
}

/** A full disk still serves, and a process without free descriptors says nothing about the disk. */
function isTrouble(error: unknown): boolean {
  return !(error instanceof DiskError && (error.code === 'no-space' || error.code === 'too-many-files'));
}
