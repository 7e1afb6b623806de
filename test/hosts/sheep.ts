/**
 * A sheep on a host. The test talks to it by unix sockets, which no cut of the network ever reaches; everybody else by
 * the host's address.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { ControlMethod, ControlParams, ControlResult } from '../../src/control/api.js';
import { ControlClient } from '../../src/control/client.js';
import { NbdClient } from '../helpers/nbd-client.js';
import { within } from '../helpers/real-cluster.js';
import type { Host, HostProcess } from './host.js';

const MAIN = fileURLToPath(new URL('../../src/daemon/main.js', import.meta.url));
const START_DEADLINE_MS = 60_000;
const CALL_DEADLINE_MS = 60_000;
const LOG_TAIL_LINES = 25;
export const SHEEP_PORT = 7000;
export const NBD_PORT = 10809;

export class HostSheep {
  readonly dir: string;
  private process: HostProcess | undefined;

  constructor(
    readonly host: Host,
    private readonly coordinator: string,
    private readonly options: readonly string[] = [],
  ) {
    this.dir = join(host.folder, 'sheep');
  }

  get index(): number {
    return this.host.index;
  }

  get running(): boolean {
    return this.process?.running ?? false;
  }

  get pid(): number {
    return this.process?.pid ?? -1;
  }

  get logFile(): string {
    return join(this.host.folder, 'sheep.log');
  }

  get log(): string {
    return existsSync(this.logFile) ? readFileSync(this.logFile, 'utf8') : '';
  }

  get nbdSocket(): string {
    return join(this.host.folder, 'nbd.sock');
  }

  private get controlSocket(): string {
    return join(this.host.folder, 'dog.sock');
  }

  /** Starts the process and does not wait for anything. */
  spawn(): void {
    this.process = this.host.spawn('sheep', process.execPath, [
      ...['--enable-source-maps', MAIN, '--dir', this.dir, '--coordinator', this.coordinator],
      ...['--host', this.host.address, '--zone', String(this.host.zone), '--log', this.logFile],
      ...['--port', String(SHEEP_PORT), '--nbd-port', String(NBD_PORT), '--http-port', '-1'],
      ...['--unix-socket', this.controlSocket, '--nbd-socket', this.nbdSocket],
      ...this.options,
    ]);
  }

  async start(): Promise<void> {
    this.spawn();
    await this.waitUp();
  }

  /** Waits until it answers calls; before the cluster is formatted that is all a sheep can do. */
  async waitUp(): Promise<void> {
    await within(START_DEADLINE_MS, `sheep ${this.index} answers`, async () => {
      // Waiting on is of no use then, and the reason is in the log.
      if (!this.running) return true;
      const { status } = await this.call('cluster.info', {});
      return status === 'running' || status === 'wait-for-format';
    });
    if (!this.running) throw new Error(`${this.process?.ending}\n${this.tail()}`);
  }

  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    await this.process?.end(signal);
  }

  freeze(): void {
    this.process?.signal('SIGSTOP');
  }

  thaw(): void {
    this.process?.signal('SIGCONT');
  }

  /** One call on a connection of its own. */
  async call<M extends ControlMethod>(
    method: M,
    params: ControlParams<M>,
    deadlineMs = CALL_DEADLINE_MS,
  ): Promise<ControlResult<M>> {
    const client = await ControlClient.connect({ path: this.controlSocket });
    try {
      return (await client.call(method, params, { signal: AbortSignal.timeout(deadlineMs) })).result;
    } finally {
      client.close();
    }
  }

  /** Its counters and gauges, by their Prometheus names. */
  async counters(): Promise<Record<string, number>> {
    return (await this.call('node.stat', {})).counters;
  }

  openVolume(name: string): Promise<NbdClient> {
    return NbdClient.open({ path: this.nbdSocket }, name);
  }

  tail(): string {
    const text = [this.log, this.process?.output ?? ''];
    return text.flatMap((part) => part.trimEnd().split('\n').slice(-LOG_TAIL_LINES)).join('\n');
  }
}
