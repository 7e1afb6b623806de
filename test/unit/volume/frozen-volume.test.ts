import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { AppError } from '../../../src/base/errors.js';
import { SeededRandom } from '../../../src/base/random.js';
import { writeOf } from '../../../src/cluster/objects/mutation.js';
import type { Coordinator } from '../../../src/coord/coordinator.js';
import { addressIn, Directory } from '../../../src/volume/directory.js';
import { type FrozenOptions, openFrozen } from '../../../src/volume/frozen-volume.js';
import { keys, type VdiRecord } from '../../../src/volume/records.js';
import { dataOid } from '../../../src/wire/oid.js';
import { createVersion, FakeClient, versionRecord } from './fake-client.js';

const LINE = { id: '000000000001', name: 'volume', vid: 2 };
const snapshot = versionRecord(1, 1024, { tag: 'monday', snapshotMs: 5 });

/** A gateway that knows the snapshot, and what the coordinator has of that vid by now. */
async function gateway(now: VdiRecord | undefined): Promise<{ fake: FakeClient; options: FrozenOptions }> {
  const kv = (key: string, value: unknown) => ({
    key,
    value: typeof value === 'string' ? value : JSON.stringify(value),
    modRevision: 1,
    createRevision: 1,
  });
  const known = [
    kv(keys.name(LINE.name), LINE.id),
    kv(keys.line(LINE.id), LINE),
    kv(keys.vdi(snapshot.vid), snapshot),
  ];
  const coordinator = {
    list: async (prefix: string) => ({ entries: known.filter((e) => e.key.startsWith(prefix)), revision: 1 }),
    watch: () => ({ cancel() {} }),
    get: async (key: string) => (now === undefined ? undefined : kv(key, now)),
  };
  const directory = new Directory(coordinator as unknown as Coordinator);
  await directory.start();
  const fake = new FakeClient(new SeededRandom(1));
  const cluster = { client: fake, objects: { pause: async () => {} } };
  return { fake, options: { cluster, directory } as unknown as FrozenOptions };
}

async function codeOfOpening(options: FrozenOptions): Promise<string> {
  const opening = openFrozen(options, { name: LINE.name, tag: snapshot.tag }, 'volume@monday');
  return opening.then(
    () => 'ok',
    (error) => AppError.from(error).code,
  );
}

test('a snapshot that is deleted while it is opened is one that does not exist', async () => {
  const gone: (VdiRecord | undefined)[] = [
    undefined,
    { ...snapshot, state: 'deleted' },
    // Its vid has been given out again.
    { ...snapshot, line: '000000000002' },
    { ...snapshot, createdMs: 9 },
  ];
  for (const now of gone) assert.is(await codeOfOpening((await gateway(now)).options), 'no-tag');
});

test('a snapshot that exists and whose inode is missing is damaged', async () => {
  const { fake, options } = await gateway(snapshot);
  assert.is(await codeOfOpening(options), 'no-object');
  await createVersion(fake, snapshot);
  assert.is(await codeOfOpening(options), 'ok');
});

test('what is read of an open snapshot whose vid another version has by now is not shown', async () => {
  const now: { record: VdiRecord } = { record: snapshot };
  const { fake, options } = await gateway(snapshot);
  const index = new Uint32Array(1024);
  index[0] = snapshot.vid;
  await createVersion(fake, snapshot, index);
  const address = addressIn(snapshot, dataOid(snapshot.vid, 0));
  await fake.client.change(
    fake.session(),
    address,
    writeOf(0, new Uint8Array(512).fill(7), { mode: 'create', sync: false }),
  );
  const opened = await openFrozen(options, { name: LINE.name, tag: snapshot.tag }, 'volume@monday');
  assert.is((await opened.read(0, 512)).length, 512);
  now.record = { ...snapshot, line: '000000000002', createdMs: 9 };
  options.directory.vdi = () => now.record;
  options.directory.confirmLive = async () => {
    throw new AppError('no-tag', 'gone');
  };
  const code = (run: Promise<unknown>) =>
    run.then(
      () => 'ok',
      (error) => AppError.from(error).code,
    );
  assert.is(await code(opened.read(0, 512)), 'no-tag');
});

test.run();
