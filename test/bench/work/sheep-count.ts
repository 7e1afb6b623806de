/** Sheepfold with fewer and with more sheep, all of them on this machine: what another sheep costs. */
import { prefill } from '../clients.js';
import type { Settings } from '../options.js';
import { say } from '../progress.js';
import { type SheepfoldTarget, startSheepfold } from '../targets.js';
import type { Workload } from '../workloads.js';
import type { WorkTable } from './table.js';
import { type Variant, variantsTable } from './variants.js';

export const SHEEP_COUNT_TITLE = '1, 3 and 6 sheep';
const SHAPES = [
  { sheep: 1, copies: 1 },
  { sheep: 3, copies: 3 },
  { sheep: 6, copies: 3 },
];

/** None when there is no row. The clusters are its own, all at once; those whose turn it is not are idle. */
export async function sheepCountTable(rows: readonly Workload[], settings: Settings): Promise<WorkTable[]> {
  if (rows.length === 0) return [];
  const clusters: SheepfoldTarget[] = [];
  try {
    const variants: Variant[] = [];
    for (const shape of SHAPES) {
      const title = `${shape.sheep} sheep, ${shape.copies} ${shape.copies === 1 ? 'copy' : 'copies'}`;
      say(`starting ${title}`);
      const cluster = await startSheepfold(settings.sizeBytes, undefined, shape);
      clusters.push(cluster);
      await prefill(cluster, settings.sizeBytes);
      variants.push({ name: `${shape.sheep}`, title, uri: cluster.uri!, pids: cluster.pids });
    }
    const notes = ['Sheep: clusters of their own, all on this machine. CPU with the start of the client.'];
    return [await variantsTable(SHEEP_COUNT_TITLE, rows, settings, variants, { own: '3', notes })];
  } finally {
    for (const cluster of clusters) await cluster.stop();
  }
}
