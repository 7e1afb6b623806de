import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { AppError } from '../../../src/base/errors.js';
import { SeededRandom } from '../../../src/base/random.js';
import { Signal } from '../../../src/base/signal.js';
import type { Extent } from '../../../src/volume/device.js';
import type { VdiRecord } from '../../../src/volume/records.js';
import type { VolumeDevice } from '../../../src/volume/volume-device.js';
import { dataOid, isInode } from '../../../src/wire/oid.js';
import { BLOCK, createVersion, FakeClient, openVersion, versionRecord } from './fake-client.js';

const OBJECT = 1024;
const SIZE = 10 * OBJECT - 100;

async function volume(
  seed = 1,
  vid = 2,
): Promise<{ fake: FakeClient; device: VolumeDevice; record: VdiRecord }> {
  const fake = new FakeClient(new SeededRandom(seed));
  const record = versionRecord(vid, SIZE);
  await createVersion(fake, record);
  return { fake, device: await openVersion(fake, record), record };
}

const code = (error: unknown): string => AppError.from(error).code;
const settle = () => new Promise((resolve) => setImmediate(resolve));
const bytes = (length: number, value: number): Buffer => Buffer.alloc(length, value);

/** A device on the next version of the volume, which refers to the objects of the present one. */
async function snapshot(fake: FakeClient, device: VolumeDevice): Promise<VdiRecord> {
  const former = device.record;
  const next = versionRecord(former.vid + 1, former.sizeBytes, { parent: former.vid });
  await device.still(async () => {
    await createVersion(fake, next, device.index.entries);
    device.continueAs(next);
  });
  return { ...former, snapshotMs: 1 };
}

test('a new volume reads as zeros and holds no objects', async () => {
  const { fake, device } = await volume();
  assert.equal(Buffer.from(await device.read(0, SIZE)), bytes(SIZE, 0));
  assert.equal(await device.blockStatus(0, SIZE, 10), [{ lengthBytes: SIZE, hole: true, zero: true }]);
  assert.is([...fake.objects.keys()].filter((oid) => !isInode(oid)).length, 0);
});

test('a write over several objects is read back, and makes only the objects it touches', async () => {
  const { fake, device } = await volume();
  const data = new SeededRandom(9).bytes(2 * OBJECT);
  await device.write(OBJECT / 2, data);
  assert.equal(Buffer.from(await device.read(OBJECT / 2, data.length)), data);
  assert.equal([...device.index.entries], [2, 2, 2, 0, 0, 0, 0, 0, 0, 0]);
  assert.ok(fake.objects.has(dataOid(2, 2)));
  assert.not(fake.objects.has(dataOid(2, 3)));
});

test('first writes into one object at the same time make it once', async () => {
  for (let seed = 1; seed <= 50; seed++) {
    const { device } = await volume(seed);
    const writes = Array.from({ length: 8 }, (_, i) => device.write(i * 128, bytes(128, i + 1)));
    await Promise.all(writes);
    const read = Buffer.from(await device.read(0, OBJECT));
    for (let i = 0; i < 8; i++) assert.is(read[i * 128], i + 1, `seed ${seed}`);
  }
});

test('writes that overlap take effect in the order of their arrival', async () => {
  for (let seed = 1; seed <= 50; seed++) {
    const { device } = await volume(seed);
    const writes = Array.from({ length: 10 }, (_, i) => device.write(i * 10, bytes(300, i + 1)));
    await Promise.all(writes);
    const read = Buffer.from(await device.read(0, 400));
    for (let i = 0; i < 10; i++) assert.is(read[i * 10], i + 1, `seed ${seed}`);
    assert.is(read[389], 10);
  }
});

test('after a snapshot the first write copies, and the snapshot stays as it was', async () => {
  const { fake, device } = await volume();
  await device.write(0, bytes(OBJECT * 2, 7));
  const old = await snapshot(fake, device);
  await device.write(10, bytes(5, 9));
  assert.equal([...device.index.entries].slice(0, 3), [3, 2, 0]);
  const before = await openVersion(fake, old, { readOnly: true });
  assert.equal(Buffer.from(await before.read(0, OBJECT)), bytes(OBJECT, 7));
  const now = Buffer.from(await device.read(0, OBJECT));
  assert.equal([now[9], now[10], now[14], now[15]], [7, 9, 9, 7]);
});

