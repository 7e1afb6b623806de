import { hostname } from 'node:os';
import { systemClock } from '../src/base/clock.js';
import type { Logger } from '../src/base/log.js';
import { InUse } from './pools/in-use.js';
import { Registry } from './pools/registry.js';
import type { Services } from './server/calls.js';
import { Listener } from './server/listener.js';
import { ReceiveBudget } from './server/rpc-socket.js';

export interface DaemonOptions {
  readonly socket: string;
  readonly socketMode: number;
  readonly group?: string;
  readonly readOnlySocket?: string;
  readonly readOnlyMode: number;
  readonly users?: readonly number[];
  readonly upstream?: string;
  readonly upstreamReadOnly?: string;
  readonly configFolder: string;
  readonly stateFolder: string;
  readonly log: Logger;
}

/** Everything together: pools, and the sockets by which clients reach them. */
export class Daemon {
  private constructor(
    private readonly registry: Registry,
    private readonly listeners: readonly Listener[],
  ) {}

  /** Pools are loaded before anybody can ask for them; their clusters are reached later. */
  static async start(options: DaemonOptions): Promise<Daemon> {
    const { log, configFolder, stateFolder } = options;
    const registry = new Registry({ configFolder, stateFolder, clock: systemClock, log: log.child('pools') });
    await registry.load();
    const services: Services = {
      registry,
      inUse: new InUse(),
      clock: systemClock,
      log,
      hostname: hostname(),
    };
    const budget = new ReceiveBudget();
    const common = {
      services,
      budget,
      ...(options.group !== undefined && { group: options.group }),
      ...(options.users !== undefined && { users: options.users }),
    };
    const { upstream, upstreamReadOnly = upstream } = options;
    const main = await Listener.open({
      ...common,
      path: options.socket,
      mode: options.socketMode,
      readOnly: false,
      ...(upstream !== undefined && { upstream }),
    });
    if (options.readOnlySocket === undefined) return new Daemon(registry, [main]);
    const second = await Listener.open({
      ...common,
      path: options.readOnlySocket,
      mode: options.readOnlyMode,
      readOnly: true,
      ...(upstreamReadOnly !== undefined && { upstream: upstreamReadOnly }),
    });
    return new Daemon(registry, [main, second]);
  }

  /** Clients are dropped; pools stay what they are, for the next start. */
  stop(): void {
    for (const listener of this.listeners) listener.close();
    this.registry.close();
  }
}
