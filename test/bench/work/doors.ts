/** The same volume of Sheepfold by its two doors for QEMU: NBD, and the sheepdog protocol. */
import { type OldQemu, oldQemu } from '../../helpers/old-qemu.js';
import type { Settings } from '../options.js';
import { peerRows } from '../peers/rows.js';
import { say } from '../progress.js';
import { type SheepfoldTarget, VOLUME } from '../targets.js';
import type { Workload } from '../workloads.js';
import type { WorkTable } from './table.js';
import { type Variant, variantsTable } from './variants.js';

export const DOORS_TITLE = 'NBD door and sheepdog door';
const ROWS = ['4 KiB durable write, depth 32', '4 KiB scattered read, depth 32', '1 MiB read, depth 8'];

export function doorRows(sizeBytes: number): Workload[] {
  return peerRows(sizeBytes).filter(({ name }) => ROWS.includes(name));
}

/** None when there is no row, or no client. */
export async function doorsTable(
  rows: readonly Workload[],
  settings: Settings,
  target: SheepfoldTarget,
): Promise<WorkTable[]> {
  if (rows.length === 0) return [];
  const qemu = oldQemu();
  if (qemu === undefined) {
    say(`left out: ${DOORS_TITLE} (needs a QEMU up to 6.0 with the sheepdog driver: scripts/old-qemu.sh)`);
    return [];
  }
  const notes = [
    'Doors: both by the same qemu-img, the last with a sheepdog driver, over loopback. CPU with its start.',
  ];
  return [await variantsTable(DOORS_TITLE, rows, settings, doors(target, qemu), { own: 'sheepdog', notes })];
}

function doors({ cluster, pids }: SheepfoldTarget, { img }: OldQemu): Variant[] {
  const host = '127.0.0.1';
  const common = { pids, qemuImg: img };
  return [
    { name: 'nbd', title: 'NBD door', uri: `nbd://${host}:${cluster.nbdPortOf(0)}/${VOLUME}`, ...common },
    {
      name: 'sheepdog',
      title: 'sheepdog door',
      uri: `sheepdog://${host}:${cluster.portOf(0)}/${VOLUME}`,
      ...common,
    },
  ];
}
