import type { LogLevel } from '../base/log-level.js';
import type { DoctorMethods } from './doctor-api.js';
import type { MemberMethods, NodeProgress } from './member-api.js';
import type { StagedMethods } from './staged-api.js';

/**
 * The control interface that `dog` (and later pool-backend) speaks to any sheep: one call = a method, JSON
 * parameters, an optional blob; the answer is JSON and an optional blob, after any number of progress messages.
 * Carried on the sheepdog port (7000) as an extension opcode (CONTROL, 0xe0) inside the ordinary 48-byte header, so
 * one port serves old clients, dog and peers.
 *
 * Frame: sheepdog request header (proto_ver 2, opcode 0xe0, flags WRITE, data_length = payload length), payload =
 * u32 LE length of the JSON text, the JSON text, then the blob. Answers have the same payload shape; result =
 * result code of the protocol; flag 0x8000 in the answer's header: progress, more answers of this id follow.
 * The JSON of a request is {method, params}; of a success {result}; of a failure {error: {code, message}} with code =
 * ErrorCode of base/errors.ts; of a progress message {progress: {done, total, unit}}.
 */
export const CONTROL_OPCODE = 0xe0;
export const CONTROL_PAYLOAD_BYTES_MAX = 8 * 1024 * 1024;
export const CONTROL_MORE_FLAG = 0x8000;

/** A volume or snapshot as people name it: working volume, or one of its snapshots by tag or by id. */
export interface VdiRef {
  name: string;
  tag?: string;
  snapId?: number;
}

/** One row of `vdi list`: D-17's record with figures computed from the index. */
export interface VdiInfo {
  name: string;
  tag: string;
  /** 0 for a working volume. */
  snapId: number;
  vid: number;
  parentVid: number;
  /** Root of the family; decides placement. */
  rootVid: number;
  snapshot: boolean;
  /** A working volume made from a snapshot of another name. */
  clone: boolean;
  sizeBytes: number;
  /** Own objects x object size, and objects shared with ancestors x object size. */
  usedBytes: number;
  sharedBytes: number;
  copies: number;
  blockSizeShift: number;
  createdMs: number;
  snapshotMs: number;
  /** The state of a machine that was saved with a snapshot: its size, and the guest's clock. */
  vmState?: { bytes: number; clockNs: string };
  /** Of an image, which nobody can change: the exact length of its file, and the SHA-256 of that, hexadecimal. */
  image?: { contentBytes: number; sha256: string };
}

/** A version that somebody has open for writing (I-9). */
export interface LockInfo {
  name: string;
  vid: number;
  /** 0 for a working volume. */
  snapId: number;
  tag: string;
  /** The gateways; `state` is that of a shared lock. */
  owners: { host: string; port: number; state?: 'modified' | 'shared' | 'invalidated' }[];
  /** Several owners at a time, as tgt opens volumes. */
  shared: boolean;
}

export type ReplicaState = 'good' | 'missing' | 'bad';

/** An object that is not the same on all its sheep. */
export interface CheckFinding {
  oid: string;
  /** -1: the inode; -2: a piece of the saved state of a machine. */
  index: number;
  /**
   * differ: some replicas lack it or have another content than the others; repaired: these are right again; waiting:
   * they cannot be put right while sheep are down; unclear: no replica's content can be told to be the right one; lost:
   * no replica that is up has it; unreachable: no sheep that has its newest content is up.
   */
  outcome: 'differ' | 'repaired' | 'waiting' | 'unclear' | 'lost' | 'unreachable';
  replicas: { host: string; port: number; state: ReplicaState }[];
}

/** Where in which volume an object lies that was made in it. */
export interface ObjectPlace {
  name: string;
  tag: string;
  /** 0 for a working volume. */
  snapId: number;
  /** The version was deleted; others still share the object. */
  deleted: boolean;
  part: 'data' | 'inode' | 'vmstate';
  /** Of the blocks concerned: in the volume, or in the inode or state. */
  offsets: number[];
}

