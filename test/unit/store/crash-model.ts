/**
 * A scripted workload against a store, with a model that knows which contents are allowed after a crash: each block
 * must have one of the values it had since the last operation that was promised to survive.
 */
import { AppError } from '../../../src/base/errors.js';
import { SeededRandom } from '../../../src/base/random.js';
import type { ObjectStore } from '../../../src/store/object-store.js';

export const BLOCK = 4096;
export const BLOCKS = 8;
export const BYTES = BLOCKS * BLOCK - 1000;
const OIDS = [0x1_0000_0001n, 0x1_0000_0002n, 0x2_0000_0003n, 0x2_0000_0004n];

/** Blocks that a synced operation promises: first and end. */
type Range = readonly [number, number];
const ALL: Range = [0, BLOCKS];

/** Content of a whole object after one operation; undefined: it does not exist. */
type State = Uint8Array | undefined;

interface ObjectModel {
  /** states[i] is the content after i operations. */
  readonly states: State[];
  /** Operations 1..acked were acknowledged; 1..durable are promised to survive a power cut. */
  acked: number;
  durable: number;
  /** A synced write promises its own blocks only: per block, the last such operation. */
  readonly durableBlocks: number[];
}

export class Workload {
  readonly objects = new Map<bigint, ObjectModel>();
  readonly inFlight = new Map<bigint, number>();
  private readonly random: SeededRandom;
  private counter = 0;
  /** Being copied: the store promises nothing about writes to a parent at that time. */
  private readonly parents = new Set<bigint>();
  readonly errors: Error[] = [];

  constructor(seed: number) {
    this.random = new SeededRandom(seed);
    for (const oid of OIDS)
      this.objects.set(oid, {
        states: [undefined],
        acked: 0,
        durable: 0,
        durableBlocks: new Array<number>(BLOCKS).fill(0),
      });
  }

  async run(store: ObjectStore, rounds: number): Promise<void> {
    store.setUncommittedSource(() => [...this.inFlight.keys()]);
    for (let round = 0; round < rounds; round++) {
      const waits: Promise<void>[] = [];
      const count = 1 + this.random.below(4);
      for (let index = 0; index < count; index++) waits.push(this.one(store));
      for (const wait of waits) wait.catch(() => {});
      // Now and then the next operations are submitted while these are under way.
      if (this.random.chance(0.3)) {
        await new Promise((resolve) => setImmediate(resolve));
        waits.push(this.one(store));
      }
      await Promise.all(waits);
      if (this.random.chance(0.15)) await this.flush(store);
    }
  }

  private async flush(store: ObjectStore): Promise<void> {
    const acked = [...this.objects.values()].map((object) => [object, object.acked] as const);
    await store.flush();
    for (const [object, count] of acked) object.durable = Math.max(object.durable, count);
  }

  private one(store: ObjectStore): Promise<void> {
    const random = this.random;
    const free = OIDS.filter((each) => !this.parents.has(each));
    const oid = random.pick(free);
    const object = this.objects.get(oid)!;
    const before = object.states.at(-1);
    const sync = random.chance(0.3);
    // Copies on write are thin where nothing was before.
    const kind = before ? random.below(12) : random.pick([0, 10]);
    const value = ++this.counter & 255;
    const base = { oid, objectBytes: BYTES, epoch: 1 + (this.counter >> 4), sync };
    if (kind === 11) return this.track(oid, undefined, sync && ALL, store.remove(oid, base.epoch, sync));
    const whole = random.chance(0.5);
    const unit = whole ? BLOCK : 1;
    const offset = random.below(Math.floor(BYTES / unit)) * unit;
    const length = Math.min(BYTES - offset, unit * (1 + random.below(whole ? 6 : 9000)));
    const range: Range = [Math.floor(offset / BLOCK), Math.ceil((offset + length) / BLOCK)];
    const next = before ? before.slice() : new Uint8Array(BYTES);
    if (kind === 10) {
      const parent = random.pick(OIDS);
      const parentState = this.objects.get(parent)!.states.at(-1);
      if (parent !== oid && parentState && !this.inFlight.has(parent)) {
        this.parents.add(parent);
        const copied = parentState.slice().fill(value, offset, offset + length);
        const data = new Uint8Array(length).fill(value);
        // All of the parent, then this write: a crash may show it between the two.
        object.states.push(parentState.slice());
        const done = store.write({ ...base, mode: 'cow', parent, offset, data });
        return this.track(oid, copied, sync && ALL, done).finally(() => this.parents.delete(parent));
      }
    }
    if (kind === 9 || kind === 8) {
      next.fill(0, offset, offset + length);
      const allocate = kind === 8;
      return this.track(
        oid,
        next,
        sync && range,
        store.zero({ ...base, mode: 'update', offset, length, allocate }),
      );
    }
    const create = !before || kind === 7;
    if (create) next.fill(0);
    next.fill(value, offset, offset + length);
    // A create is "all holes, then this write": a crash may show it between the two.
    if (create) object.states.push(new Uint8Array(BYTES));
    const mode = !create ? 'update' : random.chance(0.5) || before ? 'create' : 'ensure';
    const data = new Uint8Array(length).fill(value);
    return this.track(
      oid,
      next,
      sync && (create ? ALL : range),
      store.write({ ...base, mode, offset, data }),
    );
  }

