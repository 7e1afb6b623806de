import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Clock, sleep, systemClock } from '../../src/base/clock.js';
import { silentLogger } from '../../src/base/log.js';
import { SeededRandom, systemRandom } from '../../src/base/random.js';
import type { Coordinator } from '../../src/coord/coordinator.js';
import { parseEtcdAddress } from '../../src/coord/etcd/address.js';
import { EtcdCoordinator, type EtcdCoordinatorOptions } from '../../src/coord/etcd/etcd-coordinator.js';
import {
  type LocalCoordinator,
  type LocalCoordinatorOptions,
  openLocalCoordinator,
} from '../../src/coord/local/local-coordinator.js';
import { folderNotifier, silentNotifier } from '../../src/coord/local/notifier.js';
import type { Liveness, Processes } from '../../src/coord/local/processes.js';
import type { Disk, DiskFile } from '../../src/store/disk.js';
import { openFileDisk } from '../../src/store/file-disk.js';
import type { CoordinatorWorld } from './coordinator-suite.js';
import type { EtcdCluster } from './etcd-cluster.js';
import { CrashError, FakeDisk } from './fake-disk.js';
import { MemoryCoordinatorCluster } from './memory-coordinator.js';
import { type NodeClock, SimClock } from './sim-clock.js';

const FOLDER = 'coord';
const DEADLINE_MS = 60_000;

/** Simulated time for a test that awaits: events are executed while the body waits. */
export async function inSimulatedTime(clock: SimClock, body: () => Promise<void>): Promise<void> {
  let outcome: { error?: unknown } | undefined;
  body().then(
    () => (outcome = {}),
    (error: unknown) => (outcome = { error }),
  );
  await clock.run({ untilMs: clock.nowMs() + DEADLINE_MS, stop: () => outcome !== undefined });
  if (!outcome) throw new Error(`no end within ${DEADLINE_MS} ms of simulated time`);
  if ('error' in outcome) throw outcome.error;
}

/** A world whose processes are clocks: one that is killed or frozen runs no line any more. */
abstract class SimWorld implements CoordinatorWorld {
  readonly clock = new SimClock();
  protected readonly clocks = new Map<string, NodeClock>();

  abstract open(name: string): Promise<Coordinator>;

  kill(name: string): void {
    this.clocks.get(name)!.kill();
  }

  freeze(name: string, frozen: boolean): void {
    if (frozen) this.clocks.get(name)!.freeze();
    else this.clocks.get(name)!.thaw();
  }

  nowMs(): number {
    return this.clock.nowMs();
  }

  sleep(delayMs: number): Promise<void> {
    return sleep(this.clock, delayMs);
  }

  run(body: () => Promise<void>): Promise<void> {
    return inSimulatedTime(this.clock, body);
  }

  /** The clock of the latest process of that name: waiting on it ends with the process. */
  clockOf(name: string): Clock {
    return this.clocks.get(name)!;
  }

  protected clockFor(name: string): NodeClock {
    const clock = this.clock.forNode(name);
    this.clocks.set(name, clock);
    return clock;
  }
}

export class MemoryWorld extends SimWorld {
  readonly cluster: MemoryCoordinatorCluster;

  constructor(deadHolder: 'detected' | 'at-ttl' = 'detected', seed = 7) {
    super();
    this.cluster = new MemoryCoordinatorCluster({
      clock: this.clock,
      random: new SeededRandom(seed),
      deadHolder,
    });
  }

  async open(name: string): Promise<Coordinator> {
    return this.cluster.clientFor(name, this.clockFor(name));
  }

  override kill(name: string): void {
    super.kill(name);
    this.cluster.kill(name);
  }
}

/** Processes whose death is told to the table and not asked from the system. */
export class FakeProcesses {
  readonly dead = new Set<string>();
  readonly unknown = new Set<string>();

  of(identity: string): Processes {
    return {
      selfIdentity: () => identity,
      liveness: (other) => this.liveness(other),
      isListed: (other) => this.liveness(other) === 'alive',
    };
  }

  private liveness(identity: string): Liveness {
    if (this.dead.has(identity)) return 'dead';
    return this.unknown.has(identity) ? 'unknown' : 'alive';
  }
}

/** The local driver over one fake disk in simulated time. Names are given new identities at each opening. */
export class FakeLocalWorld extends SimWorld {
  readonly disk: FakeDisk;
  readonly processes = new FakeProcesses();
  readonly random: SeededRandom;
  private readonly identities = new Map<string, string>();
  private count = 0;

  constructor(
    seed = 1,
    private readonly options: Partial<LocalCoordinatorOptions> = {},
  ) {
    super();
    this.random = new SeededRandom(seed);
    this.disk = new FakeDisk({ clock: this.clock, random: this.random, syncMs: [1, 1] });
  }

