import { type LogLevel, levelNumber, logLevels } from '../../base/log-level.js';
import type { Directory } from '../../volume/directory.js';
import type { Locks } from '../../volume/locks.js';
import type { VdiRecord } from '../../volume/records.js';
import { ClusterFlag } from '../../wire/sheepdog.js';
import type {
  AdminActs,
  ClusterDescription,
  ClusterFacts,
  ClusterState,
  CounterFacts,
  DiskFacts,
  LockFacts,
  NodeFacts,
  ObjectFacts,
  RecoveryFacts,
  RequestFacts,
  VdiFacts,
} from './cluster-facts.js';

/** A member, or a node that waits for the format, as `cluster.info` gives it. */
export interface MemberInfo {
  readonly id: string;
  readonly host: string;
  readonly port: number;
  readonly vnodes: number;
  readonly zone: number;
  readonly up: boolean;
  readonly usedBytes: number;
  readonly freeBytes: number;
}

/** The part of `cluster.info` that is needed here. */
export interface ClusterInfo {
  readonly status: Exclude<ClusterState, 'killed'>;
  readonly createdMs: number;
  readonly copies: number;
  readonly blockSizeShift: number;
  readonly recoveryPaused?: boolean;
  readonly epochs: readonly {
    readonly epoch: number;
    readonly wallMs: number;
    readonly nodes: readonly { readonly host: string; readonly port: number; readonly vnodes: number }[];
  }[];
  readonly nodes: readonly MemberInfo[];
}

/** What exists only in a formatted cluster. */
export interface VolumeSources {
  readonly directory: Directory;
  readonly locks: Locks;
  /** ClusterObjects. */
  readonly objects: ObjectFacts;
}

/** Where the facts of a sheep come from. */
export interface SheepFactsSources {
  readonly vnodes: number;
  readonly driverName: string;
  readonly info: () => ClusterInfo;
  /** Undefined while the cluster is not formatted. */
  readonly volumes: () => VolumeSources | undefined;
  /** A call of the control interface, at this sheep. */
  readonly call: (method: string, params: object) => Promise<{ result: unknown }>;
}

/** The facts of a running sheep, always as they are at the moment. */
export function sheepFacts(sources: SheepFactsSources): ClusterFacts {
  return new SheepFacts(sources);
}

const noObjects: ObjectFacts = {
  sizeOf: async () => undefined,
  hash: async () => undefined,
  read: async () => undefined,
  async *stored() {},
};

class SheepFacts implements ClusterFacts {
  readonly acts: AdminActs;
  readonly driverName: string;
  readonly vnodes: number;

  constructor(private readonly sources: SheepFactsSources) {
    this.acts = actsBy(sources.call);
    this.driverName = sources.driverName;
    this.vnodes = sources.vnodes;
  }

  describe(): ClusterDescription {
    const { status, createdMs, copies, blockSizeShift, nodes, epochs, ...rest } = this.sources.info();
    const { recoveryPaused: recoveryDisabled = false } = rest;
    const members = new Map(nodes.map((member) => [placeOf(member), member]));
    return {
      state: status,
      createdMs,
      copies,
      blockSizeShift,
      flags: this.flags(),
      recoveryDisabled,
      nodes: nodes.filter((member) => member.up).map((member) => nodeOf(member, member)),
      epochs: epochs.map((record) => ({
        epoch: record.epoch,
        wallMs: record.wallMs,
        nodes: record.nodes.map((node) => nodeOf(node, members.get(placeOf(node)))),
      })),
    };
  }

  async logLevel(): Promise<number> {
    const { level } = await this.ask<{ level: LogLevel }>('node.loglevel');
    return levelNumber(level);
  }

  async disks(): Promise<DiskFacts[]> {
    return (await this.ask<{ disks: DiskFacts[] }>('node.disks')).disks;
  }

  async recovery(): Promise<RecoveryFacts | undefined> {
    const { recovering, done, total } = await this.ask<{ recovering: boolean; done: number; total: number }>(
      'node.recovery',
    );
    return recovering ? { finished: done, total } : undefined;
  }

  async counters(): Promise<CounterFacts> {
    const { counters } = await this.ask<{ counters: Record<string, number> }>('node.stat');
    return { gateway: requestsOf('client', counters), peer: requestsOf('peer', counters) };
  }

