/** One measurement of one workload at one target, and how many requests a run needs to last long enough. */
import { type ClientResult, fioRandom, qemuImgBench } from './clients.js';
import { diskWrittenBytes } from './disk.js';
import { childrenCpuMs, cpuMs, machineTicks, stolenShare } from './measure.js';
import type { Endpoint } from './targets.js';
import type { Workload } from './workloads.js';

export interface Sample extends ClientResult {
  readonly operationsPerSecond: number;
  /** All daemons of the target together; the time of the client's start is not theirs. */
  readonly daemonCpuMsPerThousand: number;
  /** With the client's start and end in it. */
  readonly clientCpuMsPerThousand: number;
  /** To the disk, by everybody, for each byte that the requests moved; none where there is no disk. */
  readonly writtenPerByte?: number;
  /** Of the machine's time while the client ran: what other virtual machines took. */
  readonly stolenShare: number;
}

/** What a client reaches, and the daemons behind it. */
export interface Measured extends Endpoint {
  readonly pids: readonly number[];
}

const FIRST_OPERATIONS = 64;
const PILOT_SECONDS = 0.15;
const PILOTS_MAX = 4;

/**
 * Operations that take about `seconds`. The pilots also warm everything up: a sheep's code is compiled by its use.
 */
export async function calibrate(target: Measured, workload: Workload, seconds: number): Promise<number> {
  if (workload.client === 'fio') return 0;
  let operations = FIRST_OPERATIONS;
  let rate = 0;
  for (let pilot = 0; pilot < PILOTS_MAX; pilot++) {
    const result = await qemuImgBench(target, workload, operations);
    rate = result.operations / result.seconds;
    if (result.seconds >= PILOT_SECONDS / 2) break;
    operations = Math.ceil(Math.min(rate * PILOT_SECONDS, operations * 50));
  }
  return Math.max(FIRST_OPERATIONS, Math.ceil(rate * seconds));
}

/** `operations` comes from `calibrate`; fio goes by time. */
export async function sample(
  target: Measured,
  workload: Workload,
  operations: number,
  seconds: number,
): Promise<Sample> {
  const ticksBefore = machineTicks();
  const writtenBefore = diskWrittenBytes();
  const clientBefore = childrenCpuMs();
  const daemonsBefore = cpuMs(target.pids);
  const result =
    workload.client === 'fio'
      ? await fioRandom(target, workload, seconds)
      : await qemuImgBench(target, workload, operations);
  const perThousand = (ms: number) => (ms / result.operations) * 1000;
  const movedBytes = result.operations * workload.blockBytes;
  const written = writtenBefore === undefined ? undefined : diskWrittenBytes()! - writtenBefore;
  return {
    ...result,
    operationsPerSecond: result.operations / result.seconds,
    daemonCpuMsPerThousand: perThousand(cpuMs(target.pids) - daemonsBefore),
    clientCpuMsPerThousand: perThousand(childrenCpuMs() - clientBefore),
    ...(written !== undefined && { writtenPerByte: written / movedBytes }),
    stolenShare: stolenShare(ticksBefore, machineTicks()),
  };
}