test('a snapshot refuses every change', async () => {
  const { fake, record } = await volume();
  const device = await openVersion(fake, record, { readOnly: true });
  const tries = [
    device.write(0, bytes(1, 1)),
    device.discard(0, OBJECT),
    device.writeZeroes(0, 1, { mayUnmap: false }),
  ];
  for (const result of await Promise.allSettled(tries)) {
    assert.is(result.status === 'rejected' && code(result.reason), 'read-only');
  }
});

test('a discard of a whole object removes it, of a shared one only lets it go', async () => {
  const { fake, device } = await volume();
  await device.write(0, bytes(OBJECT * 2, 7));
  await device.discard(0, OBJECT);
  assert.not(fake.objects.has(dataOid(2, 0)));
  assert.is(device.index.entries[0], 0);
  const released: number[][] = [];
  await snapshot(fake, device);
  const next = await openVersion(fake, device.record, { onReleased: (...args) => released.push(args) });
  await next.discard(OBJECT, OBJECT);
  assert.ok(fake.objects.has(dataOid(2, 1)));
  assert.equal(released, [[1, 2]]);
  assert.equal(Buffer.from(await next.read(OBJECT, OBJECT)), bytes(OBJECT, 0));
});

test('the last object is whole at the end of the volume', async () => {
  const { fake, device } = await volume();
  await device.write(9 * OBJECT, bytes(OBJECT - 100, 5));
  await device.discard(9 * OBJECT, OBJECT - 100);
  assert.not(fake.objects.has(dataOid(2, 9)));
});

test('zeroes that must stay allocated allocate, the others make holes', async () => {
  const { device } = await volume();
  await device.writeZeroes(0, 2 * BLOCK, { mayUnmap: false });
  await device.writeZeroes(OBJECT, OBJECT, { mayUnmap: true });
  assert.is(device.index.entries[1], 0);
  assert.equal(await device.blockStatus(0, OBJECT * 2, 10), [
    { lengthBytes: 2 * BLOCK, hole: false, zero: false },
    { lengthBytes: 2 * OBJECT - 2 * BLOCK, hole: true, zero: true },
  ]);
});

test('block status ends after as many extents as were asked for', async () => {
  const { device } = await volume();
  for (let i = 0; i < 4; i++) await device.write(i * OBJECT, bytes(BLOCK, 1));
  const extents = await device.blockStatus(0, 4 * OBJECT, 3);
  assert.equal(
    extents.map((e) => [e.lengthBytes, e.hole]),
    [
      [BLOCK, false],
      [OBJECT - BLOCK, true],
      [BLOCK, false],
    ],
  );
});

test('ranges outside the volume are refused', async () => {
  const { device } = await volume();
  for (const [offset, length] of [
    [SIZE, 1],
    [-1, 1],
    [0, SIZE + 1],
  ] as const) {
    assert.is(await device.read(offset, length).catch(code), 'invalid');
  }
  await device.write(SIZE, bytes(0, 0));
});

test('a deleted volume refuses everything', async () => {
  const { device } = await volume();
  device.end();
  assert.is(await device.read(0, 1).catch(code), 'no-vdi');
  assert.is(await device.write(0, bytes(1, 1)).catch(code), 'no-vdi');
});

test('a hole is not read from memory by a gateway that may have lost the volume', async () => {
  const { fake, device } = await volume();
  fake.cut = true;
  assert.is(await device.read(0, 10).catch(code), 'again');
  assert.is(await device.blockStatus(0, 10, 1).catch(code), 'again');
});

test('an entry whose object is not there is a hole, and can be written', async () => {
  const { fake, device } = await volume();
  await device.write(0, bytes(10, 1));
  fake.objects.delete(dataOid(2, 0));
  assert.is(device.index.entries[0], 2);
  assert.equal(Buffer.from(await device.read(0, 10)), bytes(10, 0));
  const old = await snapshot(fake, device);
  await device.write(0, bytes(10, 3));
  assert.equal(Buffer.from(await device.read(0, 11)), Buffer.concat([bytes(10, 3), bytes(1, 0)]));
  const before = await openVersion(fake, old, { readOnly: true });
  assert.equal(Buffer.from(await before.read(0, 10)), bytes(10, 0));
});

