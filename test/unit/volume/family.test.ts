import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { SeededRandom } from '../../../src/base/random.js';
import { forgettable, neighboursOf } from '../../../src/volume/family.js';
import type { VdiRecord } from '../../../src/volume/records.js';

const OBJECTS = 4;

function record(vid: number, parent: number, fields: Partial<VdiRecord> = {}): VdiRecord {
  return {
    vid,
    line: `line-${vid}`,
    tag: '',
    snapId: 1,
    parent,
    root: 1,
    sizeBytes: OBJECTS,
    copies: 1,
    blockSizeShift: 22,
    createdMs: 0,
    snapshotMs: 0,
    state: 'live',
    ...fields,
  };
}

function family(...records: VdiRecord[]): Map<number, VdiRecord> {
  return new Map(records.map((r) => [r.vid, r]));
}

const sorted = (list: readonly number[]): number[] => [...list].sort((a, b) => a - b);

test('neighbours are the parent and the children', () => {
  const tree = family(record(1, 0), record(2, 1), record(3, 2), record(4, 2), record(5, 3));
  assert.equal(sorted(neighboursOf(2, tree)), [1, 3, 4]);
  assert.equal(neighboursOf(5, tree), [3]);
});

test('deleted versions are looked through, in all directions', () => {
  const gone = { state: 'deleted' } as const;
  const tree = family(
    record(1, 0),
    record(2, 1, gone),
    record(3, 2),
    record(4, 2, gone),
    record(5, 4),
    record(6, 5),
  );
  assert.equal(sorted(neighboursOf(3, tree)), [1, 5]);
});

test('a version about to exist counts', () => {
  const tree = family(record(1, 0, { snapshotMs: 1 }), record(2, 1, { state: 'pending' }));
  assert.equal(neighboursOf(1, tree), [2]);
});

test('a version that can never be, since its parent is deleted, does not count', () => {
  const deleted = { state: 'deleted', snapshotMs: 1 } as const;
  const tree = family(record(1, 0, deleted), record(2, 1, { state: 'pending' }), record(3, 1));
  assert.equal(neighboursOf(1, tree), [3]);
});

test('freed versions are forgotten from the leaves on, as far as nobody descends from them', () => {
  const done = { state: 'deleted', freed: true } as const;
  const tree = family(record(1, 0, done), record(2, 1, done), record(3, 2, done), record(4, 1));
  assert.equal(forgettable(tree), [3, 2]);
  assert.equal(forgettable(family(record(1, 0, done), record(2, 1, { state: 'deleted' }))), []);
});

/** A family with its indexes and objects, changed at random; deletion frees by neighbours alone, as in garbage.ts. */
class Model {
  readonly records = new Map<number, VdiRecord>();
  readonly indexes = new Map<number, number[]>();
  /** Objects that exist, as `owner/index`. */
  readonly objects = new Set<string>();
  private next = 1;

  constructor(private readonly random: SeededRandom) {
    this.add(0, new Array<number>(OBJECTS).fill(0));
  }

  private add(parent: number, index: number[]): void {
    const vid = this.next++;
    this.records.set(vid, record(vid, parent));
    this.indexes.set(vid, index);
  }

  living(snapshots?: boolean): VdiRecord[] {
    return [...this.records.values()].filter(
      (r) => r.state === 'live' && (snapshots === undefined || r.snapshotMs > 0 === snapshots),
    );
  }

  /** The first write after a snapshot: a copy of its own. What it referred to may now be nobody's. */
  write(vid: number, at: number): void {
    const index = this.indexes.get(vid)!;
    const old = index[at]!;
    this.objects.add(`${vid}/${at}`);
    index[at] = vid;
    if (old !== 0 && old !== vid) this.released(vid, at, old);
  }

  discard(vid: number, at: number): void {
    const index = this.indexes.get(vid)!;
    const old = index[at]!;
    index[at] = 0;
    if (old === vid) this.objects.delete(`${vid}/${at}`);
    else if (old !== 0) this.released(vid, at, old);
  }

  private released(vid: number, at: number, owner: number): void {
    const parent = this.records.get(this.records.get(vid)!.parent);
    if (parent === undefined || parent.state !== 'deleted') return;
    const shared = neighboursOf(vid, this.records).some((n) => this.indexes.get(n)![at] === owner);
    if (!shared) this.objects.delete(`${owner}/${at}`);
  }

  /** The working version becomes a snapshot, and goes on as a new one. */
  snapshot(vid: number): void {
    this.records.set(vid, { ...this.records.get(vid)!, snapshotMs: 1 });
    this.clone(vid);
  }

  clone(vid: number): void {
    this.add(vid, [...this.indexes.get(vid)!]);
  }

  remove(vid: number): void {
    this.records.set(vid, { ...this.records.get(vid)!, state: 'deleted' });
    const neighbours = neighboursOf(vid, this.records).map((n) => this.indexes.get(n)!);
    this.indexes.get(vid)!.forEach((owner, at) => {
      if (owner !== 0 && !neighbours.some((other) => other[at] === owner))
        this.objects.delete(`${owner}/${at}`);
    });
    this.records.set(vid, { ...this.records.get(vid)!, freed: true });
    this.indexes.delete(vid);
    for (const gone of forgettable(this.records)) this.records.delete(gone);
  }

  /** By looking at every living version: exactly what they refer to exists. */
  check(context: string): void {
    const wanted = new Set<string>();
    for (const { vid } of this.living()) {
      this.indexes.get(vid)!.forEach((owner, at) => {
        if (owner !== 0) wanted.add(`${owner}/${at}`);
      });
    }
    for (const object of wanted)
      assert.ok(this.objects.has(object), `${context}: ${object} is gone and still needed`);
    for (const object of this.objects)
      assert.ok(wanted.has(object), `${context}: ${object} stays and nobody needs it`);
  }

  step(): string {
    const { random } = this;
    const at = random.below(OBJECTS);
    const working = this.living(false);
    const snapshots = this.living(true);
    const action = random.below(10);
    if (action < 3 && working.length > 0) {
      const { vid } = random.pick(working);
      this.write(vid, at);
      return `write ${vid}/${at}`;
    }
    if (action < 5 && working.length > 0) {
      const { vid } = random.pick(working);
      this.discard(vid, at);
      return `discard ${vid}/${at}`;
    }
    if (action < 7 && working.length > 0) {
      const { vid } = random.pick(working);
      this.snapshot(vid);
      return `snapshot ${vid}`;
    }
    if (action < 8 && snapshots.length > 0) {
      const { vid } = random.pick(snapshots);
      this.clone(vid);
      return `clone ${vid}`;
    }
    const all = this.living();
    if (all.length < 2) return 'nothing';
    const { vid } = random.pick(all);
    this.remove(vid);
    return `delete ${vid}`;
  }
}

test('no reference is ever freed and nothing unshared stays: random families', () => {
  for (let seed = 1; seed <= 400; seed++) {
    const model = new Model(new SeededRandom(seed));
    const done: string[] = [];
    for (let i = 0; i < 60; i++) {
      done.push(model.step());
      model.check(`seed ${seed}: ${done.join(', ')}`);
    }
    // In the end everything is deleted, and nothing is left: no object and no record.
    for (const { vid } of model.living()) model.remove(vid);
    assert.equal([model.objects.size, model.records.size], [0, 0]);
  }
});

test.run();
