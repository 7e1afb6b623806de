/** Many volumes written at once, by one client each: what the least of them gets. */
import { NbdClient } from '../../helpers/nbd-client.js';
import { type RealSheep, withCluster } from '../../helpers/real-cluster.js';
import { out, table } from '../table.js';
import { medianOf, ms, STALL_HEADING, stallText } from './figures.js';
import { Foreground } from './foreground.js';

const COUNTS = [1, 8, 64];
const SIZE_BYTES = 16 * 2 ** 20;
const BLOCK_BYTES = 4096;
const RUN_MS = 5000;
const DEADLINE_MS = 10 * 60_000;

export async function reportManyWriters(largest: number): Promise<void> {
  out('## Volumes written at once (4 KiB, one request at a time each)');
  out();
  const rows: string[][] = [];
  await withCluster({ sheep: 3, deadlineMs: DEADLINE_MS }, async (cluster) => {
    const foreground = await Foreground.start(cluster);
    for (const count of COUNTS.filter((each) => each <= largest)) {
      const { value, stall } = await foreground.during(() =>
        Promise.all(Array.from({ length: count }, (_, i) => writer(cluster.sheep[0]!, `w${count}-${i}`))),
      );
      const writes = value.map(({ length }) => length);
      const all = value.flat();
      const perSecond = writes.reduce((a, b) => a + b, 0) / (RUN_MS / 1000);
      rows.push([
        `${count}`,
        perSecond.toFixed(0),
        `${Math.min(...writes)} to ${Math.max(...writes)}`,
        `${ms(medianOf(all))} / ${ms(all.reduce((a, b) => Math.max(a, b), 0))}`,
        stallText(stall),
      ]);
    }
    await foreground.stop();
  });
  table(['Volumes', 'Writes per second', 'Writes of one volume', 'Median / longest', STALL_HEADING], rows);
}

/** Makes a volume, writes for `RUN_MS`, and gives the times of its writes. */
async function writer(sheep: RealSheep, name: string): Promise<number[]> {
  await sheep.call('vdi.create', { name, sizeBytes: SIZE_BYTES });
  const client = await NbdClient.open(sheep.nbd, name);
  const block = Buffer.alloc(BLOCK_BYTES, 0x5a);
  const tookMs: number[] = [];
  const endMs = performance.now() + RUN_MS;
  for (let offset = 0; performance.now() < endMs; offset = (offset + BLOCK_BYTES) % SIZE_BYTES) {
    const startMs = performance.now();
    await client.write(offset, block);
    tookMs.push(performance.now() - startMs);
  }
  client.close();
  return tookMs;
}
