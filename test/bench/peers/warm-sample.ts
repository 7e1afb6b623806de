/** One cell of a comparison: a run that counts, after one that does not. */
import { execa } from 'execa';
import { readAll } from '../clients.js';
import { type Measured, type Sample, sample } from '../samples.js';
import type { Workload } from '../workloads.js';

/** Before each run that counts, as fio's ramp_time. */
export const RAMP_SECONDS = 1;

/**
 * What counts comes after a run that does not: connections and compiled code are warm, as they are in a system that is
 * used. What is read was read a moment before by whoever wants to cache it: some hosts take page cache away by
 * themselves. What the system before left in the page cache is on the disk.
 */
export async function warmSample(
  target: Measured,
  workload: Workload,
  rampOperations: number,
  { seconds, sizeBytes }: { readonly seconds: number; readonly sizeBytes: number },
): Promise<Sample> {
  await execa('sync');
  if (workload.direction === 'read') await readAll(target, sizeBytes);
  const ramp = await sample(target, workload, rampOperations, RAMP_SECONDS);
  return sample(target, workload, Math.ceil(ramp.operationsPerSecond * seconds), seconds);
}
