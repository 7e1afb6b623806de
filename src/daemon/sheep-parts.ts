import type { Socket } from 'node:net';
import { resolve } from 'node:path';
import { sleep, systemClock } from '../base/clock.js';
import { AppError } from '../base/errors.js';
import type { LogControl, Logger } from '../base/log.js';
import { systemRandom } from '../base/random.js';
import type { ControlHandler } from '../control/api.js';
import { type ClusterConfig, CONFIG_KEY } from '../control/cluster-calls.js';
import type { GuardedCoordinator } from '../coord/guarded-coordinator.js';
import { openCoordinatorAt } from '../coord/open-coordinator.js';
import { listenNbd } from '../nbd/listen.js';
import { createNbdServer, type NbdServer } from '../nbd/server.js';
import type { NbdTlsOptions } from '../nbd/tls.js';
import { TcpTransport } from '../net/tcp-transport.js';
import type { SheepdogServer } from '../sheepdog/server.js';
import type { SheepConfig } from './config.js';
import { answerDiskCalls } from './disk-calls.js';
import { FrontDoor } from './front-door.js';
import type { Detached } from './handover-connections.js';
import type { ListeningSockets } from './handover-sockets.js';
import { listenHttp } from './http.js';
import { readBootId, readHostId } from './identity.js';
import { Metrics } from './metrics.js';
import type { NodeDisks } from './node-disks.js';
import { openNodeStore } from './node-store.js';
import { SheepCore, type SheepOptions } from './sheep-core.js';
import { createSheepdogServer } from './sheepdog-door.js';

/** How long the end of a sheep waits for answers on the sheepdog port. */
const DRAIN_MS = 2000;
const DRAIN_LOOK_MS = 2;

/**
 * A silent sheep is excluded after this. A lease must outlive the election of a new leader of etcd, one to two seconds
 * with its usual settings, and the renewals that fail meanwhile.
 */
const LEASE_TTL_MS = { local: 3000, etcd: 4000 } as const;

export interface PartsOptions {
  readonly config: SheepConfig;
  readonly nodeId: string;
  readonly logControl: LogControl;
  readonly coordinator: GuardedCoordinator;
  readonly tls: { tls: NbdTlsOptions } | undefined;
  readonly sockets: ListeningSockets;
  /** What answers control calls: the core, and what the process adds to it. */
  readonly handlerOf: (core: SheepCore) => ControlHandler;
  readonly onEnd: SheepOptions['onEnd'];
}

/** Everything between the listening sockets and the disk; a process may open it again after it has closed it. */
export interface SheepParts {
  /** Settings, store and registration, then doors; whoever connects earlier waits. */
  start(): Promise<void>;
  /**
   * Answers what is in flight, gives up volumes, store and lease. The sockets go on listening, unattended.
   * Connections that can do without this process are not closed but put into `kept`, when it is given.
   */
  close(kept?: Detached[]): Promise<void>;
  /** Goes on with such a connection. */
  adopt(socket: Socket, unread: Buffer, silent: boolean): void;
}

/**
 * The coordinator that is in force, waited for as long as `isWanted` says. `onLeaving`: the cluster begins to move to
 * another one.
 */
export async function openCoordinator(
  { coordinator: address, clusterId }: SheepConfig,
  log: Logger,
  events: { onLeaving: () => void; isWanted: () => boolean },
): Promise<GuardedCoordinator> {
  const options = { address, log: log.child('coordinator'), create: clusterId === undefined };
  const coordinator = await openCoordinatorAt({ ...options, ...events });
  const config = (await coordinator.get(CONFIG_KEY))?.value;
  const found = config === undefined ? undefined : (JSON.parse(config) as ClusterConfig).formatId;
  if (clusterId === undefined || clusterId === found) return coordinator;
  await coordinator.close();
  throw new AppError('usage', `the coordinator holds ${found ?? 'no cluster'}, not the cluster ${clusterId}`);
}

