import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { systemClock } from '../../../src/base/clock.js';
import { silentLogger } from '../../../src/base/log.js';
import { SeededRandom } from '../../../src/base/random.js';
import { writeOf } from '../../../src/cluster/objects/mutation.js';
import { Garbage, type GarbageOptions } from '../../../src/volume/garbage.js';
import type { VdiRecord } from '../../../src/volume/records.js';
import { dataOid, inodeOid } from '../../../src/wire/oid.js';
import { createVersion, FakeClient, versionRecord } from './fake-client.js';

/** A node that sees the version as `state.record` says, in a cluster in which another node is up. */
function garbageOf(state: { record: VdiRecord | undefined; looks: number }): Garbage {
  const view = { nodes: new Map([['other', { up: true, incarnation: '7' }]]) };
  const options = {
    cluster: { client: new FakeClient(new SeededRandom(1)), objects: { context: { view } } },
    directory: {
      vdi: () => {
        state.looks++;
        return state.record;
      },
    },
    clock: systemClock,
    log: silentLogger,
  };
  return new Garbage(options as unknown as GarbageOptions);
}

test('who waits for another node to free a version goes on when it has, also when the record stays', async () => {
  const cleaner = { nodeId: 'other', incarnation: '7' };
  const deleted = versionRecord(1, 1024, { snapshotMs: 1, state: 'deleted', cleaner });
  for (const end of [undefined, { ...deleted, freed: true }]) {
    const state: { record: VdiRecord | undefined; looks: number } = { record: deleted, looks: 0 };
    let done = false;
    const freeing = garbageOf(state)
      .free(1)
      .then((freed) => {
        done = true;
        return freed;
      });
    while (state.looks < 3) await new Promise((resolve) => setTimeout(resolve, 10));
    assert.not(done, 'the other one is still at it');
    state.record = end;
    const late = new Promise<string>((resolve) => setTimeout(() => resolve('never'), 2000).unref());
    const outcome = await Promise.race([freeing, late]);
    state.record = undefined;
    assert.is(outcome, 0);
  }
});

test('a released object is removed once the version that was being made is there, or is none', async () => {
  for (const end of ['made', 'forgotten']) {
    const fake = new FakeClient(new SeededRandom(1));
    const parent = versionRecord(2, 1024, { snapshotMs: 1, state: 'deleted', freed: true });
    const working = versionRecord(3, 1024, { parent: 2 });
    const pending = versionRecord(4, 1024, { parent: 3, state: 'pending' });
    await createVersion(fake, parent, Uint32Array.of(2));
    await createVersion(fake, working, Uint32Array.of(3));
    const address = { oid: dataOid(2, 0), root: 1, copies: 3, objectShift: 10 };
    const whole = { mode: 'create', sync: false } as const;
    await fake.change(fake.session(), address, writeOf(0, new Uint8Array(1024), whole));
    const family = new Map([parent, working, pending].map((r) => [r.vid, r]));
    let looks = 0;
    const directory = {
      vdi: (vid: number) => family.get(vid),
      family: () => family,
      catchUp: async () => {
        looks++;
      },
    };
    const options = {
      cluster: { client: fake, objects: {} },
      directory,
      clock: systemClock,
      log: silentLogger,
      manager: () => ({ ownedBy: () => undefined }),
    };
    const releasing = new Garbage(options as unknown as GarbageOptions).release(working, 0, 2);
    while (looks < 2) await new Promise((resolve) => setTimeout(resolve, 10));
    assert.ok(fake.objects.has(address.oid), 'the new version may refer to it');
    if (end === 'made') await createVersion(fake, pending, Uint32Array.of(3));
    else family.delete(pending.vid);
    await releasing;
    assert.not(fake.objects.has(address.oid));
  }
});

test('a sweep leaves alone what has become another volume while it was busy with something else', async () => {
  const fake = new FakeClient(new SeededRandom(1));
  const cleaner = { nodeId: 'self', incarnation: '1' };
  const maker = { nodeId: '', incarnation: '' };
  const first = versionRecord(1, 1024, { state: 'pending', maker, cleaner });
  const second = versionRecord(2, 1024, { state: 'pending', maker, cleaner });
  await createVersion(fake, first);
  await createVersion(fake, second);
  const records = new Map([first, second].map((r) => [r.vid, r]));
  const directory = {
    vdis: () => [...records.values()],
    vdi: (vid: number) => records.get(vid),
    seen: async () => {},
  };
  const view = { nodes: new Map() };
  const coordinator = { txn: async () => ({ ok: true, revision: 1 }) };
  const options = {
    cluster: { client: fake, objects: { context: { view } } },
    ...{ directory, coordinator, clock: systemClock, log: silentLogger },
  };
  const another = versionRecord(2, 1024);
  fake.gate = ({ oid }) => {
    // While the first one's inode goes: somebody has ended the second one's reservation, and its vid is given out.
    if (oid === inodeOid(1)) records.set(2, another);
    return undefined;
  };
  await new Garbage(options as unknown as GarbageOptions).sweep('all');
  assert.not(fake.objects.has(inodeOid(1)));
  assert.ok(fake.objects.has(inodeOid(2)), 'it is the inode of a volume');
});

test('only of a version whose owner did not end in good order are copies looked for that no index names', async () => {
  for (const loose of [false, true]) {
    const fake = new FakeClient(new SeededRandom(1));
    const parent = versionRecord(1, 4096, { snapshotMs: 1 });
    const cleaner = { nodeId: 'self', incarnation: '1' };
    const deleted = versionRecord(2, 4096, {
      parent: 1,
      state: 'deleted',
      cleaner,
      ...(loose && { loose: true }),
    });
    await createVersion(fake, parent, Uint32Array.of(1, 1, 1, 1));
    await createVersion(fake, deleted, Uint32Array.of(1, 2, 1, 1));
    for (const oid of [dataOid(1, 0), dataOid(1, 2), dataOid(1, 3), dataOid(2, 1)]) {
      const address = { oid, root: 1, copies: 3, objectShift: 10 };
      const whole = writeOf(0, new Uint8Array(1024), { mode: 'create', sync: false });
      await fake.change(fake.session(), address, whole);
    }
    const records = new Map([parent, deleted].map((r) => [r.vid, r]));
    const directory = {
      vdi: (vid: number) => records.get(vid),
      family: () => new Map(records),
      seen: async () => {},
    };
    const removed: bigint[] = [];
    fake.gate = ({ oid }, { kind }) => {
      if (kind === 'remove') removed.push(oid);
      return undefined;
    };
    const options = {
      cluster: { client: fake, objects: { context: {}, options: {} } },
      coordinator: { txn: async () => ({ ok: true, revision: 1 }) },
      ...{ directory, clock: systemClock, log: silentLogger },
      manager: () => ({ ownedBy: () => undefined }),
    };
    await new Garbage(options as unknown as GarbageOptions).free(2);
    const own = [dataOid(2, 1), inodeOid(2)];
    const copies = [dataOid(2, 0), dataOid(2, 2), dataOid(2, 3)];
    assert.equal(new Set(removed), new Set(loose ? [...own, ...copies] : own));
    assert.ok(fake.objects.has(dataOid(1, 0)));
  }
});

test.run();
