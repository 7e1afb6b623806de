// deadline: 240 s
/** Damage of checksums and whole files, while sheep run and while they are stopped: found, and made right. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { cutReplica, flipChecksum, layoutOf, loseReplica, OBJECT_BYTES } from '../helpers/damage.js';
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

test('flipped bits in checksums are found on the disk, though memory has them right', async () => {
  const bytes = sample(4 * OBJECT_BYTES, 3);
  await bench.makeVolume('sums', 4, bytes);
  await bench.run('vdi flush sums');
  await bench.whileStopped(() => {});
  const objects = await layoutOf(cluster, 'sums', 4);
  const at = (index: number, place: number) => objects[index]!.at[place]!;
  for (const [index, { oid }] of objects.entries()) {
    flipChecksum(at(index, index % 3), oid, 17, index < 2 ? [0, 1] : [0]);
  }
  await bench.scrub();
  await bench.expectEverywhere('sums', bytes);
  // The repaired tables are what the next start finds.
  await bench.whileStopped(() => {});
  const check = await bench.run('vdi check sums -n');
  assert.is(check.stdout, 'finish check sums\n');
  await bench.expectEverywhere('sums', bytes);
});

test('a sparse object with damaged checksums never shows zeros where data was', async () => {
  assert.is((await bench.run('vdi create sparse 8M')).exit, 0);
  const client = await NbdClient.open(cluster.sheep[0]!.nbd, 'sparse');
  const one = sample(BLOCK, 5);
  await client.write(0, one);
  await client.flush();
  client.close();
  await bench.whileStopped(() => {});
  const again = await NbdClient.open(cluster.sheep[0]!.nbd, 'sparse');
  await again.write(100 * BLOCK, one);
  await again.flush();
  again.close();
  const bytes = Buffer.alloc(8 * 1024 * 1024);
  one.copy(bytes, 0);
  one.copy(bytes, 100 * BLOCK);
  const [object] = await layoutOf(cluster, 'sparse', 1);
  await bench.whileStopped(() => {
    // One replica has only its older table left, another only its newer one.
    for (const slot of [0, 1] as const) flipChecksum(object!.at[slot]!, object!.oid, 0, [slot]);
  });
  await bench.expectEverywhere('sparse', bytes);
});

test('a replica whose file is gone or cut short is made anew, also at the primary', async () => {
  const bytes = sample(4 * OBJECT_BYTES, 11);
  await bench.makeVolume('gone', 4, bytes);
  const objects = await layoutOf(cluster, 'gone', 4);
  await bench.whileStopped(() => {
    loseReplica(objects[0]!.at[0]!, objects[0]!.oid);
    loseReplica(objects[1]!.at[1]!, objects[1]!.oid);
    cutReplica(objects[2]!.at[0]!, objects[2]!.oid, 5 * BLOCK + 100);
    cutReplica(objects[3]!.at[2]!, objects[3]!.oid, 0);
  });
  // A sheep that was away for a moment may have had some of them compared already.
  const { found, repaired } = await bench.scrub();
  assert.is(found, repaired);
  assert.is((await bench.run('vdi check gone -n')).stdout, 'finish check gone\n');
  await bench.expectEverywhere('gone', bytes);
  assert.is((await bench.scrub()).found, 0);
});

test.run();
