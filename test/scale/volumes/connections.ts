/** Ever more open NBD connections to one sheep, all but one of them quiet. */
import { NbdClient } from '../../helpers/nbd-client.js';
import { withCluster } from '../../helpers/real-cluster.js';
import { out, table } from '../table.js';
import { medianMs, ms, residentMiB, STALL_HEADING, stallText, timeMs } from './figures.js';
import { Foreground } from './foreground.js';

const COUNTS = [1, 100, 1000];
const VOLUMES = 10;
const SIZE_BYTES = 64 * 2 ** 20;
const SAMPLES = 500;
const DEADLINE_MS = 10 * 60_000;

export async function reportConnections(largest: number): Promise<void> {
  out(`## Open NBD connections, over ${VOLUMES} volumes`);
  out();
  const rows: string[][] = [];
  await withCluster({ sheep: 3, deadlineMs: DEADLINE_MS }, async (cluster) => {
    const sheep = cluster.sheep[0]!;
    for (let volume = 0; volume < VOLUMES; volume++) {
      await sheep.call('vdi.create', { name: `volume-${volume}`, sizeBytes: SIZE_BYTES });
    }
    const foreground = await Foreground.start(cluster);
    const clients: NbdClient[] = [];
    for (const count of COUNTS.filter((each) => each <= largest)) {
      const more = count - clients.length;
      const opening = await foreground.during(() =>
        timeMs(async () => {
          while (clients.length < count) {
            clients.push(await NbdClient.open(sheep.nbd, `volume-${clients.length % VOLUMES}`));
          }
        }),
      );
      await clients[0]!.write(0, Buffer.alloc(4096, 0x5a));
      const readMs = await medianMs(SAMPLES, () => clients[0]!.read(0, 4096));
      const opened = ms(opening.value / more);
      rows.push([`${count}`, opened, stallText(opening.stall), ms(readMs), residentMiB(cluster)]);
    }
    for (const client of clients) client.close();
    await foreground.stop();
  });
  table(['Connections', 'Opening one', STALL_HEADING, 'Read of 4 KiB', 'Resident'], rows);
}
