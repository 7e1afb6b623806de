import type { Clock } from '../base/clock.js';
import { sleep } from '../base/clock.js';
import { AppError } from '../base/errors.js';
import type { Logger } from '../base/log.js';
import type { ClusterNode } from '../cluster/cluster-node.js';
import type { Coordinator } from '../coord/coordinator.js';
import type { Directory } from '../volume/directory.js';
import type { Locks } from '../volume/locks.js';
import { isFrozen, type VdiRecord } from '../volume/records.js';
import type { VolumeManager } from '../volume/volume-manager.js';
import { Unanswerable } from './operation.js';

/** What the operations of the sheepdog door work with. */
export interface DoorParts {
  readonly cluster: ClusterNode;
  readonly coordinator: Coordinator;
  readonly directory: Directory;
  readonly manager: VolumeManager;
  readonly locks: Locks;
  readonly clock: Clock;
  readonly log: Logger;
  /** What new volumes get when nothing is said. */
  readonly defaults: () => { copies: number; blockSizeShift: number };
  /** A call that is carried to the volume's owner where that is needed (control/version-calls.ts). */
  readonly call: (method: string, params: object) => Promise<{ result: unknown; blob?: Uint8Array }>;
}

const RETRY_MS = 10;

/** What is certain not to have happened when it is answered so. */
const notDone = ['again', 'old-epoch', 'new-epoch'] as const;
/** What may have happened: only for work that can be done twice. */
const inDoubt = ['network', 'cluster-error'] as const;

/** The record of a vid; one that this sheep has not seen is looked up afresh before it counts as missing. */
export async function recordNow(
  parts: Pick<DoorParts, 'directory'>,
  vid: number,
): Promise<VdiRecord | undefined> {
  const known = parts.directory.vdi(vid);
  return known ?? parts.directory.vdiNow(vid);
}

/** The working version of its volume: what its clients may change. An image has none. */
export function isWorking(parts: Pick<DoorParts, 'directory'>, record: VdiRecord): boolean {
  return (
    record.state === 'live' && !isFrozen(record) && parts.directory.line(record.line)?.vid === record.vid
  );
}

/** The working version of a line, when it has one that clients may change. */
export function workingOf(parts: Pick<DoorParts, 'directory'>, line: string): VdiRecord | undefined {
  const record = parts.directory.vdi(parts.directory.line(line)?.vid ?? 0);
  return record !== undefined && isWorking(parts, record) ? record : undefined;
}

/**
 * Troubles inside the cluster are waiting, never answers (reference, section 1.8): this goes on until there is an
 * outcome. When this sheep stops, its client is sent away without one, and asks the next.
 */
export async function untilSettled<T>(
  parts: Pick<DoorParts, 'manager' | 'clock'>,
  work: () => Promise<T>,
): Promise<T> {
  for (;;) {
    try {
      return await work();
    } catch (error) {
      if (parts.manager.stopped) throw new Unanswerable('this sheep stops');
      if (!AppError.isCode(error, ...notDone, ...inDoubt)) {
        if (AppError.isCode(error, 'shutdown')) throw new Unanswerable('this sheep stops');
        throw error;
      }
    }
    await sleep(parts.clock, RETRY_MS);
  }
}

/** The same for what must not be done twice: when it may have happened, its client is told that nobody knows. */
export async function untilDone<T>(parts: Pick<DoorParts, 'clock'>, work: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await work();
    } catch (error) {
      if (!AppError.isCode(error, ...notDone)) throw error;
    }
    await sleep(parts.clock, RETRY_MS);
  }
}