/** Of one pass of a sheep: objects it answers for, bytes read of all their replicas. */
export interface ScrubCounts {
  objects: number;
  bytes: number;
  found: number;
  repaired: number;
  failed: number;
  strays: number;
}

export interface ScrubNode {
  host: string;
  port: number;
  up: boolean;
  state: 'idle' | 'running' | 'stopped';
  passes: number;
  /** Since its present pass began, or its last one when it is idle. */
  elapsedMs: number;
  counts: ScrubCounts;
  /** Of about so many bytes. */
  doneBytes: number;
  storedBytes: number;
  unrepairable: number;
  last?: ScrubCounts & { tookMs: number; wallMs: number };
}

export interface ScrubUnrepairable {
  oid: string;
  /** The first ones; none: no replica exists. */
  blocks: number[];
  place?: ObjectPlace;
}

export interface ScrubStatus {
  /** 0: only when asked for. */
  periodMs: number;
  stopped: boolean;
  round: number;
  /** Nothing is scrubbed while the cluster recovers. */
  waiting: boolean;
  nodes: ScrubNode[];
  unrepairable: ScrubUnrepairable[];
  /** More of them than are listed. */
  unlisted: number;
}

export interface NodeInfo {
  index: number;
  id: string;
  host: string;
  port: number;
  nbdPort: number;
  httpPort: number;
  vnodes: number;
  zone: number;
  up: boolean;
  in: boolean;
  /** Why it is not `in`: somebody asked for it, or it was down for too long. */
  outBy?: 'admin' | 'delay';
  /** No object counts as lying on it: it has just joined, is out, or is a gateway. */
  empty?: boolean;
  /** Its absence is known: it is not given up. */
  maintenance?: boolean;
  /** It lost objects: a disk is gone. */
  incomplete?: boolean;
  /** It may lack writes; also while it is down. */
  behind?: boolean;
  /** Objects are being moved to it. */
  moving?: boolean;
  /** How far it is with what it lacks. */
  progress?: NodeProgress;
  /** Catching up: takes writes, is not yet read from. */
  syncing: boolean;
  /** Objects that still have to be compared. */
  syncingObjects: number;
  storeBytes: number;
  usedBytes: number;
  freeBytes: number;
  pid: number;
}

/** Where else one sheep can be reached. */
export interface NodeDoors {
  /** NBD over TCP; 0: none. */
  nbdPort: number;
  /** NBD on a unix socket of the sheep's host. */
  nbdSocket?: string;
  /** Of both. */
  nbdTls: 'off' | 'optional' | 'require';
}

export interface CoordinatorInfo {
  driver: 'local' | 'etcd';
  address: string;
  /** The last move that this sheep did, as long as its process lives. */
  move?: { id: string; state: 'running' | 'done' | 'failed'; error?: string };
}

export interface ClusterInfo {
  status: 'running' | 'wait-for-format' | 'wait-for-join' | 'shutdown';
  clusterId: string;
  createdMs: number;
  copies: number;
  minCopies: number;
  blockSizeShift: number;
  /** A volume that a client of the sheepdog protocol has open is refused to others. */
  useLock?: boolean;
  epoch: number;
  /** Nothing is copied to make up for absences and losses until somebody enables it again. */
  recoveryPaused?: boolean;
  /** Newest first. */
  epochs: { epoch: number; wallMs: number; nodes: { host: string; port: number; vnodes: number }[] }[];
  /** Why I/O to some objects waits, in words; empty when all is well. */
  waiting: string[];
  nodes: NodeInfo[];
  /** Absent when it is not known by the sheep that is asked. */
  coordinator?: Pick<CoordinatorInfo, 'driver' | 'address'>;
}

