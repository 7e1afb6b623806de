/** A room of hosts with a cluster in it: what the runs break, and how they see that it is whole again. */
import { mkdirSync, mkdtempSync } from 'node:fs';
import { join } from 'node:path';
import type { ControlMethod, ControlParams, ControlResult } from '../../src/control/api.js';
import { HostNetwork } from '../helpers/netns.js';
import { folderPrefix, removeFolder } from '../helpers/netns-leftovers.js';
import { within } from '../helpers/real-cluster.js';
import { Etcd } from './etcd.js';
import { Host } from './host.js';
import { HostSheep } from './sheep.js';

const START_DEADLINE_MS = 60_000;
const HEALTHY_DEADLINE_MS = 180_000;
/** Of a sheep that is asked how it is. */
const ANSWER_DEADLINE_MS = 5000;

export interface RoomOptions {
  /** The zone of each host. */
  readonly zones: readonly number[];
  readonly copies: number;
  readonly minCopies?: number;
  /** Hosts with a member of etcd; without any, the sheep share the local coordinator, from which no cut keeps them. */
  readonly etcdOn?: readonly number[];
  /** Each host has a second network, for traffic between sheep (network 1). */
  readonly ioNetwork?: boolean;
  /** More options for each sheep. */
  readonly sheepOptions?: readonly string[];
  /** Called before the sheep of a host starts: its folder may become a file system of its own. */
  readonly prepare?: (host: Host) => unknown;
}

export class Room {
  /** What must end with the room, also when a run fails: loops that open volumes again and again. */
  readonly ends: (() => void)[] = [];

  private constructor(
    readonly folder: string,
    readonly network: HostNetwork,
    readonly hosts: readonly Host[],
    readonly sheep: readonly HostSheep[],
    readonly etcd: Etcd | undefined,
  ) {}

  static async open(options: RoomOptions): Promise<Room> {
    const network = new HostNetwork(options.zones.length, options.ioNetwork ? 2 : 1);
    // Now and not earlier: the network has just removed what dead runs left.
    const folder = mkdtempSync(folderPrefix);
    const withEtcd = options.etcdOn !== undefined;
    const hosts = options.zones.map((zone, index) => new Host(network, index, zone, folder, withEtcd));
    const etcd = withEtcd ? new Etcd(options.etcdOn.map((index) => hosts[index]!)) : undefined;
    const coordinator = etcd?.address ?? join(folder, 'coordinator');
    const sheep = hosts.map((host) => {
      const io = options.ioNetwork ? ['--io-host', network.address(host.index, 1)] : [];
      return new HostSheep(host, coordinator, [...io, ...(options.sheepOptions ?? [])]);
    });
    const room = new Room(folder, network, hosts, sheep, etcd);
    process.once('exit', () => room.remove());
    try {
      for (const { dir } of sheep) mkdirSync(dir);
      for (const host of hosts) options.prepare?.(host);
      await etcd?.start();
      await room.startSheep();
      await within(START_DEADLINE_MS, 'all sheep know each other', async () => {
        const { nodes } = await sheep[0]!.call('cluster.info', {});
        return nodes.filter((node) => node.up).length === sheep.length;
      });
      const { copies, minCopies } = options;
      await sheep[0]!.call('cluster.format', { copies, ...(minCopies !== undefined && { minCopies }) });
      await room.waitHealthy();
    } catch (error) {
      process.stderr.write(`${room.tails()}\n`);
      await room.close();
      throw error;
    }
    return room;
  }

  /** Starts every sheep that does not run. */
  async startSheep(): Promise<void> {
    const down = this.sheep.filter((one) => !one.running);
    for (const one of down) one.spawn();
    await Promise.all(down.map((one) => one.waitUp()));
  }

  /** A call through the first sheep that runs. */
  call<M extends ControlMethod>(method: M, params: ControlParams<M>): Promise<ControlResult<M>> {
    const one = this.sheep.find((each) => each.running);
    if (one === undefined) throw new Error('no sheep runs');
    return one.call(method, params);
  }

  /**
   * Waits until every sheep that runs sees every member up and with everything it should have, and nothing being moved,
   * all in one epoch. Members that were given up count as gone. Resolves with the time that took.
   */
  async waitHealthy(deadlineMs = HEALTHY_DEADLINE_MS): Promise<number> {
    const startMs = performance.now();
    let unwell = '';
    await within(deadlineMs, 'the cluster is healthy', async () => {
      unwell = await this.unwell();
      return unwell === '';
    }).catch((error) => {
      throw new Error(`${error instanceof Error ? error.message : error}: ${unwell}`);
    });
    return performance.now() - startMs;
  }

  /**
   * Healthy, and in one epoch for `forMs`. A lease may end just after its holder can be reached again: a cluster that
   * is whole a moment after a cut still sends the holder away, and takes it back, when that was so.
   */
  async waitSteady(forMs: number): Promise<void> {
    let seen = -1;
    let sinceMs = 0;
    await within(HEALTHY_DEADLINE_MS, `the cluster stays in one epoch for ${forMs} ms`, async () => {
      await this.waitHealthy();
      const { epoch } = await this.call('cluster.info', {});
      if (epoch !== seen) sinceMs = performance.now();
      seen = epoch;
      return performance.now() - sinceMs >= forMs;
    });
  }

  /** What is not as it should be, in words; empty when all is well. */
  async unwell(): Promise<string> {
    const epochs = new Set<number>();
    for (const one of this.sheep) {
      if (!one.running) continue;
      const { epoch, nodes, waiting } = await one.call('cluster.info', {}, ANSWER_DEADLINE_MS);
      const { move } = await one.call('cluster.recovery', {}, ANSWER_DEADLINE_MS);
      epochs.add(epoch);
      const sees = `sheep ${one.index} (epoch ${epoch}) sees`;
      const members = nodes.filter((node) => node.up || node.in || node.empty !== true);
      const bad = members.filter((node) => !node.up || node.syncing || node.incomplete === true);
      if (bad.length > 0) return `${sees} ${bad.map(({ host }) => host).join(' ')} not up, or behind`;
      if (move !== undefined) return `${sees} objects being moved since epoch ${move.epoch}`;
      if (waiting.length > 0) return `${sees} ${waiting.join('; ')}`;
      if (members.length === nodes.length && (await one.counters()).sheepfold_cluster_healthy !== 1)
        return `sheep ${one.index} does not call the cluster healthy`;
    }
    return epochs.size === 1 ? '' : `epochs ${[...epochs].join(' ')} at once`;
  }

  tails(): string {
    return this.sheep.map((one) => `--- sheep ${one.index}, ${one.host.address}\n${one.tail()}`).join('\n');
  }

  /** Ends everything, and removes it. */
  async close(): Promise<void> {
    for (const end of this.ends) end();
    await Promise.all(this.sheep.map((one) => one.kill()));
    await this.etcd?.kill();
    this.remove();
  }

  private remove(): void {
    this.network.remove();
    if (process.env.KEEP_ROOM !== '1') removeFolder(this.folder);
  }
}

/** Opens a room, hands it to `body`, and closes it; the ends of all logs are shown when something fails. */
export async function withRoom(options: RoomOptions, body: (room: Room) => Promise<void>): Promise<void> {
  const room = await Room.open(options);
  try {
    await body(room);
  } catch (error) {
    process.stderr.write(`${room.tails()}\n`);
    throw error;
  } finally {
    await room.close();
  }
}
