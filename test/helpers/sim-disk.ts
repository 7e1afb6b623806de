/**
 * The disk as one life of one node sees it: every completion passes through the node's clock (so that the dead do
 * not hear of it), syncs take simulated time, and after the node's death nothing reaches the disk any more.
 */
import { assert } from '../../src/base/assert.js';
import type { SeededRandom } from '../../src/base/random.js';
import type { Disk, DiskFile } from '../../src/store/disk.js';
import { FakeDisk } from './fake-disk.js';
import type { NodeClock, SimClock } from './sim-clock.js';

export interface DiskSpeed {
  /** A sync takes between a tenth of this and all of it. */
  syncMs: number;
  readMs: number;
}

/** What a disk can do wrong by itself. */
export interface DiskDamage {
  /** Flips a bit of something that is stored; what was hit, or undefined when there is nothing to hit. */
  flipBit(where: 'block' | 'table' | 'journal', random: SeededRandom): string | undefined;
  /** The next write of data is acknowledged and never happens, or happens elsewhere. */
  /** The next write that can be, if `may` says so then. */
  spoilNextWrite(
    how: 'lose' | 'misdirect',
    random: SeededRandom,
    may: () => boolean,
    onSpoiled: () => void,
  ): void;
  /** Syncs are acknowledged and do nothing. */
  lieAboutSyncs(lies: boolean): void;
  /** So much room is left, from now on; undefined: as much as ever. */
  setFree(bytes: number | undefined): void;
}

/** A disk that can be crashed under its node. */
export interface CrashableDisk {
  readonly disk: Disk;
  readonly damage?: DiskDamage;
  /** kill -9 keeps what was written; a power cut keeps what was synced, and of the rest what chance leaves. */
  crash(options: { powerCut: boolean; random: SeededRandom }): void;
}

/** For clusters whose nodes have a real store: a FakeDisk without delays of its own (`diskForLife` adds them). */
export function fakeDiskOfMachine(options: {
  clock: SimClock;
  random: SeededRandom;
  capacityBytes?: number;
}): CrashableDisk & { readonly disk: FakeDisk } {
  const disk = new FakeDisk(options);
  return {
    disk,
    // One power cut in four loses all that was not synced: the worst case, and the easiest to understand.
    crash: ({ powerCut, random }) => disk.crash({ powerCut, loseAll: random.chance(0.25) }),
  };
}

/** `speed` is read at each operation, so that the world can make the disk slow while it runs. */
export function diskForLife(inner: Disk, clock: NodeClock, random: SeededRandom, speed: DiskSpeed): Disk {
  const life = new DiskLife(clock, random, speed);
  return {
    open: (path, options) => life.file(life.alive(inner).open(path, options)),
    exists: (path) => life.alive(inner).exists(path),
    list: (folder) => life.alive(inner).list(folder),
    mkdir: (folder) => life.alive(inner).mkdir(folder),
    rename: (from, to) => life.alive(inner).rename(from, to),
    link: (from, to) => life.alive(inner).link(from, to),
    unlink: (path) => life.alive(inner).unlink(path),
    rmdir: (folder) => life.alive(inner).rmdir(folder),
    syncDir: (folder) => life.delayed(() => life.alive(inner).syncDir(folder), life.syncDelayMs()),
    space: () => life.alive(inner).space(),
  };
}

class DiskLife {
  constructor(
    private readonly clock: NodeClock,
    private readonly random: SeededRandom,
    private readonly speed: DiskSpeed,
  ) {}

  alive<T>(inner: T): T {
    assert(!this.clock.dead, `${this.clock.name} is dead and touches its disk`);
    return inner;
  }

  syncDelayMs(): number {
    return this.speed.syncMs * (0.1 + this.random.below(900) / 1000);
  }

  file(inner: DiskFile): DiskFile {
    const { random, speed } = this;
    return {
      path: inner.path,
      read: (buffer, offset) => this.alive(inner).read(buffer, offset),
      tryRead: (buffer, offset) => this.alive(inner).tryRead(buffer, offset),
      readAsync: (buffer, offset) =>
        this.delayed(
          () => this.alive(inner).readAsync(buffer, offset),
          (speed.readMs * random.below(1000)) / 1000,
        ),
      write: (buffers, offset) => this.alive(inner).write(buffers, offset),
      append: (buffer) => this.alive(inner).append(buffer),
      punch: (offset, length) => this.alive(inner).punch(offset, length),
      allocate: (offset, length) => this.alive(inner).allocate(offset, length),
      truncate: (size) => this.alive(inner).truncate(size),
      size: () => this.alive(inner).size(),
      links: () => this.alive(inner).links(),
      allocatedBytes: () => this.alive(inner).allocatedBytes(),
      sync: () => this.delayed(() => this.alive(inner).sync(), this.syncDelayMs()),
      close: () => this.alive(inner).close(),
    };
  }

  /**
   * The effect lies either at the start of the wait (what is written meanwhile is not covered) or at its end (a
   * crash meanwhile loses all): the two extremes of what a device may do.
   */
  delayed<T>(effect: () => Promise<T>, delayMs: number): Promise<T> {
    return new Promise((resolve, reject) => {
      const atStart = this.random.chance(0.5);
      const act = (waitMs: number): void => {
        effect().then(
          (value) => void this.clock.after(waitMs, () => resolve(value)),
          (error) => void this.clock.after(waitMs, () => reject(error)),
        );
      };
      if (atStart) act(delayMs);
      else this.clock.after(delayMs, () => act(0));
    });
  }
}
