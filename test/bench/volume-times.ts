/** How long it takes to make, snapshot, discard and delete a volume that is full. */
import { prefill } from './clients.js';
import { type SheepfoldTarget, sheepfoldUri } from './targets.js';

export interface VolumeTimes {
  readonly createMs: number;
  readonly snapshotMs: number;
  /** Of the snapshot, after a quarter of the volume has been written again. */
  readonly deleteSnapshotMs: number;
  /** Of a GiB, or of all when it is smaller. */
  readonly discardMs: number;
  /** Full again. */
  readonly deleteVolumeMs: number;
}

const NAME = 'times';
const TAG = 'before';
const DISCARD_BYTES = 2 ** 30;

export async function volumeTimes(target: SheepfoldTarget, sizeBytes: number): Promise<VolumeTimes> {
  const { cluster } = target;
  const control = await cluster.control();
  const at = { uri: sheepfoldUri(cluster, NAME) };
  try {
    const createMs = await timeMs(() => control.call('vdi.create', { name: NAME, sizeBytes }));
    await prefill(at, sizeBytes);
    await control.call('vdi.flush', { name: NAME });
    const snapshotMs = await timeMs(() => control.call('vdi.snapshot', { name: NAME, tag: TAG }));
    await prefill(at, sizeBytes / 4);
    const deleteSnapshotMs = await timeMs(() => control.call('vdi.delete', { name: NAME, tag: TAG }));
    const length = Math.min(DISCARD_BYTES, sizeBytes);
    const discardMs = await timeMs(() => control.call('vdi.discard', { name: NAME, offset: 0, length }));
    await prefill(at, sizeBytes);
    await control.call('vdi.flush', { name: NAME });
    const deleteVolumeMs = await timeMs(() => control.call('vdi.delete', { name: NAME }));
    return { createMs, snapshotMs, deleteSnapshotMs, discardMs, deleteVolumeMs };
  } finally {
    control.close();
  }
}

async function timeMs(work: () => Promise<unknown>): Promise<number> {
  const startMs = performance.now();
  await work();
  return performance.now() - startMs;
}