test('a first write that fails leaves a hole', async () => {
  const { fake, device } = await volume();
  fake.fault = (a) => (isInode(a.oid) ? undefined : new AppError('no-space', 'full'));
  assert.is(await device.write(0, bytes(10, 1)).catch(code), 'no-space');
  assert.is(device.index.entries[0], 0);
  assert.equal(Buffer.from(await device.read(0, 10)), bytes(10, 0));
});

test('what a power cut left without an entry is not seen again while a first write replaces it', async () => {
  const { fake, device, record } = await volume();
  await device.write(0, bytes(OBJECT, 7));
  await createVersion(fake, record);
  const later = await openVersion(fake, record);
  assert.is((await later.read(500, 1))[0], 0);
  const held = new Signal();
  fake.gate = (address) => (isInode(address.oid) ? undefined : held.promise);
  const write = later.write(0, bytes(10, 9));
  await settle();
  assert.is((await later.read(500, 1))[0], 0, 'before the new object is there');
  assert.is((await (await openVersion(fake, record)).read(500, 1))[0], 0, 'at an owner that takes over now');
  held.fire();
  await write;
  assert.equal([...(await later.read(9, 2))], [9, 0]);
});

test('reads that begin while the volume becomes another version show that one', async () => {
  const { fake, device, record } = await volume();
  await device.write(0, bytes(OBJECT, 7));
  const next = versionRecord(record.vid + 1, SIZE);
  const done = new Signal();
  const change = device.still(() =>
    device.unread(async () => {
      await createVersion(fake, next);
      await done.promise;
      device.index.entries = new Uint32Array(device.index.entries.length);
      device.continueAs(next);
    }),
  );
  await settle();
  const read = device.read(0, 1);
  await settle();
  done.fire();
  assert.is((await read)[0], 0);
  await change;
});

test('what is gone with its version does not pass for a hole', async () => {
  const { fake, device, record } = await volume();
  await device.write(0, bytes(OBJECT, 7));
  const gone = new AppError('no-tag', 'deleted');
  const old = await openVersion(fake, record, { readOnly: true, confirmLive: () => Promise.reject(gone) });
  assert.equal(await old.blockStatus(0, OBJECT, 1), [{ lengthBytes: OBJECT, hole: false, zero: false }]);
  fake.objects.delete(dataOid(2, 0));
  assert.is(await old.blockStatus(0, OBJECT, 1).catch(code), 'no-tag');
  assert.is(await old.read(0, OBJECT).catch(code), 'no-tag');
});

test('what went while it was asked about is looked for where it is now', async () => {
  const { fake, device } = await volume();
  await device.write(0, bytes(OBJECT, 7));
  await snapshot(fake, device);
  for (const ask of ['status', 'read'] as const) {
    const [owner, vid] = [device.index.entries[0]!, device.record.vid];
    // Between the look at the index and the answer a write made the volume's own object, and the old one was freed.
    fake.lookGate = async (a) => {
      if (a.oid !== dataOid(owner, 0)) return;
      fake.lookGate = () => undefined;
      await device.write(0, bytes(10, 9));
      assert.is(device.index.entries[0], vid);
      fake.objects.delete(dataOid(owner, 0));
    };
    if (ask === 'read')
      assert.equal(Buffer.from(await device.read(0, 11)), Buffer.concat([bytes(10, 9), bytes(1, 7)]));
    else
      assert.equal(await device.blockStatus(0, OBJECT, 1), [
        { lengthBytes: OBJECT, hole: false, zero: false },
      ]);
    await snapshot(fake, device);
  }
});

