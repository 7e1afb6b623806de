/** `vdi list` of ever more volumes, and what it costs to make them. */
import { forEachLimit } from '../../../src/base/signal.js';
import { dogDone } from '../../helpers/dog-of.js';
import { withCluster } from '../../helpers/real-cluster.js';
import { out, table } from '../table.js';
import { medianMs, ms, residentMiB, STALL_HEADING, stallText, timeMs } from './figures.js';
import { Foreground } from './foreground.js';

const SIZES = [1000, 3000, 10_000];
const AT_ONCE = 8;
const LISTS = 5;
const SIZE_BYTES = 2 ** 30;
const DEADLINE_MS = 30 * 60_000;

export async function reportList(largest: number): Promise<void> {
  out('## Listing many volumes');
  out();
  const rows: string[][] = [];
  await withCluster({ sheep: 3, deadlineMs: DEADLINE_MS }, async (cluster) => {
    const sheep = cluster.sheep[0]!;
    const foreground = await Foreground.start(cluster);
    let made = 0;
    for (const size of SIZES.filter((each) => each <= largest)) {
      const numbers = Array.from({ length: size - made }, (_, i) => made + i);
      const making = await foreground.during(() =>
        timeMs(() =>
          forEachLimit(numbers, AT_ONCE, async (number) => {
            await sheep.call('vdi.create', { name: `volume-${number}`, sizeBytes: SIZE_BYTES });
          }),
        ),
      );
      made = size;
      const listing = await foreground.during(() => medianMs(LISTS, () => sheep.call('vdi.list', {})));
      const dogMs = await medianMs(LISTS, () => dogDone(sheep, 'vdi list -r'));
      rows.push([
        `${size}`,
        ms(making.value / numbers.length),
        stallText(making.stall),
        ms(listing.value),
        stallText(listing.stall),
        ms(dogMs),
        residentMiB(cluster),
      ]);
    }
    await foreground.stop();
  });
  const create = `Creating one, ${AT_ONCE} at a time`;
  table(
    [
      'Volumes',
      create,
      STALL_HEADING,
      'Listing all',
      STALL_HEADING,
      'dog vdi list, without its start',
      'Resident',
    ],
    rows,
  );
}
