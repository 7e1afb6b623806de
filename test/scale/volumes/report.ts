import { describeMachine } from '../../bench/measure.js';
import { out } from '../table.js';
import { reportChain } from './chain.js';
import { reportConnections } from './connections.js';
import { reportList } from './list.js';
import { reportManyWriters } from './many-writers.js';
import { reportQuiet } from './quiet.js';
import { reportSnapshots } from './snapshots.js';
import { reportStart } from './start.js';

/** Each makes a cluster of its own and prints one table; sizes above `largest` are left out. */
const cases: Readonly<Record<string, (largest: number) => Promise<void>>> = {
  list: reportList,
  snapshots: reportSnapshots,
  chain: reportChain,
  connections: reportConnections,
  start: reportStart,
  writers: reportManyWriters,
};

export const caseNames = Object.keys(cases);

export async function reportVolumes(names: readonly string[], largest: number): Promise<void> {
  out('# Many volumes, snapshots, connections and objects');
  out();
  const { processor, processors, loadAverage } = describeMachine({});
  out(`Real sheep on one machine: ${processor}, ${processors} cores shared by clients and sheep.`);
  out(`Load average at the start: ${loadAverage.join(', ')}.`);
  out();
  await reportQuiet();
  for (const name of names) {
    const run = cases[name];
    if (run === undefined) throw new Error(`no case ${name}: ${caseNames.join(', ')}`);
    await run(largest);
  }
}
