import { randomBytes } from 'node:crypto';
import { AppError } from '../base/errors.js';
import type { VdiInfo, VdiRef } from '../control/api.js';
import type { Cluster } from './cluster-link.js';
import { asFuseError } from './errors.js';
import { runsOf } from './extents.js';
import { encodeRecord, RECORD_KEY } from './file-record.js';
import type { FrozenFile } from './frozen-file.js';
import { COPY_BYTES, COPY_STEPS_MAX } from './limits.js';
import { VolumeFile } from './volume-file.js';

export interface CopyRange {
  readonly from: number;
  readonly to: number;
  readonly length: number;
}

/**
 * Copies a range from one file to another: holes become holes, data is read and written in steps, a few at a time.
 * The range lies in the source.
 */
export async function copyData(
  source: VolumeFile | FrozenFile,
  target: VolumeFile,
  range: CopyRange,
): Promise<void> {
  const { from, to, length } = range;
  if (to + length > target.length) await target.extendTo(to + length);
  const steps: (() => Promise<void>)[] = [];
  for await (const run of runsOf(source.data, from, from + length)) {
    const at = to + run.offset - from;
    if (run.hole) {
      steps.push(() => target.data.zero(at, run.length, { mayUnmap: true }));
      continue;
    }
    for (let done = 0; done < run.length; done += COPY_BYTES) {
      const bytes = Math.min(COPY_BYTES, run.length - done);
      steps.push(() => copyStep(source, target, { from: run.offset + done, to: at + done, length: bytes }));
    }
  }
  await inParallel(steps, COPY_STEPS_MAX);
  target.touch();
}

async function copyStep(
  source: VolumeFile | FrozenFile,
  target: VolumeFile,
  range: CopyRange,
): Promise<void> {
  const parts = await source.data.read(range.from, range.length);
  await target.data.write(range.to, parts.length === 1 ? parts[0]! : Buffer.concat(parts));
}

async function inParallel(steps: readonly (() => Promise<void>)[], limit: number): Promise<void> {
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < steps.length) await steps[next++]!();
  };
  await Promise.all(Array.from({ length: Math.min(limit, steps.length) }, worker));
}

/**
 * Whether a copy of a range is the whole source into a file that has nothing yet: then the cluster shares the objects
 * instead. An image is not replaced by another volume, nor (hasSnapshots) what has snapshots of its own.
 */
export function isWholeCopy(source: VolumeFile | FrozenFile, target: VolumeFile, range: CopyRange): boolean {
  const whole = range.from === 0 && range.to === 0 && range.length >= source.length && source.length > 0;
  return whole && target.length === 0 && !target.isImage;
}

/**
 * The target becomes a clone of the source. The clone is made beside it, with a record that says whose place it is to
 * take, so that the next mount finishes what a crash has left (aside.ts). A working volume is cloned by a snapshot
 * that is deleted at once: what it shares stays shared.
 */
export async function cloneWhole(
  source: VolumeFile | FrozenFile,
  target: VolumeFile,
  asideName: string,
): Promise<void> {
  const { cluster } = target.world;
  try {
    const cloned = await cloneOf(source, asideName, target);
    const bytes = source.length;
    const { length: _, ...rest } = target.record;
    const length = { bytes, sizes: [cloned.sizeBytes], growing: false };
    const record = bytes === cloned.sizeBytes ? rest : { ...rest, length };
    const store = (name: string, value: string) =>
      cluster.call('vdi.setattr', { name, key: RECORD_KEY, mode: 'set', value });
    await store(asideName, encodeRecord({ ...record, replaced: target.name }));
    await cluster.call('vdi.delete', { name: target.name });
    const info = await cluster.call('vdi.rename', { name: asideName, newName: target.name });
    await store(target.name, encodeRecord(record));
    await target.replaced(info);
  } catch (error) {
    throw asFuseError(error);
  }
}

/** Snapshots go with their volume's name: a volume that has some cannot give its name to another one. */
export async function hasSnapshots(cluster: Cluster, name: string): Promise<boolean> {
  return (await cluster.call('vdi.list', { name })).some((row) => row.snapshot);
}

async function cloneOf(source: VolumeFile | FrozenFile, name: string, target: VolumeFile): Promise<VdiInfo> {
  const { cluster } = target.world;
  if (!(source instanceof VolumeFile) || source.isImage) {
    const { info } = source;
    const ref: VdiRef = info.snapshot ? { name: info.name, snapId: info.snapId } : { name: info.name };
    return cluster.call('vdi.clone', { source: ref, name });
  }
  const tag = `sheepfs-${randomBytes(6).toString('hex')}`;
  await cluster.call('vdi.snapshot', { name: source.name, tag });
  try {
    return await cluster.call('vdi.clone', { source: { name: source.name, tag }, name });
  } finally {
    await cluster.call('vdi.delete', { name: source.name, tag }).catch((error: unknown) => {
      // Somebody else has deleted it: that is what was wanted.
      if (!AppError.isCode(error, 'no-tag', 'no-vdi')) throw error;
    });
  }
}
