import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { WriteOp } from '../../sim/history.js';
import { ModelViolation, VolumeModel } from '../../sim/model.js';
import { patternOf, writesIn } from '../../sim/pattern.js';

const SIZE = 8 * 512;
const nobody: ReadonlySet<WriteOp> = new Set();

function write(model: VolumeModel, options: { fua?: boolean; zero?: boolean } = {}): WriteOp {
  const { op } = model.startWrite(0, 512, { by: 'a', ...options });
  model.endWrite(op);
  return op;
}

function begin(model: VolumeModel): WriteOp {
  return model.startWrite(0, 512, { by: 'b' }).op;
}

/** A read that is called and answered at once, and shows this write (0: zeros). */
function read(model: VolumeModel, shown: WriteOp | 0): void {
  model.endRead(model.startRead(0, 512, 'r'), bytesOf(shown));
}

function bytesOf(shown: WriteOp | 0, offset = 0): Uint8Array {
  return shown === 0 || shown.zero ? new Uint8Array(512) : patternOf(shown.id, offset, 512);
}

function violates(run: () => void, words: RegExp): void {
  assert.throws(run, (error: unknown) => error instanceof ModelViolation && words.test(error.message));
}

function flush(model: VolumeModel): void {
  model.endFlush(model.startFlush());
}

test('a sector names its write, zeros are 0, anything else is -1', () => {
  const data = new Uint8Array(4 * 512);
  data.set(patternOf(7, 512, 512), 0);
  data.set(patternOf(9, 1536, 512), 1024);
  data.set(patternOf(9, 512, 512), 1536);
  assert.equal([...writesIn(data, 512)], [7, 0, 9, -1]);
  data[100] = ~data[100]!;
  assert.is(writesIn(data, 512)[0], -1);
});

test('a new volume shows zeros and nothing else', () => {
  const model = new VolumeModel(SIZE);
  read(model, 0);
  violates(() => model.endRead(model.startRead(0, 512, 'r'), patternOf(5, 0, 512)), /has written/);
});

test('an acknowledged write is shown', () => {
  const model = new VolumeModel(SIZE);
  const a = write(model);
  read(model, a);
  violates(() => read(model, 0), /sector 0 .*zeros/);
});

test('an older value after an acknowledged write is a stale read', () => {
  const model = new VolumeModel(SIZE);
  const a = write(model);
  write(model);
  violates(() => read(model, a), /does not fit/);
});

test('a read that overlaps a write may show either', () => {
  const model = new VolumeModel(SIZE);
  const a = write(model);
  const slow = model.startRead(0, 512, 'r');
  const b = write(model);
  model.endRead(slow, bytesOf(a));
  read(model, b);
});

test('a write under way may be shown, and then stays', () => {
  const model = new VolumeModel(SIZE);
  const a = write(model);
  const b = begin(model);
  read(model, a);
  read(model, b);
  violates(() => read(model, a), /does not fit/);
});

test('of two overlapping writes either may win, but not both in turn', () => {
  const model = new VolumeModel(SIZE);
  const a = begin(model);
  const b = begin(model);
  model.endWrite(a);
  model.endWrite(b);
  assert.equal(model.allowed(0), [a.id, b.id]);
  read(model, a);
  assert.equal(model.allowed(0), [a.id]);
  violates(() => read(model, b), /does not fit/);
});

test('a write under way may be done again over later ones, but never once it has been answered', () => {
  const model = new VolumeModel(SIZE);
  const slow = begin(model);
  read(model, slow);
  const later = write(model);
  read(model, later);
  read(model, slow);
  model.endWrite(slow);
  read(model, slow);
  violates(() => read(model, later), /does not fit/);
});

test('a write without an answer may appear late', () => {
  const model = new VolumeModel(SIZE);
  const a = write(model);
  const b = begin(model);
  model.unknownWrite(b, 'test');
  read(model, a);
  const c = write(model);
  read(model, c);
  read(model, b);
  violates(() => read(model, c), /does not fit/);
});

test('with strict deaths a write of a dead gateway has one outcome before anyone reads', () => {
  const model = new VolumeModel(SIZE, { strictDeaths: true });
  const a = write(model);
  const b = begin(model);
  model.died([b]);
  read(model, a);
  violates(() => read(model, b), /does not fit/);
});

test('zeros are matched with the write of zeros they must come from', () => {
  const model = new VolumeModel(SIZE);
  const a = write(model);
  write(model, { zero: true });
  write(model, { zero: true });
  read(model, 0);
  const b = write(model);
  violates(() => read(model, 0), /zeros/);
  violates(() => read(model, a), /does not fit/);
  read(model, b);
});

