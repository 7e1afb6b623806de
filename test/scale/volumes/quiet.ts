/** The yardstick for all other tables: how the foreground client fares when nothing else goes on. */
import { sleep, systemClock } from '../../../src/base/clock.js';
import { withCluster } from '../../helpers/real-cluster.js';
import { out } from '../table.js';
import { stallText } from './figures.js';
import { Foreground } from './foreground.js';

const QUIET_MS = 20_000;
const DEADLINE_MS = 2 * 60_000;

export async function reportQuiet(): Promise<void> {
  await withCluster({ sheep: 3, deadlineMs: DEADLINE_MS }, async (cluster) => {
    const foreground = await Foreground.start(cluster);
    const { stall } = await foreground.during(() => sleep(systemClock, QUIET_MS));
    await foreground.stop();
    out(
      `Foreground write with nothing else going on for ${QUIET_MS / 1000} s, median / longest: ${stallText(stall)}.`,
    );
    out();
  });
}
