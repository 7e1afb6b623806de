import type { Clock } from '../base/clock.js';
import { AppError } from '../base/errors.js';
import type { LogControl } from '../base/log.js';
import { logLevels, parseLogLevel } from '../base/log-level.js';
import type { DiskInfo } from '../store/disks/disk-changes.js';
import type { StoreStats } from '../store/object-store.js';
import type { ControlResult } from './api.js';
import type { NodeProgress } from './member-api.js';
import * as check from './params.js';

/** What a sheep knows of itself beyond the cluster: absent where there is no process of its own (the simulator). */
export interface NodeHost {
  /** The disks of its store. */
  readonly disks: () => readonly DiskInfo[];
  readonly log: LogControl;
}

export interface NodeCallsOptions {
  readonly clock: Clock;
  readonly host: NodeHost | undefined;
  /** How far this sheep is with what it lacks; undefined: it lacks nothing. */
  readonly recovery: () => NodeProgress | undefined;
  readonly formatId: () => string | undefined;
  readonly storeStats: () => StoreStats | undefined;
  /** Stops this sheep cleanly. */
  readonly end: () => void;
}

/** The control calls that a sheep answers for itself alone; `dog` asks each sheep on its own port. */
export class NodeCalls {
  constructor(private readonly options: NodeCallsOptions) {}

  call(method: string, params: unknown): { result: unknown } | undefined {
    switch (method) {
      case 'node.kill':
        // After the answer, so that it is not lost with the connection.
        this.options.clock.after(0, () => this.options.end());
        return { result: {} };
      case 'node.disks':
        return { result: this.disks() };
      case 'node.recovery':
        return { result: this.recovery() };
      case 'node.loglevel':
        return { result: this.logLevel(check.checkFields(params)) };
      default:
        return undefined;
    }
  }

  private disks(): ControlResult<'node.disks'> {
    const { host, storeStats } = this.options;
    const stats = storeStats();
    if (stats === undefined) throw new AppError('wait-for-format', 'Waiting for cluster to be formatted');
    const { totalBytes, usedBytes, freeBytes } = stats;
    const disks = host?.disks() ?? [{ name: '', state: 'active', totalBytes, usedBytes, freeBytes }];
    const rows = disks.map((disk, index) => {
      const { name: path, state } = disk;
      const sizes = { totalBytes: disk.totalBytes, usedBytes: disk.usedBytes, freeBytes: disk.freeBytes };
      return { index, path, ...sizes, ...(state === 'leaving' && { leaving: true }) };
    });
    return { disks: rows };
  }

  private recovery(): ControlResult<'node.recovery'> {
    const progress = this.options.recovery();
    return progress === undefined
      ? { recovering: false, done: 0, total: 0 }
      : { recovering: true, ...progress };
  }

  private logLevel(fields: check.Fields): ControlResult<'node.loglevel'> {
    const log = this.options.host?.log;
    if (log === undefined) throw new AppError('not-supported', 'this sheep has no log of its own');
    if (fields.level !== undefined) {
      const level = typeof fields.level === 'string' ? parseLogLevel(fields.level) : undefined;
      if (level === undefined) throw new AppError('invalid', `level must be one of ${logLevels.join(', ')}`);
      log.level = level;
    }
    return { level: log.level };
  }
}
