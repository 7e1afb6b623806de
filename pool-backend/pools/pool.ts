import type { Clock } from '../../src/base/clock.js';
import { AppError } from '../../src/base/errors.js';
import type { ClusterInfo, ControlMethod, ControlParams, ControlResult } from '../../src/control/api.js';
import type { CallOptions, ControlAnswer } from '../../src/control/client.js';
import { LibvirtError } from '../rpc/errors.js';
import { ClusterLink } from './cluster-link.js';
import { noFigures, type PoolDefinition, type PoolFigures } from './pool-xml.js';

export interface PoolOptions {
  readonly clock: Clock;
  /** The cluster of a started pool was lost, or is back. */
  readonly onReach: (pool: Pool, up: boolean) => void;
}

/** One pool: what was defined, whether it was started, and the way to its cluster while it is. */
export class Pool {
  persistent = false;
  autostart = false;
  /** What was defined while the pool was active: holds from its next start on. */
  next: PoolDefinition | undefined;
  private link: ClusterLink | undefined;
  private starting = false;

  constructor(
    private current: PoolDefinition,
    private readonly options: PoolOptions,
  ) {}

  get definition(): PoolDefinition {
    return this.current;
  }

  get name(): string {
    return this.current.name;
  }

  get uuid(): string {
    return this.current.uuid;
  }

  get namespace(): string {
    return this.current.namespace;
  }

  /** Somebody started it, and nobody stopped it since. */
  get started(): boolean {
    return this.link !== undefined;
  }

  /** Started, and its cluster answers. */
  get active(): boolean {
    return this.link?.up ?? false;
  }

  get clusterId(): string {
    return this.link?.clusterId ?? '';
  }

  redefine(definition: PoolDefinition): void {
    if (this.started) this.next = definition;
    else this.current = definition;
  }

  /**
   * Connects, and stays started only when that succeeds; a pool whose cluster was away is tried at once. Rejects with
   * LibvirtError 'operation-failed', or 'operation-invalid' while another one starts it.
   */
  async start(mayStart: (clusterId: string) => void): Promise<void> {
    if (this.starting) {
      throw new LibvirtError('operation-invalid', `storage pool '${this.name}' is starting up`);
    }
    this.starting = true;
    const link = this.link ?? this.makeLink();
    try {
      await link.open();
      mayStart(link.clusterId);
    } catch (error) {
      if (this.link !== link) link.close();
      if (error instanceof LibvirtError) throw error;
      const { message } = AppError.from(error);
      throw new LibvirtError('operation-failed', `cannot start storage pool '${this.name}': ${message}`, {
        cause: error,
      });
    } finally {
      this.starting = false;
    }
    if (this.link === link) return;
    this.link = link;
    link.watch();
  }

  /** Counts as started at once, and becomes active as soon as its cluster answers. */
  startLater(): void {
    if (this.link !== undefined) return;
    this.link = this.makeLink();
    this.link.watch();
  }

  stop(): void {
    this.link?.close();
    this.link = undefined;
    this.current = this.next ?? this.current;
    this.next = undefined;
  }

  get busyStarting(): boolean {
    return this.starting;
  }

  /** Throws LibvirtError 'operation-invalid' unless active. */
  requireActive(): void {
    if (!this.active) {
      throw new LibvirtError('operation-invalid', `storage pool '${this.name}' is not active`);
    }
  }

  /** A call of its cluster. Rejects with LibvirtError when the pool is not active, else with the sheep's AppError. */
  async call<M extends ControlMethod>(
    method: M,
    params: ControlParams<M>,
    options: CallOptions = {},
  ): Promise<ControlAnswer<M>> {
    this.requireActive();
    return this.link!.call(method, params, options);
  }

  async ask<M extends ControlMethod>(method: M, params: ControlParams<M>): Promise<ControlResult<M>> {
    return (await this.call(method, params)).result;
  }

  /** Room as a guest would fill it: bytes on disks, divided by the copies of a new volume. Zeroes while inactive. */
  async figures(): Promise<PoolFigures> {
    if (!this.active) return noFigures;
    try {
      return figuresOf(await this.ask('cluster.info', {}));
    } catch (error) {
      if (AppError.isCode(error, 'network')) return noFigures;
      throw error;
    }
  }

  /** Where QEMU and virt-install find a VDI. */
  pathOf(vdi: string, volumeName: string): string {
    const { host, port, targetPath } = this.current;
    if (targetPath !== undefined) return `${targetPath}/${volumeName}`;
    const doors = this.link?.doors;
    const at = host.includes(':') ? `[${host}]` : host;
    const scheme = doors?.nbdTls === 'require' ? 'nbds' : 'nbd';
    const name = encodeURIComponent(vdi);
    if (doors !== undefined && doors.nbdPort > 0) return `${scheme}://${at}:${doors.nbdPort}/${name}`;
    if (doors?.nbdSocket !== undefined) {
      return `${scheme}+unix:///${name}?socket=${encodeURI(doors.nbdSocket)}`;
    }
    return `sheepdog://${at}:${port}/${name}`;
  }

  keyOf(vdi: string): string {
    return `${this.clusterId}/${vdi}`;
  }

  private makeLink(): ClusterLink {
    const { clock, onReach } = this.options;
    const { host, port } = this.current;
    const link: ClusterLink = new ClusterLink({
      address: { host, port },
      clock,
      onChange: (up) => {
        if (this.link === link) onReach(this, up);
      },
    });
    return link;
  }
}

export function figuresOf(info: Pick<ClusterInfo, 'nodes' | 'copies'>): PoolFigures {
  const copies = Math.max(1, info.copies);
  const members = info.nodes.filter((node) => node.in);
  const sum = (of: (node: ClusterInfo['nodes'][number]) => number): bigint =>
    BigInt(Math.floor(members.reduce((all, node) => all + of(node), 0) / copies));
  const available = sum((node) => node.freeBytes);
  const allocation = sum((node) => node.usedBytes);
  return { capacity: allocation + available, allocation, available };
}
