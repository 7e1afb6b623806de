import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { systemClock } from '../base/clock.js';
import { AppError } from '../base/errors.js';
import { createLogger, type Logger } from '../base/log.js';
import { systemRandom } from '../base/random.js';
import { openHostCoordinator } from '../coord/local/local-defaults.js';
import { listenNbd } from '../nbd/listen.js';
import { parsePskFile } from '../nbd/psk-file.js';
import { createNbdServer } from '../nbd/server.js';
import type { NbdTlsOptions } from '../nbd/tls.js';
import { TcpTransport } from '../net/tcp-transport.js';
import { openFileDisk } from '../store/file-disk.js';
import type { ObjectStore } from '../store/object-store.js';
import { openStore } from '../store/open-store.js';
import { SUPERBLOCK_PATH } from '../store/superblock.js';
import type { SheepConfig } from './config.js';
import { FrontDoor } from './front-door.js';
import { listenHttp } from './http.js';
import { claimDirectory, loadIdentity, noteStore, readBootId, readHostId } from './identity.js';
import { Metrics } from './metrics.js';
import { SheepCore } from './sheep-core.js';

export interface RunningSheep {
  /** Stops cleanly; `ended` resolves afterwards. */
  stop(reason: string): Promise<void>;
  /** The process's exit code. */
  readonly ended: Promise<number>;
}

/** Joins the real parts (disk, network, clock) and opens the doors: the single place where that happens. */
export async function runSheep(config: SheepConfig): Promise<RunningSheep> {
  const debugAreas = (process.env.SHEEPFOLD_DEBUG ?? '').split(',').filter((area) => area !== '');
  const log = createLogger({ ...(config.log && { file: config.log }), debugAreas });
  const { nodeId } = loadIdentity(config.dir);
  await claimDirectory(config.dir);
  const bootId = readBootId();
  mkdirSync(dirname(config.coordinator), { recursive: true });
  const coordinator = await openHostCoordinator({
    path: config.coordinator,
    log: log.child('coordinator'),
    create: true,
  });
  const transport = new TcpTransport();
  let end: (code: number) => void = () => {};
  const ended = new Promise<number>((resolve) => {
    end = resolve;
  });
  let metrics: Metrics | undefined;
  const ports = { port: config.port, nbdPort: config.nbdPort, httpPort: config.httpPort };
  const core: SheepCore = new SheepCore({
    self: {
      id: nodeId,
      host: config.host,
      ...ports,
      zone: config.zone,
      vnodes: config.vnodes,
      hostId: readHostId(),
      bootId,
      pid: process.pid,
    },
    coordinator,
    transport,
    clock: systemClock,
    random: systemRandom,
    log,
    leaseTtlMs: config.leaseTtlMs,
    openStore: (formatId, former) => openNodeStore(config.dir, nodeId, bootId, formatId, former, log),
    onEnd: ({ kind, message }) => {
      log.info({ reason: message }, 'this sheep ends');
      void stop(message, kind === 'shutdown' ? 0 : 1);
    },
    counters: async () => metrics?.counters() ?? {},
  });
  const nbd = createNbdServer({
    provider: core,
    clock: systemClock,
    log: log.child('nbd'),
    observer: {
      requestDone: (command, durationMs, bytes, error) =>
        metrics?.requestDone(command, durationMs, bytes, error),
    },
    ...tlsOptions(config),
  });
  metrics = new Metrics(
    () => core,
    () => nbd.stats(),
  );
  const door = new FrontDoor({ transport, handler: core, epoch: () => core.epoch, log: log.child('door') });
  let stopping: Promise<void> | undefined;
  const stop = (reason: string, code = 0): Promise<void> => {
    stopping ??= (async () => {
      log.info({ reason }, 'stopping');
      await nbd.close();
      await core.stop();
      door.close();
      await transport.close();
      await coordinator.close();
      if (config.pidFile) rmSync(config.pidFile, { force: true });
      end(code);
    })();
    return stopping;
  };
  await openDoors(config, door, nbd, () => core, metrics);
  await core.start();
  if (config.pidFile) writeFileSync(config.pidFile, `${process.pid}\n`);
  log.info({ nodeId, ...ports }, 'a sheep is up');
  return { stop, ended };
}

async function openDoors(
  config: SheepConfig,
  door: FrontDoor,
  nbd: ReturnType<typeof createNbdServer>,
  core: () => SheepCore,
  metrics: Metrics,
): Promise<void> {
  const { host } = config;
  try {
    await door.listen({ host, port: config.port });
    if (config.unixSocket) await door.listen({ path: config.unixSocket });
    if (config.nbdPort >= 0) await listenNbd(nbd, { host, port: config.nbdPort });
    if (config.nbdSocket) await listenNbd(nbd, { path: config.nbdSocket });
    if (config.httpPort >= 0) await listenHttp({ host, port: config.httpPort }, core, metrics);
  } catch (error) {
    const cause = error as NodeJS.ErrnoException & { port?: number };
    if (cause.code !== 'EADDRINUSE') throw error;
    throw new AppError(
      'system',
      `port ${cause.port ?? ''} is in use: choose others, or stop what listens there`,
    );
  }
}

function tlsOptions(config: SheepConfig): { tls: NbdTlsOptions } | undefined {
  const mode = config.tlsMode;
  if (mode === 'off') return undefined;
  if (config.tlsPsk !== undefined) {
    return {
      tls: { mode, credentials: { type: 'psk', keys: parsePskFile(readFileSync(config.tlsPsk, 'utf8')) } },
    };
  }
  if (config.tlsCert === undefined || config.tlsKey === undefined) {
    throw new AppError('usage', 'TLS needs --tls-cert and --tls-key, or --tls-psk');
  }
  const clientCa = config.tlsClientCa;
  return {
    tls: {
      mode,
      credentials: {
        type: 'certificate',
        certPem: readFileSync(config.tlsCert, 'utf8'),
        keyPem: readFileSync(config.tlsKey, 'utf8'),
        ...(clientCa !== undefined && { clientCaPem: readFileSync(clientCa, 'utf8') }),
      },
    },
  };
}

/**
 * Each format of a cluster has a store of its own; those of earlier formats go, those of other clusters are refused.
 */
async function openNodeStore(
  dir: string,
  nodeId: string,
  bootId: string,
  formatId: string,
  former: readonly string[],
  log: Logger,
): Promise<ObjectStore> {
  const stores = join(dir, 'store');
  for (const name of existsSync(stores) ? readdirSync(stores) : []) {
    if (name === formatId) continue;
    if (!former.includes(name)) {
      throw new AppError(
        'system',
        `${join(stores, name)} belongs to another cluster: choose another directory`,
      );
    }
    log.info({ store: name }, 'removing the store of an earlier format');
    rmSync(join(stores, name), { recursive: true, force: true });
  }
  const path = join(stores, formatId);
  // An empty store would answer "no such object" for everything this node is known to hold.
  if (loadIdentity(dir).formatId === formatId && !existsSync(join(path, SUPERBLOCK_PATH))) {
    throw new AppError('system', `the store ${path} is missing: is its disk mounted?`);
  }
  mkdirSync(path, { recursive: true });
  const store = await openStore({
    disk: openFileDisk(path),
    clock: systemClock,
    log: log.child('store'),
    identity: { clusterId: formatId, nodeId },
    bootId,
  });
  noteStore(dir, formatId);
  return store;
}
