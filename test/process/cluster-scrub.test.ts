// deadline: 240 s
/** Bits flipped in the stores of running sheep: what is read stays right, and a scrub makes everything right again. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { flipBlock, layoutOf, OBJECT_BYTES } from '../helpers/damage.js';
import { NbdClient } from '../helpers/nbd-client.js';
import { RealCluster } from '../helpers/real-cluster.js';
import { BLOCK, ScrubBench, sample } from './cluster-scrub-bench.js';

let cluster: RealCluster;
let bench: ScrubBench;
test.before(async () => {
  cluster = await RealCluster.start();
  bench = new ScrubBench(cluster);
});
test.after(() => cluster.stop());

test('flipped bits in data are never served, and a scrub repairs all of them', async () => {
  const bytes = sample(8 * OBJECT_BYTES);
  await bench.makeVolume('data', 8, bytes);
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
  const { found, repaired, tookMs } = await bench.scrub();
  process.stdout.write(`8 objects of 4 MiB on three sheep scrubbed in ${Math.round(tookMs)} ms\n`);
  assert.is(found, 6);
  assert.is(repaired, 6);
  await bench.expectEverywhere('data', bytes);
  assert.is((await bench.scrub()).found, 0);
  for (const place of [0, 1]) flipBlock(at(6, place), oid(6), 9);
  await bench.expectEverywhere('data', bytes);
});

test('a block that is bad everywhere fails alone, is told with its place, and heals when it is written', async () => {
  const bytes = sample(2 * OBJECT_BYTES, 7);
  await bench.makeVolume('lost', 2, bytes);
  const [, object] = await layoutOf(cluster, 'lost', 2);
  for (const sheep of object!.at) flipBlock(sheep, object!.oid, 50);
  const offset = OBJECT_BYTES + 50 * BLOCK;
  assert.is((await bench.scrub()).unrepairable, 1);
  const status = await bench.run('cluster scrub status');
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
  await bench.expectEverywhere('lost', bytes);
  assert.equal(await bench.scrub().then(({ found, unrepairable }) => [found, unrepairable]), [0, 0]);
});

/** Two sheep miss a change of the object, so that recovery makes its replica equal to the others'. */
async function changeWhileOneIsAway(name: string, offset: number): Promise<void> {
  for (const away of cluster.sheep.slice(0, 2)) {
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

test.run();
