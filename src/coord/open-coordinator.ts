import { mkdirSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { systemClock } from '../base/clock.js';
import type { Logger } from '../base/log.js';
import { systemRandom } from '../base/random.js';
import type { Coordinator } from './coordinator.js';
import { formatEtcdAddress, isEtcdAddress, parseEtcdAddress } from './etcd/address.js';
import { type Following, follow } from './follow-moves.js';
import { driverOf, type GuardedCoordinator } from './guarded-coordinator.js';
import { openHostCoordinator } from './local/local-defaults.js';

const START_LIMIT_MS = 5000;

/** The one way to write an address. Throws AppError 'usage'. */
export function normalAddress(address: string): string {
  return isEtcdAddress(address) ? formatEtcdAddress(parseEtcdAddress(address)) : resolve(address);
}

/**
 * Opens what an address names, whether it is in force or not. `create`: a folder is made when it is not there.
 * Rejects as the drivers do; 'network' when etcd does not answer soon.
 */
export async function openRawCoordinator(options: {
  address: string;
  log: Logger;
  create?: boolean;
}): Promise<Coordinator> {
  const { address, log, create = false } = options;
  if (driverOf(address) === 'local') {
    if (create) mkdirSync(dirname(resolve(address)), { recursive: true });
    return openHostCoordinator({ path: address, log, create });
  }
  const parsed = parseEtcdAddress(address);
  // gRPC takes a moment and some memory to load, which sheep of one host do without.
  const { EtcdCoordinator } = await import('./etcd/etcd-coordinator.js');
  const { Guardian } = await import('./etcd/guardian.js');
  const { LinuxProcesses } = await import('./local/processes.js');
  return EtcdCoordinator.open({
    address: parsed,
    clock: systemClock,
    random: systemRandom,
    log,
    processes: new LinuxProcesses(),
    startLimitMs: START_LIMIT_MS,
    guardian: new Guardian(address, log),
  });
}

/**
 * Opens the coordinator that is in force, from an address where it is or was. `create`: a folder is made when it is not
 * there. Waits as long as `limitMs` says, without it for ever; rejects as `follow` does.
 */
export function openCoordinatorAt(
  options: Omit<Following, 'open' | 'clock'> & { create?: boolean },
): Promise<GuardedCoordinator> {
  const { log, create = false } = options;
  const open = (address: string): Promise<Coordinator> =>
    // Where a cluster has moved to there must be something.
    openRawCoordinator({ address, log, create: create && address === options.address });
  return follow({ ...options, clock: systemClock, open });
}
