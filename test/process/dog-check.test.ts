// deadline: 120 s
/** `dog vdi check` on replicas that were damaged behind the back of the sheep. */
import { closeSync, openSync, readdirSync, readSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { NbdClient } from '../helpers/nbd-client.js';
import { RealCluster, type RealSheep } from '../helpers/real-cluster.js';
import { type DogResult, dog } from '../helpers/run-dog.js';

const MIB = 1024 * 1024;
const OBJECT_BYTES = 4 * MIB;
const DEADLINE_MS = 60_000;

let cluster: RealCluster;
test.before(async () => {
  cluster = await RealCluster.start();
});
test.after(() => cluster.stop());

function run(line: string, stdin?: Buffer): Promise<DogResult> {
  const one = cluster.sheep.find((sheep) => sheep.running)!;
  const words = [...line.split(' '), '-p', String(one.port)];
  return dog(words, { ...(stdin && { stdin }), deadlineMs: DEADLINE_MS });
}

function sample(bytes: number): Buffer {
  const data = Buffer.alloc(bytes);
  for (let at = 0; at < bytes; at += 4) data.writeUInt32LE(((at + 1) * 2654435761) >>> 0, at);
  return data;
}

function replicaFile(sheep: RealSheep, oid: string): string {
  const store = join(sheep.dir, 'store');
  const found = readdirSync(store, { recursive: true, encoding: 'utf8' }).find((name) => name.endsWith(oid));
  assert.ok(found, `sheep ${sheep.index} has ${oid}`);
  return join(store, found);
}

/** Flips a bit of one block. */
function damage(sheep: RealSheep, oid: string, block: number): void {
  const file = openSync(replicaFile(sheep, oid), 'r+');
  const byte = Buffer.alloc(1);
  readSync(file, byte, 0, 1, block * 4096);
  writeSync(file, Buffer.from([byte[0]! ^ 1]), 0, 1, block * 4096);
  closeSync(file);
}

function lose(sheep: RealSheep, oid: string): void {
  rmSync(replicaFile(sheep, oid));
}

/** Object ids of a volume and for each the sheep that hold it, the primary first. */
async function layout(name: string, count: number) {
  const objects = Array.from({ length: count }, async (_, index) => {
    const { oid, holders } = await cluster.call('vdi.object', { name, index });
    return { oid, at: holders.map(({ port }) => cluster.sheep.find((sheep) => sheep.port === port)!) };
  });
  return Promise.all(objects);
}

/** Does the damage while nobody runs: an open file would be kept by the sheep that has it open. */
async function whileStopped(work: () => void): Promise<void> {
  for (const sheep of cluster.sheep) await sheep.kill('SIGTERM');
  work();
  for (const sheep of cluster.sheep) sheep.spawn();
  await Promise.all(cluster.sheep.map((sheep) => sheep.waitUp()));
  await cluster.waitHealthy();
}

test('what one good replica can make right is repaired, wherever the damage is', async () => {
  const bytes = sample(6 * OBJECT_BYTES);
  assert.is((await run('vdi create cor 24M')).exit, 0);
  assert.is((await run('vdi write cor', bytes)).exit, 0);
  assert.is((await run('vdi check cor')).stdout, 'finish check&repair cor\n');
  const objects = await layout('cor', 6);
  const oid = (index: number) => objects[index]!.oid;
  await whileStopped(() => {
    damage(objects[0]!.at[1]!, oid(0), 7);
    lose(objects[1]!.at[0]!, oid(1));
    damage(objects[2]!.at[0]!, oid(2), 3);
    damage(objects[2]!.at[2]!, oid(2), 3);
    for (const [place, sheep] of objects[3]!.at.entries()) damage(sheep, oid(3), place);
    lose(objects[4]!.at[1]!, oid(4));
    lose(objects[4]!.at[2]!, oid(4));
  });
  const missing = await run('vdi check cor -e');
  assert.is(missing.exit, 1);
  assert.is(missing.stdout.match(/ is missing\.$/gm)?.length, 3);
  assert.match(missing.stdout, /^cor lost 3 object\(s\)\.$/m);
  const location = await run('vdi object location cor -i 4');
  assert.is(location.stdout.match(/ doesn't have the object$/gm)?.length, 2);
  const report = await run('vdi check cor -n');
  assert.is(report.exit, 1);
  assert.is(report.stdout.match(/ is not right$/gm)?.length, 6);
  const repair = await run('vdi check cor');
  assert.is(repair.stderr, '');
  assert.is(repair.exit, 0);
  assert.is(
    repair.stdout,
    `fixed replica ${oid(0)}\nfixed missing ${oid(1)}\n${`fixed replica ${oid(2)}\n`.repeat(2)}` +
      `${`fixed replica ${oid(3)}\n`.repeat(3)}${`fixed missing ${oid(4)}\n`.repeat(2)}finish check&repair cor\n`,
  );
  assert.is((await run('vdi check cor')).stdout, 'finish check&repair cor\n');
  assert.ok((await run('vdi read cor')).stdoutBytes.equals(bytes));
});

test('what no replica has right is told, and left as it is', async () => {
  assert.is((await run('vdi create bad 12M')).exit, 0);
  assert.is((await run('vdi write bad', sample(3 * OBJECT_BYTES))).exit, 0);
  const objects = await layout('bad', 3);
  await whileStopped(() => {
    for (const sheep of objects[1]!.at) damage(sheep, objects[1]!.oid, 5);
    for (const sheep of objects[2]!.at) lose(sheep, objects[2]!.oid);
  });
  for (let round = 0; round < 2; round++) {
    const result = await run('vdi check bad');
    assert.is(result.exit, 1);
    assert.is(result.stdout, 'finish check&repair bad\n');
    assert.is(result.stderr, `no majority of ${objects[1]!.oid}\nno node has ${objects[2]!.oid}\n`);
  }
});

test('nothing is found wrong with a volume that is being written to', async () => {
  assert.is((await run('vdi create busy 64M')).exit, 0);
  const client = await NbdClient.open(cluster.sheep[1]!.nbd, 'busy');
  let stop = false;
  const work = (async () => {
    const block = sample(64 * 1024);
    for (let i = 0; !stop; i++) {
      const at = ((i * 7) % 16) * OBJECT_BYTES;
      await client.write(at + (i % 64) * 65536, block);
      if (i % 5 === 0) await client.trim(((i * 3) % 16) * OBJECT_BYTES, OBJECT_BYTES);
    }
  })();
  for (let round = 0; round < 5; round++) {
    const result = await run('vdi check busy');
    assert.is(result.stderr, '');
    assert.is(result.stdout, 'finish check&repair busy\n');
  }
  stop = true;
  await work;
  client.close();
});

test('a volume is checked while one sheep is down, and that is told', async () => {
  assert.is((await run('vdi create part 8M')).exit, 0);
  assert.is((await run('vdi write part', sample(2 * OBJECT_BYTES))).exit, 0);
  await cluster.sheep[2]!.kill();
  const result = await run('vdi check part');
  assert.is(result.stdout, 'finish check&repair part\n');
  assert.match(result.stderr, /^3 object\(s\) have copies on sheep that are down/);
  assert.is(result.exit, 0);
  const track = await run('vdi track part -i 0');
  const newest = /^Tracking .*\n\nobj \w+ locations at epoch \d+, copies = 3\n-+\n(127\.0\.0\.1:\d+\n){2}\n/;
  assert.match(track.stdout, newest);
  assert.match(track.stdout, /locations at epoch 1, copies = 3\n-+\n(127\.0\.0\.1:\d+\n){3}$/);
});

test.run();
