/** Definitions on disk, names in a cluster, and the pools of a daemon whose clusters are away. */
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { DefinitionStore } from '../../../pool-backend/pools/definition-store.js';
import {
  normalNamespace,
  splitSnapshot,
  vdiNameOf,
  volumeNameOf,
} from '../../../pool-backend/pools/names.js';
import { emptyQcow2, volumeBytesFor } from '../../../pool-backend/pools/qcow2.js';
import { Registry } from '../../../pool-backend/pools/registry.js';
import { LibvirtError } from '../../../pool-backend/rpc/errors.js';
import { systemClock } from '../../../src/base/clock.js';
import { silentLogger } from '../../../src/base/log.js';
import { poolXml } from '../../helpers/pool-daemon.js';

const test = suite<{ folder: string }>('definitions');
test.before.each((context) => {
  context.folder = mkdtempSync(join(tmpdir(), 'sheepfold-definitions-'));
});
test.after.each(({ folder }) => rmSync(folder, { recursive: true, force: true }));

/** Nothing listens there: the port is the one of the discard service, which nobody runs. */
const AWAY = 9;

function registryIn(folder: string): Registry {
  return new Registry({
    configFolder: join(folder, 'config'),
    stateFolder: join(folder, 'state'),
    clock: systemClock,
    log: silentLogger,
  });
}

async function refusal(work: () => Promise<unknown> | unknown): Promise<string> {
  try {
    await work();
  } catch (error) {
    if (error instanceof LibvirtError) return error.message;
    throw error;
  }
  throw new Error('it was accepted');
}

test('what was saved is loaded, with the mark, and what is half-written is not', ({ folder }) => {
  const store = new DefinitionStore(folder);
  store.save('a b', '<a/>');
  store.save('c', '<c/>');
  store.save('a b', '<a2/>');
  store.setAutostart('c', true);
  writeFileSync(join(folder, '.99.new'), '<half');
  const expected = [
    { name: 'a b', xml: '<a2/>', autostart: false },
    { name: 'c', xml: '<c/>', autostart: true },
  ];
  const load = () => new DefinitionStore(folder).load().sort((a, b) => (a.name < b.name ? -1 : 1));
  assert.equal(load(), expected);
  assert.equal(readdirSync(folder).sort(), ['a b.xml', 'autostart', 'c.xml']);
  store.remove('c');
  assert.equal(load(), expected.slice(0, 1));
  assert.not(existsSync(join(folder, 'autostart', 'c')));
});

test('volumes of namespaces and those outside are told apart, whatever their names', () => {
  assert.is(vdiNameOf('ns', 'disk'), 'ns~disk');
  assert.is(volumeNameOf('ns', 'ns~disk'), 'disk');
  assert.is(volumeNameOf('', 'ns~disk'), undefined);
  assert.is(volumeNameOf('n', 'ns~disk'), undefined);
  assert.is(volumeNameOf('ns', 'ns~a~b'), 'a~b');
  assert.is(volumeNameOf('', '~a'), '~a');
  assert.is(volumeNameOf('', 'backup~'), 'backup~');
  assert.is(volumeNameOf('', '.unfinished-1'), undefined);
  assert.equal(splitSnapshot('disk@a@b'), { volume: 'disk', snapshot: 'a@b' });
  assert.is(normalNamespace('/'), '');
});

for (const name of ['', 'a/b', 'a@b', 'a~b', 'a\nb', '.unfinished-x', 'x'.repeat(256)]) {
  test(`no new volume is called ${JSON.stringify(name.slice(0, 20))}`, () => {
    assert.throws(
      () => vdiNameOf('', name),
      (error: unknown) => LibvirtError.isKind(error, 'xml'),
    );
  });
}

test('names with colons, spaces, quotes and letters of all languages are fine', () => {
  for (const name of ['a:b', 'a b', `a"'<b`, 'größe-磁盘', '%2f', '?x=1#y']) {
    assert.is(volumeNameOf('ns', vdiNameOf('ns', name)), name);
  }
});

test('definitions outlive the daemon; what was started is started again, once', async ({ folder }) => {
  const first = registryIn(folder);
  await first.load();
  const pool = await first.define(poolXml('vms', AWAY, 'ns'));
  first.setAutostart(pool, true);
  await first.define(poolXml('more', AWAY, 'other'));
  first.close();
  // As after a reboot: the folder of the state is empty.
  rmSync(join(folder, 'state'), { recursive: true });
  const second = registryIn(folder);
  await second.load();
  const vms = second.byName('vms')!;
  assert.equal(
    [vms.uuid, vms.autostart, vms.persistent, vms.started, vms.active],
    [pool.uuid, true, true, true, false],
  );
  assert.is(second.byName('more')!.started, false);
  second.stop(vms);
  second.close();
  // No reboot: who stopped it meant it.
  const third = registryIn(folder);
  await third.load();
  assert.is(third.byName('vms')!.started, false);
  third.close();
});

test('a definition that cannot be read is left out, and left alone', async ({ folder }) => {
  const registry = registryIn(folder);
  writeFileSync(join(folder, 'config', 'bad.xml'), '<pool');
  writeFileSync(join(folder, 'config', 'good.xml'), poolXml('good', AWAY));
  await registry.load();
  assert.equal(
    registry.all().map(({ name }) => name),
    ['good'],
  );
  assert.ok(existsSync(join(folder, 'config', 'bad.xml')));
});

test('one name, one uuid, one source: a second pool of any is refused in libvirt’s words', async ({
  folder,
}) => {
  const registry = registryIn(folder);
  const { uuid } = await registry.define(poolXml('a', AWAY, 'x'));
  const own = `<uuid>${uuid}</uuid>`;
  assert.match(
    await refusal(() => registry.define(poolXml('b', AWAY, 'y', own))),
    `operation failed: pool 'a' is already defined with uuid ${uuid}`,
  );
  assert.match(
    await refusal(() => registry.define(poolXml('a', AWAY, 'y'))),
    `already exists with uuid ${uuid}`,
  );
  assert.match(
    await refusal(() => registry.define(poolXml('b', AWAY, 'x'))),
    "Storage source conflict with pool: 'a'",
  );
  await registry.define(poolXml('a', AWAY, 'y', own));
  assert.is(registry.all().length, 1);
  assert.is(registry.byName('a')!.namespace, 'y');
});

test('a pool whose cluster is away is not started, and a transient one is not kept', async ({ folder }) => {
  const registry = registryIn(folder);
  assert.match(
    await refusal(() => registry.create(poolXml('t', AWAY))),
    /operation failed: cannot start storage pool 't': .*Connection refused/,
  );
  assert.equal(registry.all(), []);
  const pool = await registry.define(poolXml('p', AWAY));
  assert.match(await refusal(() => registry.start(pool)), /cannot start storage pool 'p'/);
  assert.is(pool.started, false);
  assert.match(await refusal(() => registry.stop(pool)), "storage pool 'p' is not active");
  assert.match(await refusal(() => pool.ask('vdi.list', {})), "storage pool 'p' is not active");
});

test('an empty qcow2 image is smaller than its volume, whatever its size', () => {
  for (const bytes of [512, 2 ** 30, 2 ** 40, 4 * 2 ** 40]) {
    const image = emptyQcow2(bytes);
    assert.is(image.readBigUInt64BE(24), BigInt(bytes));
    assert.ok(image.length < 4 * 1024 * 1024 && volumeBytesFor(bytes) > bytes + image.length);
    assert.is(volumeBytesFor(bytes) % 512, 0);
  }
});

test.run();