/** Joins the real parts (disk, network, clock): the single place where that happens. */
export function assembleParts(options: PartsOptions): SheepParts {
  const { config, nodeId, logControl, coordinator, sockets } = options;
  const log = logControl.logger;
  const transport = new TcpTransport();
  const bootId = readBootId();
  let metrics: Metrics | undefined;
  let disks: NodeDisks | undefined;
  const core: SheepCore = new SheepCore({
    self: { ...selfOf(config, nodeId), bootId },
    coordinator,
    transport,
    clock: systemClock,
    random: systemRandom,
    log,
    leaseTtlMs: config.leaseTtlMs ?? LEASE_TTL_MS[coordinator.driver],
    openStore: async (formatId, former) => {
      const rootOf = (vid: number) => core.parts?.directory.vdi(vid)?.root;
      const opened = await openNodeStore({ config, nodeId, bootId, formatId, former, rootOf, log });
      disks = opened.disks;
      return opened.store;
    },
    onEnd: options.onEnd,
    host: { disks: () => disks?.info() ?? [], log: logControl },
    counters: async () => metrics?.counters() ?? {},
    doors: {
      nbdPort: Math.max(0, config.nbdPort),
      nbdTls: config.tlsMode,
      ...(config.nbdSocket !== undefined && { nbdSocket: resolve(config.nbdSocket) }),
    },
  });
  const nbd = createNbdServer({
    provider: core,
    clock: systemClock,
    log: log.child('nbd'),
    observer: {
      requestDone: (command, durationMs, bytes, error) =>
        metrics?.requestDone(command, durationMs, bytes, error),
    },
    ...options.tls,
  });
  metrics = new Metrics(
    () => core,
    () => nbd.stats(),
  );
  const handler = answerDiskCalls(() => disks, options.handlerOf(core));
  const server = createSheepdogServer({
    core,
    handler,
    vnodes: config.vnodes,
    driverName: coordinator.driver,
    clock: systemClock,
    log: log.child('sheepdog'),
    observer: (command, durationMs, bytes, error) => metrics?.requestDone(command, durationMs, bytes, error),
  });
  const door = new FrontDoor({ transport, server, log: log.child('door') });
  const doors = new Doors(sockets, door, nbd, core, metrics);
  return {
    async start() {
      await doors.openHttp();
      await core.start();
      // Not earlier: what comes meanwhile waits in the sockets' queues, where nobody can give a wrong answer.
      await doors.open();
    },
    adopt: (socket, unread, silent) => door.adopt(socket, unread, silent),
    async close(kept) {
      await doors.stopAccepting();
      // Before the core refuses anything: an error would reach a guest, a lost connection only reconnects.
      const detached = kept === undefined ? Promise.resolve() : door.detach(DRAIN_MS, kept);
      await Promise.all([nbd.close(), detached.then(() => drain(server))]);
      await core.stop();
      door.close();
      await transport.close();
      await coordinator.close();
    },
  };
}

function selfOf(config: SheepConfig, id: string): Omit<SheepOptions['self'], 'bootId'> {
  const { host, advertise, port, nbdPort, httpPort, zone, vnodes } = config;
  const place = { host: advertise ?? host, port, nbdPort, httpPort, zone, vnodes };
  const io = config.ioHost === undefined ? {} : { ioHost: config.ioHost, ioPort: config.ioPort ?? port };
  return { id, ...place, ...io, hostId: readHostId(), pid: process.pid };
}

/** Ends every connection of the sheepdog port with its answers given, as far as they come soon. */
async function drain(server: SheepdogServer): Promise<void> {
  const endMs = systemClock.nowMs() + DRAIN_MS;
  server.close();
  while (server.size > 0 && systemClock.nowMs() < endMs) await sleep(systemClock, DRAIN_LOOK_MS);
}

/** The servers of all doors, opened and closed together. */
class Doors {
  private readonly closers: (() => unknown)[] = [];
  private closed = false;

  constructor(
    private readonly sockets: ListeningSockets,
    private readonly door: FrontDoor,
    private readonly nbd: NbdServer,
    private readonly core: SheepCore,
    private readonly metrics: Metrics,
  ) {}

  async open(): Promise<void> {
    const { sockets, door, nbd, closers } = this;
    if (this.closed) return;
    closers.push(() => door.stopAccepting());
    await door.listen(sockets.at('client'));
    if (sockets.has('io')) await door.listen(sockets.at('io'), { peersOnly: true });
    if (sockets.has('clientUnix')) await door.listen(sockets.at('clientUnix'));
    for (const name of ['nbd', 'nbdUnix'] as const) {
      if (!sockets.has(name)) continue;
      const listener = await listenNbd(nbd, sockets.at(name));
      closers.push(() => listener.close());
    }
  }

  /** Health and metrics, also of a sheep that is still starting. */
  async openHttp(): Promise<void> {
    const { sockets, core, metrics, closers } = this;
    if (!sockets.has('http')) return;
    const http = await listenHttp(sockets.at('http'), () => core, metrics);
    closers.push(() => {
      http.close();
      http.closeAllConnections();
    });
  }

  async stopAccepting(): Promise<void> {
    this.closed = true;
    for (const close of this.closers) await close();
  }
}
