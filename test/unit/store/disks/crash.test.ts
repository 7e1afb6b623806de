/**
 * A node with two disks is crashed at operations of each of them, by a kill and by a power cut, while objects are
 * changed and moved between the disks; then it is opened again and compared with the model of the store's own crash
 * test. SHEEPFOLD_CRASH_SEEDS=n runs more seeds.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { DiskSet } from '../../../../src/store/disks/disk-set.js';
import type { FakeDisk } from '../../../helpers/fake-disk.js';
import { Workload } from '../crash-model.js';
import { deadline, disksWith, fakeDisk, lifeOf, openSet, put } from './helpers.js';

const limits = { segmentBytes: 128 << 10, directBytes: 8192, reserveBytes: 64 << 10, maxUncommitted: 16 };
const ROUNDS = 16;
/** Every so many operations there is a crash: each one takes more time than a quick test has. */
const STEP = Number(process.env.SHEEPFOLD_CRASH_STEP ?? 5);
const seeds = Number(process.env.SHEEPFOLD_CRASH_SEEDS ?? 1);
const firstSeed = Number(process.env.SHEEPFOLD_CRASH_FIRST ?? 1);
let moves = 0;

/** Families change their root, upon which their objects belong elsewhere and move. */
async function stir(set: DiskSet, roots: Map<number, number>, isOver: () => boolean): Promise<void> {
  for (let round = 0; !isOver(); round++) {
    for (const vid of [1, 2]) roots.set(vid, vid + 16 * round);
    set.rebalancer.wake();
    await new Promise((resolve) => setImmediate(resolve));
  }
}

async function crashOnce(seed: number, which: number, crashAt: number, powerCut: boolean): Promise<boolean> {
  const disks = [0, 1].map((i) => fakeDisk({}, seed * 1000 + crashAt * 2 + i));
  const roots = new Map<number, number>();
  const workload = new Workload(seed);
  const lives = disks.map(lifeOf);
  const set = await openSet(
    lives.map((life) => life.disk),
    { limits, rootOf: (vid) => roots.get(vid) },
  );
  const struck = disks[which]!;
  struck.crashAtOp(struck.opCount + crashAt);
  let over = false;
  const stirring = stir(set, roots, () => over).catch(() => {});
  const work = workload.run(set, ROUNDS).then(() => 'done');
  work.catch(() => {});
  const end = await deadline(
    Promise.race([work.catch(() => 'failed'), struck.crashed.then(() => 'crashed')]),
  );
  if (end === 'failed' && !struck.frozen) {
    over = true;
    throw workload.errors[0];
  }
  // The other disk belongs to the same process: nothing gets there any more either.
  for (const life of lives) life.end();
  for (const disk of disks) disk.frozen = true;
  over = true;
  moves += set.moved.objects;
  await deadline(stirring);
  for (const disk of disks) disk.crash({ powerCut });
  const again = await openSet(disks, { limits, bootId: powerCut ? 'boot-2' : 'boot' });
  const complaints = await workload.check(again, powerCut);
  complaints.push(...twice(workload, disks));
  if (again.incomplete) complaints.push('the set is incomplete');
  await put(again, 77n, 1, { sync: true });
  await deadline(again.close());
  if (complaints.length > 0) {
    const when = `seed ${seed}, crash at ${crashAt} of disk ${which}, power cut ${powerCut}`;
    throw new Error(`${when}: ${complaints.join('; ')}`);
  }
  return end === 'done';
}

function twice(workload: Workload, disks: readonly FakeDisk[]): string[] {
  const oids = [...workload.objects.keys()].filter((oid) => disksWith(disks, oid).length > 1);
  return oids.map((oid) => `object ${oid.toString(16)} is on two disks`);
}

for (const powerCut of [false, true]) {
  for (const which of [0, 1]) {
    test(`a ${powerCut ? 'power cut' : 'kill'} at any operation of disk ${which} loses nothing`, async () => {
      for (let seed = firstSeed; seed < firstSeed + seeds; seed++) {
        for (let crashAt = which; ; crashAt += STEP)
          if (await crashOnce(seed, which, crashAt, powerCut)) break;
      }
    });
  }
}

test('objects moved meanwhile', () => {
  assert.ok(moves > 30, `${moves} moves`);
});

test.run();