/** Every method: [parameters, result]. A blob is noted beside. Long ones send progress. */
export interface ControlMethods extends DoctorMethods, MemberMethods, StagedMethods {
  'cluster.info': [Record<string, never>, ClusterInfo];
  /** 'exists' when formatted already and not forced. force destroys every volume. */
  'cluster.format': [
    { copies: number; blockSizeShift?: number; minCopies?: number; useLock?: boolean; force?: boolean },
    ClusterInfo,
  ];
  /** Copies of volumes that are made from now on without saying how many. */
  'cluster.alter-copy': [{ copies: number }, ClusterInfo];
  /**
   * Background scrubbing: what it has come to. start: a pass now, as fast as may be; stop: none until start; periodMs:
   * the time for one pass, 0 for none but those asked for.
   */
  'cluster.scrub': [{ action?: 'start' | 'stop'; periodMs?: number }, ScrubStatus];
  /** Asks every sheep to stop cleanly. */
  'cluster.shutdown': [Record<string, never>, Record<string, never>];
  /** Where the cluster's coordinator is; the password of an etcd address is left out unless `secrets` asks for it. */
  'cluster.coordinator': [{ secrets?: boolean }, CoordinatorInfo];
  /**
   * Begins to move the cluster to another coordinator: a path, or an address of etcd. The sheep that is asked does it,
   * and says by cluster.coordinator what became of it. Refused unless the caller is on the same machine.
   */
  'cluster.move-coordinator': [{ to: string }, { id: string }];
  'node.list': [Record<string, never>, NodeInfo[]];
  /** Of the sheep that is asked. */
  'node.doors': [Record<string, never>, NodeDoors];
  'node.stat': [Record<string, never>, { counters: Record<string, number> }];
  /**
   * The sheep that is asked is replaced by a new process of the program on disk, which inherits its listening sockets.
   * Without `pid`: begins, and answers with the new process's id; refused unless the caller is on the same machine.
   * With it: whether that process serves; rejects when the old one has taken everything back.
   */
  'node.upgrade': [{ pid?: number }, { pid: number; done: boolean }];
  /** The sheep that is asked stops cleanly. */
  'node.kill': [Record<string, never>, Record<string, never>];
  /** The disks of the sheep that is asked. */
  'node.disks': [Record<string, never>, { disks: DiskRow[] }];
  /** The sheep that is asked takes in a directory on another disk; refused unless the caller is on its machine. */
  'node.plug': [{ path: string }, Record<string, never>];
  /**
   * It begins to empty a disk, which then goes; `keep` takes that back. With `force` the disk goes at once, and other
   * sheep restore what was on it. Refused unless the caller is on its machine.
   */
  'node.unplug': [{ path: string; force?: boolean; keep?: boolean }, Record<string, never>];
  /** How far the sheep that is asked is with what it lacks: objects compared, of about so many. */
  'node.recovery': [
    Record<string, never>,
    { recovering: boolean; done: number; total: number } & Partial<NodeProgress>,
  ];
  /** Sets the level of the log when one is given; by name (base/log-level.ts). */
  'node.loglevel': [{ level?: string }, { level: LogLevel }];
  'vdi.list': [{ name?: string }, VdiInfo[]];
  'vdi.info': [VdiRef, VdiInfo];
  'vdi.create': [
    { name: string; sizeBytes: number; copies?: number; blockSizeShift?: number; preallocate?: boolean },
    VdiInfo,
  ];
  'vdi.resize': [{ name: string; sizeBytes: number }, VdiInfo];
  /** Result: the new working volume and the snapshot. */
  'vdi.snapshot': [{ name: string; tag: string }, { working: VdiInfo; snapshot: VdiInfo }];
  /** sizeBytes: larger than the origin, whose size it is without. */
  'vdi.clone': [
    { source: VdiRef; name: string; sizeBytes?: number; preallocate?: boolean; share?: boolean },
    VdiInfo,
  ];
  'vdi.rollback': [VdiRef, VdiInfo];
  /** Deletes a working volume, or one snapshot with tag or snapId. Progress in objects. */
  'vdi.delete': [VdiRef, { freedObjects: number }];
  'vdi.rename': [{ name: string; newName: string }, VdiInfo];
  /** Answer blob: the bytes; at most 4 MiB a call. */
  'vdi.read': [VdiRef & { offset: number; length: number }, { length: number }];
  /** Request blob: the bytes; at most 4 MiB a call. */
  'vdi.write': [{ name: string; offset: number }, Record<string, never>];
  'vdi.flush': [{ name: string }, Record<string, never>];
  /** The range reads as zeroes afterwards, and takes no room of its own. */
  'vdi.discard': [{ name: string; offset: number; length: number }, Record<string, never>];
  /** Values are base64. mode: create fails with 'exists', set replaces, delete fails with 'missing'. */
  'vdi.setattr': [
    { name: string; key: string; mode: 'set' | 'exclusive' | 'delete'; value?: string },
    Record<string, never>,
  ];
  'vdi.getattr': [{ name: string; key: string }, { value: string }];
  /** Where the object of one index lies. */
  'vdi.object': [
    VdiRef & { index: number },
    {
      oid: string;
      vid: number;
      holders: { host: string; port: number; present: boolean; serving: boolean }[];
    },
  ];
  /** [index, owner vid] of every allocated object. */
  'vdi.map': [VdiRef, { entries: [number, number][] }];
  /**
   * Compares all replicas of every object of a version. repair: what differs is made right. existence: only whether
   * they are there. At most 10,000 findings are listed; `findings` counts all. `unchecked`: objects of which a copy is
   * on a sheep that is not up or still catching up. inherited: false leaves out what the version it was made from has
   * at the same place. `headers`: 1 when the header in the inode was not what the records say. Progress in objects.
   */
  'vdi.check': [
    VdiRef & { mode: 'compare' | 'repair' | 'existence'; inherited?: boolean },
    {
      objects: number;
      findings: number;
      repaired: number;
      unchecked: number;
      headers: number;
      found: CheckFinding[];
    },
  ];
  /** Where an object lay in each epoch, newest first; by its index (-1: the inode), or by its id alone. */
  'vdi.track': [
    (VdiRef & { index: number }) | { oid: string },
    {
      oid: string;
      vid: number;
      copies: number;
      epochs: { epoch: number; holders: { host: string; port: number }[] }[];
    },
  ];
  'vdi.locks': [Record<string, never>, LockInfo[]];
  /** Takes a lock from its owners. 'missing': it is not locked. */
  'vdi.unlock': [VdiRef, Record<string, never>];
  /**
   * The sheep that is asked serves the volume from now on, if nobody uses it at its owner: `owner` is the id of who
   * serves it, `users` how many clients have it open by NBD anywhere. Answers when the volume can be served, and not
   * before. Snapshots and images have no owner. Who has no client gives the volume up again after a moment.
   */
  'vdi.claim': [VdiRef, { owner?: string | undefined; here: boolean; users: number }];
  /** The sheep that is asked gives the volume up, unless somebody uses it there, or it does not own it. */
  'vdi.release': [{ name: string }, { released: boolean }];
}

export type ControlMethod = keyof ControlMethods;
export type ControlParams<M extends ControlMethod> = ControlMethods[M][0];
export type ControlResult<M extends ControlMethod> = ControlMethods[M][1];

export interface ControlProgress {
  done: number;
  total: number;
  unit: string;
}

/** One disk of a sheep. */
export interface DiskRow {
  index: number;
  path: string;
  totalBytes: number;
  usedBytes: number;
  freeBytes: number;
  /** It is being emptied. */
  leaving?: boolean;
}

/** Who calls. */
export interface ControlCaller {
  /** By a unix socket, or from an address of this machine only. */
  readonly local: boolean;
  /** Calls back once when the connection is gone: for what must not outlive its client. */
  readonly onClose?: (listener: () => void) => void;
}

/** What the server side implements: checks its parameters itself (they come from the network). */
export interface ControlHandler {
  call(
    method: string,
    params: unknown,
    blob: Uint8Array,
    onProgress: (progress: ControlProgress) => void,
    caller?: ControlCaller,
  ): Promise<{ result: unknown; blob?: Uint8Array }>;
}
