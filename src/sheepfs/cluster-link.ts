import type { NetConnectOpts } from 'node:net';
import { type Clock, sleep } from '../base/clock.js';
import { AppError } from '../base/errors.js';
import type { Logger } from '../base/log.js';
import type { ControlMethod, ControlParams, ControlResult } from '../control/api.js';
import { type ControlAddress, ControlClient } from '../control/client.js';
import { localNbdSocket } from '../control/local-door.js';
import { NbdClient } from '../nbd-client/client.js';
import { CALL_RETRY_MS } from './limits.js';

/** What the file system asks of a cluster; tests have a fake of it. */
export interface Cluster {
  call<M extends ControlMethod>(method: M, params: ControlParams<M>): Promise<ControlResult<M>>;
  /** Connects when it is first used. */
  openVolume(exportName: string): VolumeData;
}

/** The data of one volume or snapshot; NbdClient says what each promises. */
export type VolumeData = Pick<
  NbdClient,
  'read' | 'write' | 'zero' | 'blockStatus' | 'flush' | 'grown' | 'close' | 'exportName' | 'connected'
>;

/** Not an answer: the sheep is away, starts, or has too few peers. It will be another time. */
const passing = ['network', 'again', 'shutdown', 'wait-for-join', 'halt', 'old-epoch', 'new-epoch'] as const;

/** The sheep of this host: control calls and volumes, each of which waits while it is away. */
export class ClusterLink implements Cluster {
  private client: Promise<ControlClient> | undefined;
  private closed = false;
  private away = false;

  constructor(
    private readonly address: ControlAddress,
    private readonly clock: Clock,
    private readonly log: Logger,
  ) {}

  /**
   * Rejects with the cluster's refusal. A call whose answer was lost is made again; where the first one had been
   * carried out already, that is what the second one is told, and it counts as success.
   */
  async call<M extends ControlMethod>(method: M, params: ControlParams<M>): Promise<ControlResult<M>> {
    for (let lost = false; ; ) {
      let client: ControlClient | undefined;
      try {
        client = await this.connect();
        const { result } = await client.call(method, params);
        this.away = false;
        return result;
      } catch (error) {
        if (lost && wasDone(method, error)) return this.outcomeOf(method, params);
        if (this.closed || !AppError.isCode(error, ...passing)) throw error;
        if (AppError.isCode(error, 'network')) {
          lost ||= client !== undefined;
          this.forget(client);
        }
        this.noteAway(error);
      }
      await sleep(this.clock, CALL_RETRY_MS);
    }
  }

  openVolume(exportName: string): NbdClient {
    const { clock, log } = this;
    return new NbdClient({ address: () => this.nbdAddress(), exportName, clock, log });
  }

  close(): void {
    this.closed = true;
    this.client?.then(
      (client) => client.close(),
      () => {},
    );
  }

  /** The unix socket when the sheep is on this host, as it is faster. Rejects with 'not-supported' without a door. */
  private async nbdAddress(): Promise<NetConnectOpts> {
    const doors = await this.call('node.doors', {});
    const path = localNbdSocket(doors);
    if (path !== undefined) return { path };
    const host = 'host' in this.address ? this.address.host : '127.0.0.1';
    if (doors.nbdPort > 0 && doors.nbdTls !== 'require') return { host, port: doors.nbdPort };
    throw new AppError('not-supported', 'the sheep has no NBD door for this: start it with --nbd-socket');
  }

  private connect(): Promise<ControlClient> {
    if (this.closed) return Promise.reject(new AppError('unknown', 'the mount is gone'));
    this.client ??= ControlClient.connect(this.address).catch((error: unknown) => {
      this.client = undefined;
      throw error;
    });
    return this.client;
  }

  private forget(client: ControlClient | undefined): void {
    if (client === undefined) return;
    client.close();
    this.client = undefined;
  }

  private noteAway(error: unknown): void {
    if (this.away) return;
    this.away = true;
    this.log.warn({ err: error }, 'the sheep cannot answer now: calls wait');
  }

  /** The result of a call that was carried out, and whose answer was lost. */
  private async outcomeOf<M extends ControlMethod>(
    method: M,
    params: ControlParams<M>,
  ): Promise<ControlResult<M>> {
    const names = params as { name: string; newName?: string };
    if (method === 'vdi.delete') return { freedObjects: 0 } as ControlResult<M>;
    return (await this.call('vdi.info', { name: names.newName ?? names.name })) as ControlResult<M>;
  }
}

/** Whether a refusal of the second attempt says that the first one was carried out. */
function wasDone(method: ControlMethod, error: unknown): boolean {
  switch (method) {
    case 'vdi.create':
    case 'vdi.clone':
      return AppError.isCode(error, 'vdi-exists');
    case 'vdi.delete':
    case 'vdi.rename':
      return AppError.isCode(error, 'no-vdi', 'no-tag');
    default:
      return false;
  }
}