  private async track(oid: bigint, state: State, sync: Range | false, promise: Promise<void>): Promise<void> {
    const object = this.objects.get(oid)!;
    const index = object.states.push(state) - 1;
    this.inFlight.set(oid, (this.inFlight.get(oid) ?? 0) + 1);
    try {
      await promise;
    } catch (error) {
      this.errors.push(error as Error);
      throw error;
    }
    const left = this.inFlight.get(oid)! - 1;
    if (left === 0) this.inFlight.delete(oid);
    else this.inFlight.set(oid, left);
    // Acknowledgements of one object may come out of order only between synced and unsynced ones.
    object.acked = Math.max(object.acked, index);
    if (!sync) return;
    for (let block = sync[0]; block < sync[1]; block++) {
      object.durableBlocks[block] = Math.max(object.durableBlocks[block]!, index);
    }
    if (sync === ALL) object.durable = Math.max(object.durable, index);
  }

  /** Compares the store with what is allowed; returns complaints. */
  async check(store: ObjectStore, powerCut: boolean): Promise<string[]> {
    const complaints: string[] = [];
    for (const [oid, object] of this.objects) {
      const from = powerCut ? object.durable : object.acked;
      const states = `states ${from}..${object.states.length - 1}`;
      const name = `object ${oid.toString(16)} (${powerCut ? 'power cut' : 'kill'}, ${states})`;
      const suspect = store.suspects().has(oid);
      const problem = await this.checkObject(store, oid, powerCut, suspect);
      if (problem) complaints.push(`${name}: ${problem}`);
      if (!suspect && !(await sameAs(store, oid, object.states[object.acked]))) {
        complaints.push(`${name}: differs and is not suspect`);
      }
    }
    return complaints;
  }

  private async checkObject(
    store: ObjectStore,
    oid: bigint,
    powerCut: boolean,
    suspect: boolean,
  ): Promise<string | undefined> {
    const { states, acked, durable, durableBlocks } = this.objects.get(oid)!;
    const exists = states.slice(powerCut ? Math.max(durable, ...durableBlocks) : acked);
    if (!store.has(oid)) return exists.includes(undefined) ? undefined : 'is missing';
    if (exists.every((state) => state === undefined)) return 'should not exist';
    for (let block = 0; block < BLOCKS; block++) {
      const allowed = states.slice(powerCut ? Math.max(durable, durableBlocks[block]!) : acked);
      const present = allowed.filter((state) => state !== undefined);
      const offset = block * BLOCK;
      const length = Math.min(BLOCK, BYTES - offset);
      const wanted = present.map((state) => state.subarray(offset, offset + length));
      try {
        const found = await store.read(oid, offset, length);
        if (!wanted.some((each) => Buffer.compare(each, found) === 0)) {
          return `block ${block} is ${found[0]}..${found[length - 1]}, allowed ${wanted.map((each) => each[0])}`;
        }
      } catch (error) {
        const changed =
          wanted.some((each) => Buffer.compare(each, wanted[0]!) !== 0) || allowed.includes(undefined);
        if (!AppError.isCode(error, 'checksum') || !powerCut || !suspect || !changed) {
          return `block ${block}: ${(error as Error).message}`;
        }
      }
    }
    return undefined;
  }
}

async function sameAs(store: ObjectStore, oid: bigint, state: State): Promise<boolean> {
  if (!store.has(oid)) return state === undefined;
  if (!state) return false;
  try {
    return Buffer.compare(await store.read(oid, 0, BYTES), state) === 0;
  } catch {
    // A bad block differs from everything.
    return false;
  }
}
