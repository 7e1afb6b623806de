/** Objects with an operation that is not applied yet, and the operations that wait behind it, in order. */
import type { Operation } from './operation.js';

interface Hold {
  readonly operations: Operation[];
  readonly released: (() => void)[];
  /** The hold ends when as many releases came. */
  count: number;
}

export class Holds {
  /** Operations parked, over all objects. */
  waiting = 0;
  private readonly holds = new Map<bigint, Hold>();

  /** Objects held. */
  get size(): number {
    return this.holds.size;
  }

  oids(): Iterable<bigint> {
    return this.holds.keys();
  }

  has(oid: bigint): boolean {
    return this.holds.has(oid);
  }

  hold(oid: bigint): void {
    const hold = this.holds.get(oid);
    if (hold) hold.count++;
    else this.holds.set(oid, { operations: [], released: [], count: 1 });
  }

  /** Keeps the operation when its object is held; false when it is not. */
  park(op: Operation): boolean {
    const hold = this.holds.get(op.oid);
    if (!hold) return false;
    hold.operations.push(op);
    this.waiting++;
    return true;
  }

  /** Calls back once the object, which is held, is not any more. */
  whenReleased(oid: bigint, run: () => void): void {
    this.holds.get(oid)!.released.push(run);
  }

  /** Takes back one hold; the operations that may go on when it was the last. */
  release(oid: bigint): Operation[] {
    const hold = this.holds.get(oid);
    if (!hold || --hold.count > 0) return [];
    this.holds.delete(oid);
    this.waiting -= hold.operations.length;
    for (const released of hold.released) released();
    return hold.operations;
  }

  /** Forgets everything; the operations that were waiting. */
  clear(): Operation[] {
    const holds = [...this.holds.values()];
    this.holds.clear();
    this.waiting = 0;
    // A store of another disk may wait for one of these; it finds out by itself that there is nothing to wait for.
    for (const { released } of holds) for (const run of released) run();
    return holds.flatMap((hold) => hold.operations);
  }
}
