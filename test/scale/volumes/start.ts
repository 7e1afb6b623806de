/** How long a sheep takes to start, and what it holds in memory, with ever more objects in its store. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { systemClock } from '../../../src/base/clock.js';
import { silentLogger } from '../../../src/base/log.js';
import { openFileDisk } from '../../../src/store/file-disk.js';
import { openStore } from '../../../src/store/open-store.js';
import { readSuperblock } from '../../../src/store/superblock.js';
import { dataOid } from '../../../src/wire/oid.js';
import { type RealSheep, withCluster } from '../../helpers/real-cluster.js';
import { out, table } from '../table.js';
import { ms, residentMiB, timeMs } from './figures.js';

const COUNTS = [0, 10_000, 100_000, 1_000_000];
/** A million takes half an hour and 20 GB: only when it is asked for, with `--largest`. */
const USUAL_COUNT = 100_000;
const AT_ONCE = 64;
/** Objects between two checkpoints: fewer than the store keeps open. */
const BATCH = 2048;
const EPOCH = 1;
const BLOCK_BYTES = 4096;
const OBJECT_BYTES = 4 * 2 ** 20;
const NAME = 'objects';
const DEADLINE_MS = 120 * 60_000;

export async function reportStart(largest: number): Promise<void> {
  out('## Starting with many objects in the store (one sheep, one copy)');
  out();
  const most = Number.isFinite(largest) ? largest : USUAL_COUNT;
  const counts = COUNTS.filter((each) => each <= most);
  const rows: string[][] = [];
  await withCluster({ sheep: 1, copies: 1, deadlineMs: DEADLINE_MS }, async (cluster) => {
    const sheep = cluster.sheep[0]!;
    const sizeBytes = Math.max(...counts, 1) * OBJECT_BYTES;
    const { vid } = await sheep.call('vdi.create', { name: NAME, sizeBytes });
    let made = 0;
    for (const count of counts) {
      await sheep.kill('SIGTERM');
      await makeObjects(sheep, vid, made, count);
      made = count;
      const row = [`${count}`];
      for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
        await sheep.kill(signal);
        row.push(ms(await timeMs(() => sheep.start())));
      }
      rows.push([...row, residentMiB(cluster)]);
    }
  });
  table(['Objects', 'Start after SIGTERM', 'Start after SIGKILL', 'Resident after it'], rows);
}

/**
 * Objects of a volume from number `from` up to number `to`, by the store's own code in the store of a sheep that does
 * not run. One block in each; the volume's index does not name them, which a start does not look at.
 */
async function makeObjects({ dir }: RealSheep, vid: number, from: number, to: number): Promise<void> {
  const stores = join(dir, 'store');
  const disk = openFileDisk(join(stores, readdirSync(stores)[0]!));
  const identity = readSuperblock(disk)!;
  const { bootId } = identity;
  const store = await openStore({ disk, clock: systemClock, log: silentLogger, identity, bootId });
  const data = Buffer.alloc(BLOCK_BYTES, 0x5a);
  const one = (number: number) =>
    store.write({
      ...{ oid: dataOid(vid, number), objectBytes: OBJECT_BYTES, mode: 'create', epoch: EPOCH },
      ...{ offset: 0, sync: false, data },
    });
  for (let first = from; first < to; first += BATCH) {
    const end = Math.min(first + BATCH, to);
    for (let at = first; at < end; at += AT_ONCE) {
      const count = Math.min(AT_ONCE, end - at);
      await Promise.all(Array.from({ length: count }, (_, i) => one(at + i)));
    }
    await store.checkpoint();
  }
  await store.close();
}
