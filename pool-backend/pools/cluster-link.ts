import { type Clock, sleep } from '../../src/base/clock.js';
import { AppError } from '../../src/base/errors.js';
import type { ClusterInfo, ControlMethod, ControlParams, NodeDoors } from '../../src/control/api.js';
import { type CallOptions, type ControlAnswer, ControlClient } from '../../src/control/client.js';

interface Address {
  readonly host: string;
  readonly port: number;
}

export interface ClusterLinkOptions {
  /** The sheep that the pool's definition names. */
  readonly address: Address;
  readonly clock: Clock;
  /** Called when the cluster is lost, and when it is back. */
  readonly onChange: (up: boolean) => void;
}

/** What is known of a cluster once it was reached. */
export interface Reached {
  readonly client: ControlClient;
  readonly info: ClusterInfo;
  /** Of the first sheep that was reached, so that paths of volumes stay what they are. */
  readonly doors: NodeDoors;
}

const WATCH_PERIOD_MS = 2000;
const LOOK_TIMEOUT_MS = 5000;
/** A sheep that said nothing at all for so long is taken for frozen; one with much to do answers something. */
const SILENT_MS = 15_000;
const CONNECT_TIMEOUT_MS = 2000;
/** Other sheep of the cluster that are tried when the named one is away. */
const OTHERS_MAX = 8;

/** Calls that may be done twice, when the connection broke before the answer came. */
const repeatable: ReadonlySet<ControlMethod> = new Set<ControlMethod>([
  ...(['cluster.info', 'node.doors', 'vdi.list', 'vdi.info', 'vdi.map', 'vdi.read', 'vdi.getattr'] as const),
  ...(['vdi.write', 'vdi.discard', 'vdi.flush'] as const),
]);

/**
 * The way to one cluster: a connection to the sheep that was named, or to any other of the same cluster while that one
 * is away. It looks every two seconds, so that a pool shows what is true and comes back by itself.
 */
export class ClusterLink {
  private reached: Reached | undefined;
  private others: readonly Address[] = [];
  private first: (Pick<Reached, 'doors'> & { clusterId: string }) | undefined;
  private connecting: Promise<Reached> | undefined;
  /** Of the clock: when the sheep that is connected said something. */
  private heardMs = 0;
  /** The last attempt to connect failed. */
  private lost = true;
  private ended = false;

  constructor(private readonly options: ClusterLinkOptions) {}

  /** Answers, or is only being connected again: who calls meanwhile waits for the outcome. */
  get up(): boolean {
    return !this.lost && !this.ended;
  }

  /** '' before the cluster was reached for the first time. */
  get clusterId(): string {
    return this.first?.clusterId ?? '';
  }

  get doors(): NodeDoors | undefined {
    return this.first?.doors;
  }

  /** Rejects with AppError: 'network' when no sheep answers, 'wait-for-format' and the like when it does not serve. */
  async open(): Promise<void> {
    await this.reach();
  }

  /** Begins to look after the connection, until close(). */
  watch(): void {
    void this.watchLoop();
  }

  close(): void {
    this.ended = true;
    this.reached?.client.close();
    this.reached = undefined;
  }

  /** Like ControlClient.call; a call that may be repeated is, once, when the connection breaks. */
  async call<M extends ControlMethod>(
    method: M,
    params: ControlParams<M>,
    options: CallOptions = {},
  ): Promise<ControlAnswer<M>> {
    const { client } = await this.reach();
    try {
      const answer = await client.call(method, params, options);
      this.heard();
      return answer;
    } catch (error) {
      if (!AppError.isCode(error, 'network')) {
        this.heard();
        throw error;
      }
      this.drop(client);
      const again = this.reach();
      again.catch(() => undefined);
      if (!repeatable.has(method)) throw error;
      await again;
    }
    return (await this.reach()).client.call(method, params, options);
  }

  private async watchLoop(): Promise<void> {
    const { clock, onChange } = this.options;
    let wasUp = this.up;
    for (;;) {
      await this.look();
      if (this.ended) return;
      if (this.up !== wasUp) {
        wasUp = this.up;
        onChange(wasUp);
      }
      await sleep(clock, WATCH_PERIOD_MS);
    }
  }

  /** Asks the sheep that is connected, and looks for another one when that is silent. */
  private async look(): Promise<void> {
    const { reached } = this;
    if (reached === undefined) {
      await this.reach().catch(() => undefined);
      return;
    }
    const signal = AbortSignal.timeout(LOOK_TIMEOUT_MS);
    try {
      this.learn(await askInfo(reached.client, signal));
      this.heard();
    } catch {
      if (signal.aborted && this.options.clock.nowMs() - this.heardMs < SILENT_MS) return;
      this.drop(reached.client);
      await this.reach().catch(() => undefined);
    }
  }

  private heard(): void {
    this.heardMs = this.options.clock.nowMs();
  }

  private reach(): Promise<Reached> {
    if (this.ended) return Promise.reject(new AppError('network', 'the pool was stopped'));
    if (this.reached !== undefined) return Promise.resolve(this.reached);
    this.connecting ??= this.connectAny().finally(() => {
      this.connecting = undefined;
    });
    return this.connecting;
  }

  private async connectAny(): Promise<Reached> {
    let failure: unknown;
    for (const address of [this.options.address, ...this.others]) {
      try {
        const reached = await this.connectTo(address);
        if (this.ended) reached.client.close();
        else this.reached = reached;
        this.lost = false;
        this.heard();
        return reached;
      } catch (error) {
        // Of the sheep that was named: what the others say is about them.
        failure ??= error;
      }
    }
    this.lost = true;
    throw failure;
  }

  private async connectTo(address: Address): Promise<Reached> {
    const client = await ControlClient.connect(address, { timeoutMs: CONNECT_TIMEOUT_MS });
    try {
      const info = await askInfo(client, AbortSignal.timeout(SILENT_MS));
      const id = this.clusterId;
      if (id !== '' && info.clusterId !== id && address !== this.options.address) {
        throw new AppError('invalid', `${address.host}:${address.port} belongs to another cluster by now`);
      }
      if (this.first?.clusterId !== info.clusterId) {
        const { result: doors } = await client.call('node.doors', {});
        this.first = { clusterId: info.clusterId, doors };
      }
      this.learn(info);
      return { client, info, doors: this.first!.doors };
    } catch (error) {
      client.close();
      throw error;
    }
  }

  private learn(info: ClusterInfo): void {
    const { host, port } = this.options.address;
    this.others = info.nodes
      .filter((node) => node.up && !(node.host === host && node.port === port))
      .slice(0, OTHERS_MAX)
      .map((node) => ({ host: node.host, port: node.port }));
  }

  private drop(client: ControlClient): void {
    client.close();
    if (this.reached?.client === client) this.reached = undefined;
  }
}

async function askInfo(client: ControlClient, signal: AbortSignal): Promise<ClusterInfo> {
  const { result } = await client.call('cluster.info', {}, { signal });
  if (result.status !== 'running') {
    throw new AppError(
      result.status === 'shutdown' ? 'shutdown' : result.status,
      `the cluster is not running: ${result.status.replaceAll('-', ' ')}`,
    );
  }
  return result;
}
