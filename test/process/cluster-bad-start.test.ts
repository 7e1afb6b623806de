// deadline: 180 s
/** A sheep that cannot be started says why and ends with a code of its own; the others go on. */
import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { errorKinds } from '../../src/base/errors.js';
import { seeded } from '../helpers/mirror-oracle.js';
import { NbdClient } from '../helpers/nbd-client.js';
import { RealCluster, type RealSheep } from '../helpers/real-cluster.js';
import { BLOCK_BYTES, StampedVolume } from '../helpers/stamped-volume.js';

const END_DEADLINE_MS = 20_000;
const ROOT = process.getuid?.() === 0;

let cluster: RealCluster;
test.before(async () => {
  cluster = await RealCluster.start();
  await cluster.call('vdi.create', { name: 'disk', sizeBytes: 16 * 1024 * 1024 });
});
test.after(() => cluster.stop());

/** Starts it, expects its end, and that the cluster still writes. */
async function mustRefuse(sheep: RealSheep, exit: number, message: RegExp): Promise<void> {
  sheep.spawn();
  try {
    const code = await sheep.end(END_DEADLINE_MS);
    const { output } = sheep;
    assert.match(output, message);
    assert.not.match(output, /\n\s+at .*\n/, 'a stack is no message');
    assert.is(code, exit);
  } finally {
    await sheep.kill();
  }
  const client = await NbdClient.open(cluster.sheep[0]!.nbd, 'disk');
  await client.write(0, Buffer.alloc(4096, exit));
  client.close();
}

function identityIn(dir: string, version: number): void {
  mkdirSync(dir, { recursive: true });
  writeFileSync(join(dir, 'node.json'), JSON.stringify({ nodeId: '00000000000000aa', version }));
}

test('a directory with the store of another cluster is refused', async () => {
  const sheep = await cluster.spare('other-cluster');
  identityIn(sheep.dir, 1);
  mkdirSync(join(sheep.dir, 'store', 'ffffffffffffffffffffffffffffffff'), { recursive: true });
  await mustRefuse(sheep, errorKinds.system.exit, /belongs to another cluster/);
});

test('an identity of a newer version is refused', async () => {
  const sheep = await cluster.spare('newer');
  identityIn(sheep.dir, 2);
  await mustRefuse(sheep, errorKinds.version.exit, /not of this version/);
});

test('a damaged identity is refused', async () => {
  const sheep = await cluster.spare('damaged');
  mkdirSync(sheep.dir);
  writeFileSync(join(sheep.dir, 'node.json'), '{"nodeId": "12');
  await mustRefuse(sheep, errorKinds.system.exit, /cannot use the directory .*damaged/);
});

test('a directory that cannot be made is refused', async () => {
  const file = join(cluster.folder, 'a-file');
  writeFileSync(file, '');
  const sheep = await cluster.spare('below-a-file', { dir: join(file, 'sheep') });
  await mustRefuse(sheep, errorKinds.system.exit, /cannot use the directory .*a-file/);
});

test('a directory that is read-only is refused', async () => {
  const sheep = await cluster.spare('read-only');
  mkdirSync(sheep.dir);
  if (ROOT) execFileSync('mount', ['-t', 'tmpfs', '-o', 'ro,size=1m', 'tmpfs', sheep.dir]);
  else chmodSync(sheep.dir, 0o500);
  try {
    await mustRefuse(sheep, errorKinds.system.exit, /cannot use the directory .*read-only/);
  } finally {
    if (ROOT) execFileSync('umount', [sheep.dir]);
    else chmodSync(sheep.dir, 0o700);
  }
});

test('a port in use is refused', async () => {
  const sheep = await cluster.spare('same-port', { port: cluster.sheep[1]!.port });
  await mustRefuse(sheep, errorKinds.system.exit, new RegExp(`port ${sheep.port} is in use`));
});

test('a directory that another sheep runs in is refused', async () => {
  const sheep = await cluster.spare('same-dir', { dir: cluster.sheep[2]!.dir });
  await mustRefuse(sheep, errorKinds.system.exit, /in use by another process/);
  assert.ok(await cluster.sheep[2]!.healthy());
});

test('a member whose store is gone does not pass for one that holds everything', async () => {
  const volume = new StampedVolume(4096);
  const below = seeded(1);
  await cluster.call('vdi.create', { name: 'kept', sizeBytes: volume.blocks * BLOCK_BYTES });
  const client = await NbdClient.open(cluster.sheep[0]!.nbd, 'kept');
  for (let i = 0; i < 100; i++) await volume.writeSomewhere(client, below);
  await client.flush();
  client.close();
  const victim = cluster.sheep[2]!;
  await victim.kill();
  const stores = join(victim.dir, 'store');
  // As when its disk was not mounted at boot.
  rmSync(stores, { recursive: true });
  assert.not(existsSync(stores));
  victim.spawn();
  const ended = await Promise.race([victim.end(END_DEADLINE_MS), victim.waitUp().catch(() => {})]);
  const others = await NbdClient.open(cluster.sheep[0]!.nbd, 'kept');
  await volume.check(others, 'sheep 0');
  others.close();
  if (ended !== undefined) {
    assert.match(victim.output, /is missing/);
    return;
  }
  await cluster.waitHealthy();
  const reader = await NbdClient.open(victim.nbd, 'kept');
  await volume.check(reader, 'the sheep that came back empty');
  reader.close();
  // Now it is one of two: what it lacks would be lost.
  await cluster.sheep[0]!.kill();
  const two = await NbdClient.open(victim.nbd, 'kept');
  await volume.check(two, 'the sheep that came back empty, without sheep 0');
  two.close();
});

test.run();