test('a write is not acknowledged before the inode has its entry, also after a try that failed', async () => {
  const { fake, device, record } = await volume();
  fake.fault = (a) => (isInode(a.oid) ? new AppError('no-space', 'full') : undefined);
  assert.is(await device.write(0, bytes(10, 1)).catch(code), 'no-space');
  assert.is(await device.write(0, bytes(10, 2)).catch(code), 'no-space');
  fake.fault = () => undefined;
  await device.write(0, bytes(10, 3));
  const reopened = await openVersion(fake, record);
  assert.equal(Buffer.from(await reopened.read(0, 10)), bytes(10, 3));
});

test('of a version in the making no object is there before its entry, and none is left out when it fails', async () => {
  const { fake, record } = await volume();
  const device = await openVersion(fake, record, { entriesFirst: true });
  fake.fault = (a) => (isInode(a.oid) ? undefined : new AppError('network', 'its sheep is dead'));
  const listed: number[] = [];
  fake.gate = async (a) => {
    if (!isInode(a.oid)) listed.push((await openVersion(fake, record)).index.entries[0]!);
  };
  assert.is(await device.write(0, bytes(10, 1)).catch(code), 'network');
  assert.equal(listed, [2], 'whoever cleans up finds it');
  assert.is(device.index.entries[0], 0, 'the next write makes it, and does not take it for there');
  fake.fault = () => undefined;
  await device.write(5, bytes(10, 2));
  const content = Buffer.from(await (await openVersion(fake, record)).read(0, 16));
  assert.equal(content, Buffer.concat([bytes(5, 0), bytes(10, 2), bytes(1, 0)]));
});

test('nobody is shown what the inode may not have', async () => {
  const { fake, device, record } = await volume();
  await device.write(OBJECT, bytes(10, 1));
  fake.fault = (a) => (isInode(a.oid) ? new AppError('no-space', 'full') : undefined);
  assert.is(await device.write(0, bytes(10, 2)).catch(code), 'no-space');
  assert.is(await device.read(0, 10).catch(code), 'no-space');
  assert.is(await device.blockStatus(0, 10, 1).catch(code), 'no-space');
  assert.equal(Buffer.from(await device.read(OBJECT, 10)), bytes(10, 1), 'another object is not concerned');
  fake.fault = () => undefined;
  const shown = await device.read(0, 10);
  const reopened = await openVersion(fake, record);
  assert.equal(await reopened.read(0, 10), shown);
});

test('a failed discard is not taken for done by the next one', async () => {
  const { fake, device } = await volume();
  await device.write(0, bytes(OBJECT, 1));
  await snapshot(fake, device);
  fake.fault = (a) => (isInode(a.oid) ? new AppError('no-space', 'full') : undefined);
  assert.is(await device.discard(0, OBJECT).catch(code), 'no-space');
  fake.fault = () => undefined;
  await device.discard(0, OBJECT);
  const reopened = await openVersion(fake, device.record);
  assert.equal(Buffer.from(await reopened.read(0, OBJECT)), bytes(OBJECT, 0));
});

test('a failed first write may leave an object behind, until the volume goes on as another version', async () => {
  const { fake, device } = await volume();
  await device.write(0, bytes(64, 1));
  assert.not(device.loose);
  fake.fault = () => new AppError('no-space', 'full');
  await device.write(OBJECT, bytes(64, 1)).catch(() => {});
  assert.ok(device.loose);
  fake.fault = () => undefined;
  await device.write(OBJECT, bytes(64, 1));
  assert.ok(device.loose, 'what is left of another place may still be there');
  await snapshot(fake, device);
  assert.not(device.loose);
});

test('a failed first write leaves nothing under way that could undo the next one', async () => {
  const { fake, device } = await volume();
  let open: () => void = () => {};
  const held = new Promise<void>((resolve) => (open = resolve));
  fake.gate = (a) => (isInode(a.oid) ? undefined : held);
  fake.fault = (a) => (isInode(a.oid) ? new AppError('no-space', 'full') : undefined);
  let failed = false;
  const first = device.write(0, bytes(10, 1)).catch(() => (failed = true));
  await settle();
  assert.not(failed, 'it waits for what it began');
  fake.gate = () => undefined;
  open();
  await first;
  fake.fault = () => undefined;
  await device.write(0, bytes(10, 2));
  await settle();
  assert.equal(Buffer.from(await device.read(0, 10)), bytes(10, 2));
});

