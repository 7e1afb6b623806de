import { mkdirSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { type Clock, sleep, systemClock } from '../base/clock.js';
import { AppError } from '../base/errors.js';
import type { Logger } from '../base/log.js';
import type { Coordinator } from './coordinator.js';
import { formatEtcdAddress, isEtcdAddress, parseEtcdAddress, withoutPassword } from './etcd/address.js';
import { type Driver, GuardedCoordinator } from './guarded-coordinator.js';
import { openHostCoordinator } from './local/local-defaults.js';
import { changeStanding, MOVER_KEY, readStanding } from './standing.js';

/** A coordinator that is on its way to be in force is looked at this often. */
const LOOK_MS = 100;
const START_LIMIT_MS = 5000;
/** Of the line that says what is waited for. */
const TELL_MS = 10_000;
const MOVES_MAX = 16;

/** `etcd` for addresses that begin with etcd:// or etcds://, `local` for paths. */
export function driverOf(address: string): Driver {
  return isEtcdAddress(address) ? 'etcd' : 'local';
}

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
  const { LinuxProcesses } = await import('./local/processes.js');
  return EtcdCoordinator.open({
    address: parsed,
    clock: systemClock,
    log,
    processes: new LinuxProcesses(),
    startLimitMs: START_LIMIT_MS,
  });
}

export interface OpenOptions {
  readonly address: string;
  readonly log: Logger;
  readonly create?: boolean;
  /** How long to wait for etcd, and for a move of the cluster to end: for ever without. */
  readonly limitMs?: number;
  /** The cluster begins to move to another coordinator: give up everything, close, and open again. */
  readonly onLeaving?: () => void;
}

/**
 * Opens the coordinator that is in force, from an address where it is or was: a cluster that has moved is followed.
 * Rejects with AppError 'network' or 'again' at the limit, and as openRawCoordinator does.
 */
export function openCoordinatorAt(options: OpenOptions): Promise<GuardedCoordinator> {
  return new Opening(options, systemClock).run();
}

class Opening {
  private readonly endMs: number;
  private toldMs = Number.NEGATIVE_INFINITY;

  constructor(
    private readonly options: OpenOptions,
    private readonly clock: Clock,
  ) {
    this.endMs = clock.nowMs() + (options.limitMs ?? Number.POSITIVE_INFINITY);
  }

  async run(): Promise<GuardedCoordinator> {
    let address = this.options.address;
    let moveId: string | undefined;
    for (let moves = 0; moves < MOVES_MAX; moves++) {
      const inner = await this.reach(address);
      const next = await this.settle(inner, address, moveId).catch(async (error: unknown) => {
        await inner.close();
        throw error;
      });
      if (next === undefined) {
        const about = { driver: driverOf(address), address };
        return GuardedCoordinator.over(inner, about, () => this.options.onLeaving?.());
      }
      await inner.close();
      this.options.log.warn(
        { from: withoutPassword(address), to: withoutPassword(next.to) },
        'the cluster has moved to another coordinator; start sheep with the new address',
      );
      address = next.to;
      moveId = next.id;
    }
    throw new AppError('system', 'coordinators point to each other without an end');
  }

  private async reach(address: string): Promise<Coordinator> {
    const { log, create } = this.options;
    for (;;) {
      try {
        return await openRawCoordinator({ address, log, create: create ?? false });
      } catch (error) {
        if (!AppError.isCode(error, 'network') || this.clock.nowMs() >= this.endMs) throw error;
        this.tell({ error: error.message }, 'the coordinator does not answer; waiting for it');
      }
      await sleep(this.clock, LOOK_MS);
    }
  }

  /** Waits until this one is in force (undefined) or another one is. `moveId`: the move that led here. */
  private async settle(
    inner: Coordinator,
    address: string,
    moveId: string | undefined,
  ): Promise<{ to: string; id: string } | undefined> {
    for (;;) {
      const known = await readStanding(inner);
      const { state, id = '', to = '', from } = known.standing;
      if (state === 'here') return undefined;
      if (state === 'moved') return { to, id };
      const fields = { coordinator: withoutPassword(address) };
      if (state === 'moving') {
        this.tell(fields, 'the cluster is moving to another coordinator; waiting');
        // A move whose mover is gone was not decided, and cannot be any more.
        const moverGone = [{ key: MOVER_KEY, exists: false }];
        await changeStanding(inner, known, { state: 'here' }, moverGone);
      } else if (id === moveId) {
        // The old one has said so: this one is in force, whether its mover came to note it or not.
        await changeStanding(inner, known, { state: 'here' });
        continue;
      } else {
        this.tell(
          { ...fields, from: withoutPassword(from ?? '') },
          'the cluster has not arrived here yet; waiting',
        );
      }
      if (this.clock.nowMs() >= this.endMs) throw new AppError('again', 'the cluster is moving; try again');
      await sleep(this.clock, LOOK_MS);
    }
  }

  private tell(fields: object, message: string): void {
    const nowMs = this.clock.nowMs();
    if (nowMs - this.toldMs < TELL_MS) return;
    this.toldMs = nowMs;
    this.options.log.warn(fields, message);
  }
}