test('a read of zeros that fits two writes is settled by a later read', () => {
  const model = new VolumeModel(SIZE);
  const a = write(model);
  const z1 = model.startWrite(0, 512, { by: 'c', zero: true }).op;
  const b = begin(model);
  const z2 = model.startWrite(0, 512, { by: 'd', zero: true }).op;
  read(model, 0);
  assert.is(model.counters['sectors: a value that fits several writes'], 1);
  model.endWrite(z1);
  model.endWrite(z2);
  model.endWrite(b);
  violates(() => read(model, a), /does not fit/);
});

test('torn and misplaced sectors are violations', () => {
  const model = new VolumeModel(SIZE);
  const a = write(model);
  const torn = bytesOf(a);
  torn.fill(0, 256);
  violates(() => model.endRead(model.startRead(0, 512, 'r'), torn), /torn/);
  violates(() => model.endRead(model.startRead(512, 512, 'r'), bytesOf(a)), /torn or foreign/);
});

test('a power cut keeps what was flushed and may keep what came later', () => {
  const model = new VolumeModel(SIZE);
  const a = write(model);
  const b = write(model);
  flush(model);
  const c = write(model);
  const d = write(model);
  model.powerCut(nobody);
  assert.equal(model.allowed(0), [b.id, c.id, d.id]);
  violates(() => read(model, a), /does not fit/);
  read(model, c);
  assert.equal(model.allowed(0), [c.id]);
  violates(() => read(model, d), /does not fit/);
});

test('a forced write survives a power cut', () => {
  const model = new VolumeModel(SIZE);
  write(model);
  const b = write(model, { fua: true });
  model.powerCut(nobody);
  violates(() => read(model, 0), /zeros/);
  read(model, b);
});

test('a write acknowledged after the flush was called is not covered by it', () => {
  const model = new VolumeModel(SIZE);
  const a = write(model);
  const b = begin(model);
  const op = model.startFlush();
  model.endWrite(b);
  model.endFlush(op);
  model.powerCut(nobody);
  assert.equal(model.allowed(0), [a.id, b.id]);
});

test('what a power cut left, was seen and then flushed survives the next power cut', () => {
  const model = new VolumeModel(SIZE);
  const a = write(model);
  const b = write(model);
  model.powerCut(nobody);
  assert.equal(model.allowed(0), [0, a.id, b.id]);
  read(model, a);
  flush(model);
  model.powerCut(nobody);
  assert.equal(model.allowed(0), [a.id]);
});

test('a write of a surviving gateway goes on through a power cut of the others', () => {
  const model = new VolumeModel(SIZE);
  const a = write(model, { fua: true });
  const b = begin(model);
  model.powerCut(new Set([b]));
  read(model, a);
  model.endWrite(b);
  read(model, b);
  violates(() => read(model, a), /does not fit/);
});

test('a read called before a power cut and answered after it proves nothing', () => {
  const model = new VolumeModel(SIZE);
  const a = write(model);
  const slow = model.startRead(0, 512, 'r');
  model.powerCut(nobody);
  model.endRead(slow, bytesOf(a));
  assert.equal(model.allowed(0), [0, a.id]);
});

test('a snapshot shows the volume as it was, for ever', () => {
  const model = new VolumeModel(SIZE);
  const a = write(model);
  const snap = model.startSnapshot('s');
  model.endSnapshot(snap);
  const b = write(model);
  model.checkSnapshot(snap, 0, bytesOf(a));
  read(model, b);
  violates(() => model.checkSnapshot(snap, 0, bytesOf(b)), /earlier/);
});

test('a snapshot never shows what was written after it, nor lacks what was there before', () => {
  const model = new VolumeModel(SIZE);
  const a = write(model);
  const snap = model.startSnapshot('s');
  model.endSnapshot(snap);
  const b = write(model);
  violates(() => model.checkSnapshot(snap, 0, bytesOf(b)), /does not fit/);
  const other = new VolumeModel(SIZE);
  write(other);
  const snap2 = other.startSnapshot('s');
  other.endSnapshot(snap2);
  violates(() => other.checkSnapshot(snap2, 0, bytesOf(0)), /does not fit/);
  assert.ok(a);
});

test('a snapshot shows one instant, not an early half and a late half', () => {
  const model = new VolumeModel(SIZE);
  const old = write(model);
  const snap = model.startSnapshot('s');
  const x = write(model);
  const y = model.startWrite(512, 512, { by: 'a' }).op;
  model.endWrite(y);
  model.endSnapshot(snap);
  model.checkSnapshot(snap, 512, bytesOf(y, 512));
  violates(() => model.checkSnapshot(snap, 0, bytesOf(old)), /no instant/);
  assert.ok(x);
});

test('a violation tells the history of the sector', () => {
  const model = new VolumeModel(SIZE);
  const a = write(model);
  write(model);
  violates(() => read(model, a), /call write 1 by a 0\+512[\s\S]*acknowledged write 2/);
});

test.run();