  async vdis(): Promise<VdiFacts[]> {
    const volumes = this.sources.volumes();
    if (volumes === undefined) return [];
    // Whoever asks may have changed them through another sheep a moment ago.
    await volumes.locks.catchUp();
    const records = volumes.directory.vdis().filter((record) => record.state !== 'pending');
    const { nodes } = this.sources.info();
    const byId = new Map(nodes.map((member) => [member.id, member]));
    return records.map((record) => describeVdi(record, volumes, byId));
  }

  get objects(): ObjectFacts {
    return this.sources.volumes()?.objects ?? noObjects;
  }

  /** What the original calls the things that are always so here, and the one that can be chosen. */
  private flags(): number {
    const volumes = this.sources.volumes();
    if (volumes === undefined) return 0;
    const useLock = volumes.locks.exclusive ? ClusterFlag.USE_LOCK : 0;
    return ClusterFlag.AUTO_VNODES | ClusterFlag.AVOID_DISKFULL | useLock;
  }

  private async ask<T>(method: string): Promise<T> {
    return (await this.sources.call(method, {})).result as T;
  }
}

function actsBy(call: SheepFactsSources['call']): AdminActs {
  const act = async (method: string, params: object = {}): Promise<void> => void (await call(method, params));
  return {
    // The original's `dog` has asked the administrator; there it is one command for the first time and for all others.
    format: ({ copies, blockSizeShift, strict, useLock }) =>
      act('cluster.format', {
        copies,
        blockSizeShift,
        ...(strict && { minCopies: copies }),
        ...(useLock && { useLock }),
        force: true,
      }),
    shutdown: () => act('cluster.shutdown'),
    kill: () => act('node.kill'),
    setDefaultCopies: (copies) => act('cluster.alter-copy', { copies }),
    setRecovery: (enabled) => act('cluster.settings', { recoveryPaused: !enabled }),
    setLogLevel: (level) => act('node.loglevel', { level: logLevels[level]! }),
  };
}

function describeVdi(
  record: VdiRecord,
  { directory, locks }: VolumeSources,
  members: ReadonlyMap<string, MemberInfo>,
): VdiFacts {
  const { vid, parent, copies, blockSizeShift, snapshotMs, state, line } = record;
  const working = directory.line(line)?.vid === vid;
  // A lock is of the line and shows at its working version: a snapshot is never locked (I-9).
  const lock = working ? lockOf(line, locks, members) : undefined;
  return {
    vid,
    parentVid: parent,
    copies,
    blockSizeShift,
    snapshot: snapshotMs > 0,
    deleted: state === 'deleted',
    ...(lock && { lock }),
  };
}

/** Who has the volume open. Without USE_LOCK several may, and the one who was first is shown. */
function lockOf(line: string, locks: Locks, members: ReadonlyMap<string, MemberInfo>): LockFacts | undefined {
  const holders = locks.holders(line);
  if (holders.length === 0) return undefined;
  const owners = holders.map(({ nodeId, state }) => {
    const { host, port } = members.get(nodeId) ?? { host: '', port: 0 };
    return { host, port, ...(state && { copy: state }) };
  });
  return { kind: holders.every((holder) => holder.shared) ? 'shared' : 'locked', owners };
}

const placeOf = ({ host, port }: { host: string; port: number }): string => `${host} ${port}`;

/** A past member whose place nobody knows any more has zone 0 and no space. */
function nodeOf(
  { host, port, vnodes }: { host: string; port: number; vnodes: number },
  member: MemberInfo | undefined,
): NodeFacts {
  const spaceBytes = member === undefined ? 0 : member.usedBytes + member.freeBytes;
  return { host, port, vnodes, zone: member?.zone ?? 0, spaceBytes };
}

function requestsOf(side: 'client' | 'peer', counters: Readonly<Record<string, number>>): RequestFacts {
  const value = (name: keyof RequestFacts): number => counters[`${side}.${name}`] ?? 0;
  return {
    active: value('active'),
    total: value('total'),
    read: value('read'),
    write: value('write'),
    remove: value('remove'),
    flush: value('flush'),
    writeBytes: value('writeBytes'),
    readBytes: value('readBytes'),
  };
}
