/** Snapshots of a volume that is empty, and of a large one with objects all over it. */
import { forEachLimit } from '../../../src/base/signal.js';
import { NbdClient } from '../../helpers/nbd-client.js';
import { type RealSheep, withCluster } from '../../helpers/real-cluster.js';
import { out, table } from '../table.js';
import { medianOf, ms, STALL_HEADING, stallText, timeMs } from './figures.js';
import { Foreground } from './foreground.js';

const LARGE_BYTES = 4 * 2 ** 40;
const OBJECTS = [0, 1000, 4000];
const ROUNDS = 7;
const AT_ONCE = 32;
const DEADLINE_MS = 30 * 60_000;

interface Times {
  readonly snapshotMs: number[];
  readonly cloneMs: number[];
  readonly rollbackMs: number[];
  readonly deleteMs: number[];
}

export async function reportSnapshots(largest: number): Promise<void> {
  out('## Snapshots of a thin volume of 4 TiB');
  out();
  const rows: string[][] = [];
  await withCluster({ sheep: 3, deadlineMs: DEADLINE_MS }, async (cluster) => {
    const sheep = cluster.sheep[0]!;
    const foreground = await Foreground.start(cluster);
    for (const objects of OBJECTS.filter((each) => each <= largest)) {
      const name = `large-${objects}`;
      await sheep.call('vdi.create', { name, sizeBytes: LARGE_BYTES });
      await writeAllOver(sheep, name, objects);
      const { value, stall } = await foreground.during(() => rounds(sheep, name));
      const { snapshotMs, cloneMs, rollbackMs, deleteMs } = value;
      const times = [snapshotMs, cloneMs, rollbackMs, deleteMs].map((each) => ms(medianOf(each)));
      rows.push([`${objects}`, ...times, stallText(stall)]);
    }
    await foreground.stop();
  });
  table(['Objects', 'Snapshot', 'Clone', 'Rollback', 'Deleting a snapshot', STALL_HEADING], rows);
}

/** One block into each of so many objects, evenly over the whole volume. */
async function writeAllOver(sheep: RealSheep, name: string, objects: number): Promise<void> {
  if (objects === 0) return;
  const client = await NbdClient.open(sheep.nbd, name);
  const block = Buffer.alloc(4096, 0x5a);
  const strideBytes = Math.floor(LARGE_BYTES / objects / block.length) * block.length;
  await forEachLimit(Array(objects).keys(), AT_ONCE, (i) => client.write(i * strideBytes, block));
  await client.flush();
  client.close();
}

async function rounds(sheep: RealSheep, name: string): Promise<Times> {
  const times: Times = { snapshotMs: [], cloneMs: [], rollbackMs: [], deleteMs: [] };
  for (let round = 0; round < ROUNDS; round++) {
    const tag = `tag-${round}`;
    const clone = `${name}-clone-${round}`;
    times.snapshotMs.push(await timeMs(() => sheep.call('vdi.snapshot', { name, tag })));
    times.cloneMs.push(await timeMs(() => sheep.call('vdi.clone', { source: { name, tag }, name: clone })));
    times.rollbackMs.push(await timeMs(() => sheep.call('vdi.rollback', { name, tag })));
    await sheep.call('vdi.delete', { name: clone });
    times.deleteMs.push(await timeMs(() => sheep.call('vdi.delete', { name, tag })));
  }
  return times;
}
