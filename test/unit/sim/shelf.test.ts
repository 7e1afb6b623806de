import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { ModelViolation } from '../../sim/model.js';
import { patternOf } from '../../sim/pattern.js';
import { Shelf } from '../../sim/shelf.js';

const SIZE = 4 * 512;

function shelfWithVolume(): {
  shelf: Shelf;
  write: () => number;
  read: (shown: number, name?: string) => void;
} {
  const shelf = new Shelf({ strictDeaths: true, snapshotsDurable: true, count: () => {} });
  shelf.apply({ type: 'created', volume: 'l1', name: 'vol', sizeBytes: SIZE });
  const write = () => {
    const { model } = shelf.find('vol')!;
    const { op } = model.startWrite(0, 512, { by: 'a' });
    model.endWrite(op);
    return op.id;
  };
  const read = (shown: number, name = 'vol') => {
    const { model } = shelf.find(name)!;
    model.endRead(model.startRead(0, 512, 'r'), bytesOf(shown));
  };
  return { shelf, write, read };
}

/** The first sector as this write made it. */
function bytesOf(shown: number): Uint8Array {
  return shown === 0 ? new Uint8Array(512) : patternOf(shown, 0, 512);
}

/** All of the only snapshot is read: the first sector shows this write, the rest is zeros. */
function readSnapshot(shelf: Shelf, shown: number): void {
  const snapshot = shelf.snapshots[0]!;
  snapshot.model.checkSnapshot(snapshot.op, 0, Buffer.concat([bytesOf(shown), new Uint8Array(SIZE - 512)]));
  shelf.remember(snapshot);
}

function violates(run: () => void, words: RegExp): void {
  assert.throws(run, (error: unknown) => error instanceof ModelViolation && words.test(error.message));
}

test('a rollback brings back what the snapshot holds, and nothing of what came after it', () => {
  const { shelf, write, read } = shelfWithVolume();
  const a = write();
  shelf.apply({ type: 'snapshot', volume: 'l1', version: '1', tag: 's' });
  const b = write();
  readSnapshot(shelf, a);
  shelf.apply({ type: 'rolledBack', volume: 'l1', to: '1', sizeBytes: SIZE });
  violates(() => read(b), /does not fit/);
  read(a);
});

test('before a rollback the volume does not show the snapshot', () => {
  const { shelf, write, read } = shelfWithVolume();
  const a = write();
  shelf.apply({ type: 'snapshot', volume: 'l1', version: '1', tag: 's' });
  write();
  readSnapshot(shelf, a);
  violates(() => read(a), /does not fit/);
});

test('a clone begins as the snapshot and goes its own way', () => {
  const { shelf, write, read } = shelfWithVolume();
  const a = write();
  shelf.apply({ type: 'snapshot', volume: 'l1', version: '1', tag: 's' });
  readSnapshot(shelf, a);
  shelf.apply({ type: 'created', volume: 'l2', name: 'clone', sizeBytes: SIZE, from: '1' });
  const b = write();
  read(a, 'clone');
  violates(() => read(b, 'clone'), /does not fit/);
  read(b);
});

test('a volume never shows what was written to another', () => {
  const { shelf, write, read } = shelfWithVolume();
  shelf.apply({ type: 'created', volume: 'l2', name: 'other', sizeBytes: SIZE });
  const a = write();
  violates(() => read(a, 'other'), /does not fit/);
});

test('what was acknowledged must have happened', () => {
  const { shelf } = shelfWithVolume();
  const before = shelf.happened('create x');
  violates(() => shelf.mustHaveHappened('create x', before), /has not happened/);
  shelf.apply({ type: 'created', volume: 'l3', name: 'x', sizeBytes: SIZE });
  shelf.mustHaveHappened('create x', before);
  shelf.apply({ type: 'deleted', volume: 'l3' });
  assert.is(shelf.find('x'), undefined);
});

test('a deleted snapshot is gone, its volume is not', () => {
  const { shelf } = shelfWithVolume();
  shelf.apply({ type: 'snapshot', volume: 'l1', version: '1', tag: 's' });
  const snapshot = shelf.snapshots[0]!;
  assert.equal(shelf.snapshotsOf(shelf.find('vol')!), [snapshot]);
  shelf.apply({ type: 'snapshotDeleted', version: '1' });
  assert.ok(snapshot.gone);
  assert.equal(shelf.snapshots, []);
  assert.ok(shelf.find('vol'));
});

test.run();
