/** Moves single objects between the disks of a node, under the hands of those who use them: see object-copy.ts. */
import { type Clock, sleep } from '../../base/clock.js';
import { AppError } from '../../base/errors.js';
import type { Logger } from '../../base/log.js';
import type { Locator } from './locator.js';
import type { Member } from './member.js';
import { copyObjectTo, dropCopy, nameCopy, showCopy } from './object-copy.js';

const REMOVE_RETRY_MS = 10;

export interface MoverOptions {
  readonly clock: Clock;
  readonly log: Logger;
  readonly locator: Locator;
  readonly onTrouble: (member: Member, error: Error) => void;
  /** Resolves when every loss so far is on record. */
  readonly recorded: () => Promise<void>;
}

/** Moved objects that one listing remembers; beyond it, it begins anew. */
const MAX_WATCHED = 16_384;

/** What moved while somebody listed the objects of one disk after the other, and might have been missed. */
export class MoveWatch {
  overflow = false;
  private oids = new Set<bigint>();

  note(oid: bigint): void {
    if (this.oids.size < MAX_WATCHED) this.oids.add(oid);
    else {
      this.overflow = true;
      this.oids.clear();
    }
  }

  *take(): Iterable<bigint> {
    for (const oid of this.oids) yield oid;
  }
}

export class Mover {
  /** Objects on the move, and the changes that wait for the end of it, in order. Reads do not wait. */
  private readonly moves = new Map<bigint, (() => void)[]>();
  private readonly watches = new Set<MoveWatch>();
  /** Objects that are being copied from (their disk, and the end of it), which must stay there until then. */
  private readonly uses = new Map<bigint, { readonly member: Member; readonly done: Promise<void> }[]>();
  moved = 0;
  movedBytes = 0;

  constructor(private readonly options: MoverOptions) {}

  /** Keeps a change until the object has moved; false when it does not move. */
  defer(oid: bigint, run: () => void): boolean {
    if (this.moves.size === 0) return false;
    const waiting = this.moves.get(oid);
    waiting?.push(run);
    return waiting !== undefined;
  }

  get busy(): boolean {
    return this.moves.size > 0;
  }

  /** The object stays on this disk, whatever else shows it already, until the copy `done` of it is made. */
  use(oid: bigint, member: Member, done: Promise<void>): void {
    const use = { member, done };
    this.uses.set(oid, [...(this.uses.get(oid) ?? []), use]);
    const end = () => {
      const left = this.uses.get(oid)!.filter((each) => each !== use);
      if (left.length > 0) this.uses.set(oid, left);
      else this.uses.delete(oid);
    };
    done.then(end, end);
  }

  watch(): MoveWatch {
    const watch = new MoveWatch();
    this.watches.add(watch);
    return watch;
  }

  unwatch(watch: MoveWatch): void {
    this.watches.delete(watch);
  }

  /** False when it did not move: gone, damaged, no room, a disk lost. */
  async move(oid: bigint, from: Member, to: Member): Promise<boolean> {
    const { locator, log } = this.options;
    if (this.moves.has(oid) || locator.isBeginning(oid)) return false;
    const waiting: (() => void)[] = [];
    this.moves.set(oid, waiting);
    try {
      // What was asked for before this move comes first; what is asked for from now on waits in `waiting`.
      await from.store.barrier(oid);
      if (!from.live || !to.live || !from.store.has(oid)) return false;
      return await this.transfer(oid, from, to);
    } catch (error) {
      const { message } = AppError.from(error);
      log.debug({ oid: oid.toString(16), from: from.name, to: to.name, err: message }, 'an object stays');
      return false;
    } finally {
      this.moves.delete(oid);
      // All at once, before anybody else can ask for something: the order of the calls is kept.
      for (const run of waiting) run();
    }
  }

  private async transfer(oid: bigint, from: Member, to: Member): Promise<boolean> {
    const { locator, onTrouble } = this.options;
    const copy = await copyObjectTo(from.store.context, to.store.context, oid);
    if (!to.live || to.store.stopped) {
      dropCopy(to.store.context, copy);
      return false;
    }
    const bytes = copy.file.allocatedBytes();
    showCopy(to.store.context, copy);
    locator.note(oid, to);
    for (const watch of this.watches) watch.note(oid);
    await this.takeFrom(oid, from, copy.epoch);
    try {
      await nameCopy(to.store.context, copy);
    } catch (error) {
      onTrouble(to, AppError.from(error, 'io'));
      throw error;
    }
    this.moved++;
    this.movedBytes += bytes;
    return true;
  }

  /** Step 2: the old disk has the object no more when it resolves, or is none of the set. */
  private async takeFrom(oid: bigint, from: Member, epoch: number): Promise<void> {
    const { clock, onTrouble, recorded } = this.options;
    const uses = (this.uses.get(oid) ?? []).filter(({ member }) => member === from);
    await Promise.allSettled(uses.map(({ done }) => done));
    while (from.live) {
      try {
        await from.store.remove(oid, epoch, true);
        return;
      } catch {
        // What else than its end can keep a store from removing something passes by itself.
        if (from.store.stopped) onTrouble(from, from.store.stopped);
        else if (from.live) await sleep(clock, REMOVE_RETRY_MS);
      }
    }
    // The copy is all there is now, and as good as the object was. But should the lost disk be back after a crash, it
    // must be known for lost before the copy changes.
    await recorded();
  }
}
