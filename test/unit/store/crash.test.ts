/**
 * The store is crashed at every operation of the disk, by a kill and by a power cut, opened again (and crashed
 * again while it recovers), and compared with a model. SHEEPFOLD_CRASH_SEEDS=n runs more
 * seeds, SHEEPFOLD_CRASH_ROUNDS=n longer ones.
 */
import { test } from 'uvu';
import { SeededRandom } from '../../../src/base/random.js';
import { CrashError } from '../../helpers/fake-disk.js';
import { Workload } from './crash-model.js';
import { deadline, fakeDisk, openFake } from './helpers.js';

const limits = { segmentBytes: 128 << 10, directBytes: 8192, reserveBytes: 64 << 10, maxUncommitted: 16 };
const ROUNDS = Number(process.env.SHEEPFOLD_CRASH_ROUNDS ?? 8);
const seeds = Number(process.env.SHEEPFOLD_CRASH_SEEDS ?? 1);
const firstSeed = Number(process.env.SHEEPFOLD_CRASH_FIRST ?? 1);

async function crashOnce(seed: number, crashAt: number, powerCut: boolean): Promise<boolean> {
  const disk = fakeDisk({}, seed * 1000 + crashAt);
  const random = new SeededRandom(crashAt);
  const workload = new Workload(seed);
  const opened = await openFake(disk, { limits });
  disk.crashAtOp(disk.opCount + crashAt);
  const work = workload.run(opened, ROUNDS).then(() => 'done');
  work.catch(() => {});
  const end = await deadline(Promise.race([work.catch(() => 'failed'), disk.crashed.then(() => 'crashed')]));
  if (end === 'failed' && !disk.frozen) throw workload.errors[0];
  disk.crash({ powerCut });
  let bootId = powerCut ? 'boot-2' : 'boot';
  let power = powerCut;
  if (random.chance(0.4)) {
    // Crashed once more, in the middle of recovery.
    disk.crashAtOp(disk.opCount + random.below(40));
    const store = await openFake(disk, { limits, bootId }).catch((error) => error as Error);
    const cause = store instanceof Error ? store.cause : undefined;
    if (store instanceof Error && !(store instanceof CrashError) && !(cause instanceof CrashError))
      throw store;
    const again = random.chance(0.5);
    disk.crash({ powerCut: again });
    if (again) bootId = 'boot-3';
    power ||= again;
  }
  const store = await openFake(disk, { limits, bootId });
  const complaints = await workload.check(store, power);
  // And it works on: a fresh write and a clean close.
  await deadline(
    store.write({
      oid: 77n,
      objectBytes: 4096,
      mode: 'create',
      epoch: 9,
      offset: 0,
      data: new Uint8Array(4096),
      sync: true,
    }),
  );
  await deadline(store.close());
  if (complaints.length > 0) {
    throw new Error(`seed ${seed}, crash at ${crashAt}, power cut ${powerCut}: ${complaints.join('; ')}`);
  }
  return end === 'done';
}

for (const powerCut of [false, true]) {
  test(`a ${powerCut ? 'power cut' : 'kill'} at every disk operation loses nothing that was promised`, async () => {
    for (let seed = firstSeed; seed < firstSeed + seeds; seed++) {
      for (let crashAt = 0; ; crashAt++) if (await crashOnce(seed, crashAt, powerCut)) break;
    }
  });
}

test.run();
