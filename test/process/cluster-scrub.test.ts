// deadline: 180 s
/** Bits flipped in the stores of running sheep: what is read stays right, and a scrub makes everything right again. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  cutReplica,
  flipBlock,
  flipChecksum,
  layoutOf,
  loseReplica,
  OBJECT_BYTES,
} from '../helpers/damage.js';
import { NbdClient } from '../helpers/nbd-client.js';
import { RealCluster } from '../helpers/real-cluster.js';
import { type DogResult, dog } from '../helpers/run-dog.js';

const BLOCK = 4096;
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

function sample(bytes: number, seed = 1): Buffer {
  const data = Buffer.alloc(bytes);
  for (let at = 0; at < bytes; at += 4) data.writeUInt32LE(((at + seed) * 2654435761) >>> 0, at);
  return data;
}

async function makeVolume(name: string, objects: number, data: Buffer): Promise<void> {
  assert.is((await run(`vdi create ${name} ${objects * 4}M`)).exit, 0);
  assert.is((await run(`vdi write ${name}`, data)).exit, 0);
}

/** Reads through every sheep's own door. */
async function expectEverywhere(name: string, bytes: Buffer): Promise<void> {
  for (const sheep of cluster.sheep) {
    const client = await NbdClient.open(sheep.nbd, name);
    for (let at = 0; at < bytes.length; at += 65536) {
      const length = Math.min(65536, bytes.length - at);
      const found = await client.read(at, length);
      assert.ok(found.equals(bytes.subarray(at, at + length)), `sheep ${sheep.index} is right at ${at}`);
    }
    client.close();
  }
}

async function scrub(): Promise<{ found: number; repaired: number; unrepairable: number; tookMs: number }> {
  const startMs = performance.now();
  const result = await run('cluster scrub start -w --json');
  const tookMs = performance.now() - startMs;
  assert.is(result.stderr, '');
  const status = JSON.parse(result.stdout);
  const sum = (key: string) =>
    status.nodes.reduce((all: number, node: { last: Record<string, number> }) => all + node.last[key]!, 0);
  assert.is(result.exit, status.unrepairable.length > 0 ? 1 : 0);
  return { found: sum('found'), repaired: sum('repaired'), unrepairable: status.unrepairable.length, tookMs };
}

test('flipped bits in data are never served, and a scrub repairs all of them', async () => {
  const bytes = sample(8 * OBJECT_BYTES);
  await makeVolume('data', 8, bytes);
  const objects = await layoutOf(cluster, 'data', 8);
  const at = (index: number, place: number) => objects[index]!.at[place]!;
  const oid = (index: number) => objects[index]!.oid;
  flipBlock(at(0, 0), oid(0), 7);
  flipBlock(at(1, 1), oid(1), 3);
  flipBlock(at(2, 2), oid(2), 1023);
  // Different blocks on all replicas: no whole one is left.
  for (const place of [0, 1, 2]) flipBlock(at(3, place), oid(3), 10 * place);
  // The same block on two.
  for (const place of [0, 1]) flipBlock(at(4, place), oid(4), 5);
  for (let block = 100; block < 164; block++) flipBlock(at(5, 1), oid(5), block);
  const { found, repaired, tookMs } = await scrub();
  process.stdout.write(`8 objects of 4 MiB on three sheep scrubbed in ${Math.round(tookMs)} ms\n`);
  assert.is(found, 6);
  assert.is(repaired, 6);
  await expectEverywhere('data', bytes);
  assert.is((await scrub()).found, 0);
  for (const place of [0, 1]) flipBlock(at(6, place), oid(6), 9);
  await expectEverywhere('data', bytes);
});

test('flipped bits in checksums are found on the disk, though memory has them right', async () => {
  const bytes = sample(4 * OBJECT_BYTES, 3);
  await makeVolume('sums', 4, bytes);
  await run('vdi flush sums');
  await checkpointAll();
  const objects = await layoutOf(cluster, 'sums', 4);
  const at = (index: number, place: number) => objects[index]!.at[place]!;
  for (const [index, { oid }] of objects.entries()) {
    flipChecksum(at(index, index % 3), oid, 17, index < 2 ? [0, 1] : [0]);
  }
  await scrub();
  await expectEverywhere('sums', bytes);
  // The repaired tables are what the next start finds.
  await checkpointAll();
  const check = await run('vdi check sums -n');
  assert.is(check.stdout, 'finish check sums\n');
  await expectEverywhere('sums', bytes);
});

/** Stops every sheep cleanly, so that tables are on the disk and nothing is in memory, and starts them again. */
async function checkpointAll(): Promise<void> {
  await whileStopped(() => {});
}