  open(name: string): Promise<LocalCoordinator> {
    const identity = `${name}-${++this.count}`;
    this.identities.set(name, identity);
    const clock = sparingCrashes(this.clockFor(name));
    return openLocalCoordinator({
      disk: diskOfProcess(this.disk, clock),
      clock,
      random: this.random,
      log: silentLogger,
      processes: this.processes.of(identity),
      notifier: silentNotifier,
      folder: FOLDER,
      create: true,
      ...this.options,
    });
  }

  override kill(name: string): void {
    super.kill(name);
    this.processes.dead.add(this.identities.get(name)!);
  }

  /** The end of every process; with a power cut also of what was not synced. */
  crash(options: { powerCut: boolean; loseAll?: boolean }): void {
    for (const name of this.clocks.keys()) this.kill(name);
    this.clocks.clear();
    this.disk.crash(options);
  }
}

/**
 * One disk serves all processes; what a sync completes of a process that is frozen or dead waits as the process does.
 */
function diskOfProcess(disk: Disk, clock: Clock): Disk {
  const through = async (done: Promise<void>): Promise<void> => {
    await done;
    await new Promise<void>((resolve) => clock.defer(resolve));
  };
  return Object.assign(Object.create(disk) as Disk, {
    syncDir: (folder: string) => through(disk.syncDir(folder)),
    open(path: string, options?: { create?: boolean; exclusive?: boolean }): DiskFile {
      const file = disk.open(path, options);
      return Object.assign(Object.create(file) as DiskFile, { sync: () => through(file.sync()) });
    },
  });
}

/** A process that met its end in the middle of a timer's work throws no further. */
function sparingCrashes(clock: Clock): Clock {
  const spared = (run: () => void) => (): void => {
    try {
      run();
    } catch (error) {
      if (!(error instanceof CrashError)) throw error;
    }
  };
  return {
    nowMs: () => clock.nowMs(),
    wallMs: () => clock.wallMs(),
    after: (delayMs, run) => clock.after(delayMs, spared(run)),
    defer: (run) => clock.defer(spared(run)),
  };
}

/** The local driver on a real folder and in real time; all handles are in this process, so kill is only told. */
export function realLocalWorld(options: Partial<LocalCoordinatorOptions> = {}): CoordinatorWorld & {
  readonly root: string;
} {
  const root = mkdtempSync(join(tmpdir(), 'sheepfold-coord-'));
  const processes = new FakeProcesses();
  const handles: Coordinator[] = [];
  return {
    root,
    async open(name) {
      const handle = await openLocalCoordinator({
        disk: openFileDisk(root),
        clock: systemClock,
        random: systemRandom,
        log: silentLogger,
        processes: processes.of(name),
        notifier: folderNotifier(join(root, FOLDER)),
        folder: FOLDER,
        create: true,
        ...options,
      });
      handles.push(handle);
      return handle;
    },
    kill: (name) => void processes.dead.add(name),
    nowMs: () => systemClock.nowMs(),
    sleep: (delayMs) => sleep(systemClock, delayMs),
    async run(body) {
      try {
        await within(20_000, body());
      } finally {
        for (const handle of handles) await handle.close();
        rmSync(root, { recursive: true, force: true });
      }
    },
  };
}

/**
 * The etcd driver on a real etcd, each world under a name of its own there. All handles are in this process, so kill
 * is told to the table of processes, and the handle falls silent.
 */
export class EtcdWorld implements CoordinatorWorld {
  /** The shortest that etcd has: whole seconds. */
  readonly ttlMs = 1000;
  private static count = 0;
  private readonly processes = new FakeProcesses();
  private readonly handles = new Map<string, EtcdCoordinator>();
  private readonly all: EtcdCoordinator[] = [];
  private readonly name = `world-${++EtcdWorld.count}`;

  constructor(
    private readonly etcd: EtcdCluster,
    private readonly options: Partial<EtcdCoordinatorOptions> = {},
  ) {}

  /** `members`: those that this handle knows; all without. */
  async open(name: string, { members }: { members?: number[] } = {}): Promise<EtcdCoordinator> {
    const handle = await EtcdCoordinator.open({
      address: parseEtcdAddress(this.etcd.address(this.name, members)),
      clock: systemClock,
      random: systemRandom,
      log: silentLogger,
      processes: this.processes.of(`host/${name}`),
      startLimitMs: 10_000,
      ...this.options,
    });
    this.handles.set(name, handle);
    this.all.push(handle);
    return handle;
  }

  kill(name: string): void {
    this.processes.dead.add(`host/${name}`);
    this.handles.get(name)!.abandon();
  }

  nowMs(): number {
    return systemClock.nowMs();
  }

  sleep(delayMs: number): Promise<void> {
    return sleep(systemClock, delayMs);
  }

  async run(body: () => Promise<void>): Promise<void> {
    try {
      await within(20_000, body());
    } finally {
      for (const handle of this.all) await handle.close();
    }
  }
}

/** A deadline for what may never settle: uvu would end the run without naming the test. */
export async function within<T>(deadlineMs: number, promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const deadline = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not done within ${deadlineMs} ms`)), deadlineMs);
  });
  try {
    return await Promise.race([promise, deadline]);
  } finally {
    clearTimeout(timer);
  }
}
