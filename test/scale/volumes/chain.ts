/** A volume with ever more snapshots: what one more costs, and what reading, writing and deleting cost then. */
import { NbdClient } from '../../helpers/nbd-client.js';
import { type RealSheep, withCluster } from '../../helpers/real-cluster.js';
import { out, table } from '../table.js';
import { medianMs, medianOf, ms, STALL_HEADING, stallText, timeMs } from './figures.js';
import { Foreground } from './foreground.js';

const LENGTHS = [10, 100, 1000];
const NAME = 'chain';
const SIZE_BYTES = 2 ** 30;
const OBJECT_BYTES = 4 * 2 ** 20;
const OBJECTS = SIZE_BYTES / OBJECT_BYTES;
const SAMPLES = 100;
/** Snapshots whose median stands for the last one. */
const LAST = 7;
/** In the middle of the chain, one beside the other. */
const DELETED = 3;
const DEADLINE_MS = 30 * 60_000;

export async function reportChain(largest: number): Promise<void> {
  out('## A chain of snapshots');
  out();
  const rows: string[][] = [];
  await withCluster({ sheep: 3, deadlineMs: DEADLINE_MS }, async (cluster) => {
    const sheep = cluster.sheep[0]!;
    const foreground = await Foreground.start(cluster);
    await sheep.call('vdi.create', { name: NAME, sizeBytes: SIZE_BYTES });
    const client = await NbdClient.open(sheep.nbd, NAME);
    let made = 0;
    for (const length of LENGTHS.filter((each) => each <= largest)) {
      const growing = await foreground.during(() => grow(sheep, client, made, length));
      made = length;
      const readMs = await medianMs(SAMPLES, (i) => client.read(((i * 7) % OBJECTS) * OBJECT_BYTES, 4096));
      // In place: an object of the working version's own.
      await client.write(0, Buffer.alloc(4096, 0x33));
      const writeMs = await medianMs(SAMPLES, (i) => client.write(i * 4096, Buffer.alloc(4096, 0x33)));
      const deleting = await foreground.during(() =>
        medianMs(DELETED, (i) => sheep.call('vdi.delete', { name: NAME, tag: tagOf((length >> 1) - i) })),
      );
      rows.push([
        `${length}`,
        ms(medianOf(growing.value.slice(-LAST))),
        ms(readMs),
        ms(writeMs),
        stallText(growing.stall),
        ms(deleting.value),
        stallText(deleting.stall),
      ]);
    }
    client.close();
    await foreground.stop();
  });
  table(
    ['Snapshots', 'The last one', 'Read', 'Write', STALL_HEADING, 'Deleting in the middle', STALL_HEADING],
    rows,
  );
}

const tagOf = (number: number): string => `snapshot-${number}`;

/** Snapshots up to `length`, with a write into another object before each. Their times. */
async function grow(sheep: RealSheep, client: NbdClient, made: number, length: number): Promise<number[]> {
  const tookMs: number[] = [];
  for (let number = made; number < length; number++) {
    await client.write((number % OBJECTS) * OBJECT_BYTES, Buffer.alloc(4096, number % 251));
    tookMs.push(await timeMs(() => sheep.call('vdi.snapshot', { name: NAME, tag: tagOf(number) })));
  }
  return tookMs;
}