test('nothing changes while the volume is held still, and what waits goes on afterwards', async () => {
  const { fake, device } = await volume();
  let write: Promise<void> | undefined;
  await device.still(async () => {
    write = device.write(0, bytes(10, 1));
    await settle();
    assert.is(device.index.entries[0], 0);
  });
  await write;
  assert.ok(fake.objects.has(dataOid(2, 0)));
});

test('growing tells the listeners, and the new end reads as zeros', async () => {
  const { device, record } = await volume();
  const sizes: number[] = [];
  const stop = device.onResize((size) => sizes.push(size));
  device.continueAs({ ...record, sizeBytes: 12 * OBJECT });
  stop();
  device.continueAs({ ...record, sizeBytes: 13 * OBJECT });
  assert.equal(sizes, [12 * OBJECT]);
  await device.write(11 * OBJECT, bytes(10, 4));
  assert.is((await device.read(11 * OBJECT, 1))[0], 4);
});

/** Random requests, several at a time on ranges of their own, against one plain buffer. */
async function runRandom(seed: number): Promise<void> {
  const random = new SeededRandom(seed);
  const fake = new FakeClient(random);
  let record = versionRecord(2, SIZE);
  await createVersion(fake, record);
  let device = await openVersion(fake, record);
  const plain = Buffer.alloc(SIZE);
  const kept: { record: VdiRecord; content: Buffer }[] = [];
  for (let round = 0; round < 40; round++) {
    const lanes = 1 + random.below(4);
    const laneBytes = Math.floor(SIZE / lanes);
    const work = Array.from({ length: lanes }, (_, lane) => {
      const offset = lane * laneBytes + random.below(laneBytes);
      const length = random.below(Math.min(laneBytes - (offset - lane * laneBytes), 3 * OBJECT));
      return request(device, plain, random, offset, length);
    });
    await Promise.all(work);
    assert.equal(Buffer.from(await device.read(0, SIZE)), plain, `seed ${seed}, round ${round}`);
    checkStatus(await device.blockStatus(0, SIZE, 1000), plain);
    if (random.chance(0.15)) {
      kept.push({ record: await snapshot(fake, device), content: Buffer.from(plain) });
      record = device.record;
    }
    // Another gateway takes over: everything it needs is in the inode.
    if (random.chance(0.15)) device = await openVersion(fake, record);
  }
  for (const { record: old, content } of kept) {
    const before = await openVersion(fake, old, { readOnly: true });
    assert.equal(Buffer.from(await before.read(0, SIZE)), content, `seed ${seed}: a snapshot has changed`);
  }
}

function request(
  device: VolumeDevice,
  plain: Buffer,
  random: SeededRandom,
  offset: number,
  length: number,
): Promise<void> {
  const action = random.below(6);
  if (action < 3) {
    const data = random.bytes(length);
    plain.set(data, offset);
    return device.write(offset, data, { fua: random.chance(0.3) });
  }
  // Discards of whole objects are what removes objects.
  const whole = random.chance(0.5) && length > OBJECT;
  const start = whole ? Math.ceil(offset / OBJECT) * OBJECT : offset;
  const end = whole ? Math.floor((offset + length) / OBJECT) * OBJECT : offset + length;
  if (end <= start) return Promise.resolve();
  plain.fill(0, start, end);
  if (action === 3) return device.writeZeroes(start, end - start, { mayUnmap: random.chance(0.5) });
  return device.discard(start, end - start);
}

function checkStatus(extents: readonly Extent[], plain: Buffer): void {
  let at = 0;
  for (const { lengthBytes, zero } of extents) {
    if (zero)
      assert.ok(
        plain.subarray(at, at + lengthBytes).every((b) => b === 0),
        `not zero at ${at}`,
      );
    at += lengthBytes;
  }
  assert.is(at, plain.length);
}

test('random requests, snapshots and changes of the owner agree with a plain buffer', async () => {
  for (let seed = 1; seed <= 25; seed++) await runRandom(seed);
});

test.run();
