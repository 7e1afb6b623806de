/** A chain of snapshots in the middle of which most are deleted again: their room comes back, the others stay whole. */
import * as assert from 'uvu/assert';
import { forEachLimit } from '../../src/base/signal.js';
import { seeded } from '../helpers/mirror-oracle.js';
import { NbdClient } from '../helpers/nbd-client.js';
import { objectDiskBytes, type RealCluster, within } from '../helpers/real-cluster.js';
import { BLOCK_BYTES, StampedVolume } from '../helpers/stamped-volume.js';

const OBJECT_SHIFT = 20;
const OBJECT_BYTES = 1 << OBJECT_SHIFT;
const OBJECT_BLOCKS = OBJECT_BYTES / BLOCK_BYTES;
/** Step i rewrites object i % CYCLE, so a snapshot sees the versions of this many steps. */
const CYCLE = 4;
/** Objects behind those of the cycle, for small writes anywhere. */
const LOOSE_OBJECTS = 4;
const DELETES_AT_ONCE = 4;

export async function chainRun(cluster: RealCluster, snapshots: number, keepEvery: number): Promise<void> {
  const below = seeded(Number(process.env.SEED ?? 5));
  const volume = new StampedVolume((CYCLE + LOOSE_OBJECTS) * OBJECT_BLOCKS);
  const sizeBytes = volume.blocks * BLOCK_BYTES;
  await cluster.call('vdi.create', { name: 'disk', sizeBytes, blockSizeShift: OBJECT_SHIFT });
  const client = await NbdClient.open(cluster.sheep[0]!.nbd, 'disk');
  const states: StampedVolume[] = [];
  for (let step = 0; step < snapshots; step++) {
    await volume.writeAt(client, (step % CYCLE) * OBJECT_BLOCKS, OBJECT_BLOCKS);
    await volume.writeAt(client, (CYCLE + below(LOOSE_OBJECTS)) * OBJECT_BLOCKS + below(OBJECT_BLOCKS), 1);
    await cluster.call('vdi.snapshot', { name: 'disk', tag: `s${step}` });
    states.push(volume.frozen());
  }
  const isKept = (step: number) => step < CYCLE || step >= snapshots - CYCLE || step % keepEvery === 0;
  const steps = states.map((_, step) => step);
  const before = cluster.sheep.map((one) => objectDiskBytes(one.dir));
  await deleteAll(
    cluster,
    steps.filter((step) => !isKept(step)),
    below,
  );
  const freedBytes = unseen(snapshots, isKept) * OBJECT_BYTES;
  for (const [i, one] of cluster.sheep.entries()) {
    await within(30_000, `sheep ${i} frees ${freedBytes} bytes`, () => {
      return before[i]! - objectDiskBytes(one.dir) >= freedBytes;
    });
  }
  for (const step of steps.filter(isKept)) {
    const reader = await NbdClient.open(cluster.sheep[step % 3]!.nbd, `disk@s${step}`);
    await states[step]!.check(reader, `disk@s${step}`);
    reader.close();
  }
  await volume.check(client, 'the working volume');
  client.close();
  const rows = await cluster.call('vdi.list', { name: 'disk' });
  assert.is(rows.length, steps.filter(isKept).length + 1);
  const after = cluster.sheep.map((one) => objectDiskBytes(one.dir));
  process.stdout.write(`${snapshots} snapshots: ${before.join(' ')} bytes, then ${after.join(' ')}\n`);
}

/** In random order, some at a time, through all sheep. */
async function deleteAll(
  cluster: RealCluster,
  steps: number[],
  below: (below: number) => number,
): Promise<void> {
  const order = steps.map((step) => ({ step, at: below(1 << 30) })).sort((a, b) => a.at - b.at);
  await forEachLimit(order, DELETES_AT_ONCE, async ({ step }) => {
    await cluster.sheep[step % 3]!.call('vdi.delete', { name: 'disk', tag: `s${step}` });
  });
}

/** Versions of cycle objects that no snapshot that is kept shows, nor the working volume. */
function unseen(snapshots: number, isKept: (step: number) => boolean): number {
  let count = 0;
  for (let version = 0; version < snapshots; version++) {
    const shows = Array.from({ length: CYCLE }, (_, i) => version + i);
    if (!shows.some((step) => step >= snapshots || isKept(step))) count++;
  }
  return count;
}