async function whileStopped(work: () => void): Promise<void> {
  await Promise.all(cluster.sheep.map((sheep) => sheep.kill('SIGTERM')));
  work();
  for (const sheep of cluster.sheep) sheep.spawn();
  await Promise.all(cluster.sheep.map((sheep) => sheep.waitUp()));
  await cluster.waitHealthy();
}

test('a sparse object with damaged checksums never shows zeros where data was', async () => {
  assert.is((await run('vdi create sparse 8M')).exit, 0);
  const client = await NbdClient.open(cluster.sheep[0]!.nbd, 'sparse');
  const one = sample(BLOCK, 5);
  await client.write(0, one);
  await client.flush();
  client.close();
  await checkpointAll();
  const again = await NbdClient.open(cluster.sheep[0]!.nbd, 'sparse');
  await again.write(100 * BLOCK, one);
  await again.flush();
  again.close();
  const bytes = Buffer.alloc(8 * 1024 * 1024);
  one.copy(bytes, 0);
  one.copy(bytes, 100 * BLOCK);
  const [object] = await layoutOf(cluster, 'sparse', 1);
  await whileStopped(() => {
    // One replica has only its older table left, another only its newer one.
    for (const slot of [0, 1] as const) flipChecksum(object!.at[slot]!, object!.oid, 0, [slot]);
  });
  await expectEverywhere('sparse', bytes);
});

test('a block that is bad everywhere fails alone, is told with its place, and heals when it is written', async () => {
  const bytes = sample(2 * OBJECT_BYTES, 7);
  await makeVolume('lost', 2, bytes);
  const [, object] = await layoutOf(cluster, 'lost', 2);
  for (const sheep of object!.at) flipBlock(sheep, object!.oid, 50);
  const offset = OBJECT_BYTES + 50 * BLOCK;
  assert.is((await scrub()).unrepairable, 1);
  const status = await run('cluster scrub status');
  assert.is(status.exit, 1);
  assert.is(status.stderr, `no replica is right: lost at ${offset} (object ${object!.oid})\n`);
  for (const sheep of cluster.sheep) {
    const client = await NbdClient.open(sheep.nbd, 'lost');
    await assertFails(() => client.read(offset, BLOCK));
    await assertFails(() => client.read(offset + 512, 512));
    for (const at of [offset - BLOCK, offset + BLOCK]) {
      assert.ok((await client.read(at, BLOCK)).equals(bytes.subarray(at, at + BLOCK)));
    }
    client.close();
  }
  await changeWhileOneIsAway('lost', offset + BLOCK);
  bytes.fill(9, offset + BLOCK, offset + 2 * BLOCK);
  for (const sheep of cluster.sheep) {
    const again = await NbdClient.open(sheep.nbd, 'lost');
    await assertFails(() => again.read(offset, BLOCK));
    again.close();
  }
  const client = await NbdClient.open(cluster.sheep[0]!.nbd, 'lost');
  await assertFails(() => client.write(offset + 512, sample(512)));
  await client.write(offset, bytes.subarray(offset, offset + BLOCK));
  client.close();
  await expectEverywhere('lost', bytes);
  assert.equal(await scrub().then(({ found, unrepairable }) => [found, unrepairable]), [0, 0]);
});

/** Each sheep misses a change of the object, so that recovery makes its replica equal to the others'. */
async function changeWhileOneIsAway(name: string, offset: number): Promise<void> {
  for (const away of cluster.sheep) {
    await away.kill();
    const other = cluster.sheep.find((sheep) => sheep !== away)!;
    const client = await NbdClient.open(other.nbd, name);
    await client.write(offset, Buffer.alloc(BLOCK, 9));
    client.close();
    await away.start();
    await cluster.waitHealthy();
  }
}

async function assertFails(work: () => Promise<unknown>): Promise<void> {
  const error = await work().then(
    () => undefined,
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof Error);
}

test('a replica whose file is gone or cut short is made anew, also at the primary', async () => {
  const bytes = sample(4 * OBJECT_BYTES, 11);
  await makeVolume('gone', 4, bytes);
  const objects = await layoutOf(cluster, 'gone', 4);
  await whileStopped(() => {
    loseReplica(objects[0]!.at[0]!, objects[0]!.oid);
    loseReplica(objects[1]!.at[1]!, objects[1]!.oid);
    cutReplica(objects[2]!.at[0]!, objects[2]!.oid, 5 * BLOCK + 100);
    cutReplica(objects[3]!.at[2]!, objects[3]!.oid, 0);
  });
  const { found, repaired } = await scrub();
  assert.equal([found, repaired], [4, 4]);
  await expectEverywhere('gone', bytes);
  assert.is((await scrub()).found, 0);
});

test.run();
