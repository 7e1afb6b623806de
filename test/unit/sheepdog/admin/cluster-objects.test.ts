import { createHash } from 'node:crypto';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { AppError } from '../../../../src/base/errors.js';
import type { ObjectAddress } from '../../../../src/cluster/epochs/address.js';
import { ClusterObjects } from '../../../../src/sheepdog/admin/cluster-objects.js';
import type { DoorParts } from '../../../../src/sheepdog/parts.js';
import type { BlockRun } from '../../../../src/store/object-store.js';
import { OBJECT } from './fixture.js';

const MIB = 1024 * 1024;

/** A cluster with one object of 4 MiB: 1.5 MiB of data, 2 MiB of hole, 0.5 MiB of data. */
function fakeCluster() {
  const content = Buffer.alloc(4 * MIB);
  content.fill(7, 0, 1.5 * MIB);
  content.fill(9, 3.5 * MIB);
  const state = {
    content,
    gone: false,
    resolved: [] as bigint[],
    reads: [] as [offset: number, length: number][],
    reading: 0,
    readingMax: 0,
  };
  const runs: BlockRun[] = [
    { lengthBytes: 1.5 * MIB, hole: false },
    { lengthBytes: 2 * MIB, hole: true },
    { lengthBytes: 0.5 * MIB, hole: false },
  ];
  const client = {
    session: () => ({}),
    status: async () => (state.gone ? undefined : runs),
    read: async (_session: unknown, _address: ObjectAddress, offset: number, length: number) => {
      if (state.gone) throw new AppError('no-object', 'it has just been removed');
      state.reads.push([offset, length]);
      state.readingMax = Math.max(state.readingMax, ++state.reading);
      await new Promise((resolve) => setImmediate(resolve));
      state.reading--;
      return content.subarray(offset, offset + length);
    },
  };
  const parts = {
    cluster: { client },
    directory: {
      resolve: async (oid: bigint) => {
        state.resolved.push(oid);
        return oid === OBJECT ? { oid, root: 1, copies: 3, objectShift: 22 } : undefined;
      },
    },
    clock: { defer: (run: () => void) => void setImmediate(run) },
    manager: { stopped: false },
  };
  return { state, objects: new ClusterObjects(parts as unknown as DoorParts) };
}

test('the hash of an object is that of all its bytes, holes as zeros', async () => {
  const { state, objects } = fakeCluster();
  const expected = createHash('sha1').update(state.content).digest('hex');
  assert.is(Buffer.from((await objects.hash(OBJECT))!).toString('hex'), expected);
  assert.equal(
    state.reads,
    [
      [0, MIB],
      [MIB, 0.5 * MIB],
      [3.5 * MIB, 0.5 * MIB],
    ],
    'holes are not read',
  );
});

test('one object is hashed at a time', async () => {
  const { state, objects } = fakeCluster();
  const digests = await Promise.all([1, 2, 3].map(() => objects.hash(OBJECT)));
  assert.is(new Set(digests.map((digest) => Buffer.from(digest!).toString('hex'))).size, 1);
  assert.is(state.readingMax, 1);
});

test('a read is made of pieces', async () => {
  const { state, objects } = fakeCluster();
  const bytes = await objects.read(OBJECT, MIB, 2.5 * MIB);
  assert.is(Buffer.compare(bytes!, state.content.subarray(MIB, 3.5 * MIB)), 0);
  assert.is(state.reads.length, 3);
  assert.is((await objects.read(OBJECT, 0, 0))?.length, 0);
});

test('the size of an object is known while it is there', async () => {
  const { state, objects } = fakeCluster();
  assert.is(await objects.sizeOf(OBJECT), 4 * MIB);
  state.gone = true;
  assert.is(await objects.sizeOf(OBJECT), undefined);
});

test('an object that is removed meanwhile counts as missing, and the next hash goes on', async () => {
  const { state, objects } = fakeCluster();
  state.gone = true;
  assert.is(await objects.hash(OBJECT), undefined);
  assert.is(await objects.read(OBJECT, 0, 1), undefined);
  state.gone = false;
  assert.is((await objects.hash(OBJECT))?.length, 20);
});

test('an impossible id is not even looked for', async () => {
  const { state, objects } = fakeCluster();
  for (const oid of [0n, 0xffffffffffffffffn, 0x8000000100000001n, 0x0100000100000000n]) {
    assert.is(await objects.sizeOf(oid), undefined);
    assert.is(await objects.hash(oid), undefined);
    assert.is(await objects.read(oid, 0, 1), undefined);
  }
  assert.equal(state.resolved, []);
});

test.run();
