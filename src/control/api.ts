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
  /** Catching up: takes writes, is not yet read from. */
  syncing: boolean;
  /** Objects that still have to be compared. */
  syncingObjects: number;
  storeBytes: number;
  usedBytes: number;
  freeBytes: number;
  pid: number;
}

export interface ClusterInfo {
  status: 'running' | 'wait-for-format' | 'wait-for-join' | 'shutdown';
  clusterId: string;
  createdMs: number;
  copies: number;
  minCopies: number;
  blockSizeShift: number;
  epoch: number;
  /** Newest first. */
  epochs: { epoch: number; wallMs: number; nodes: { host: string; port: number; vnodes: number }[] }[];
  /** Why I/O to some objects waits, in words; empty when all is well. */
  waiting: string[];
  nodes: NodeInfo[];
}

/** Every method: [parameters, result]. A blob is noted beside. Long ones send progress. */
export interface ControlMethods {
  'cluster.info': [Record<string, never>, ClusterInfo];
  /** 'exists' when formatted already and not forced. force destroys every volume. */
  'cluster.format': [
    { copies: number; blockSizeShift?: number; minCopies?: number; force?: boolean },
    ClusterInfo,
  ];
  /** Asks every sheep to stop cleanly. */
  'cluster.shutdown': [Record<string, never>, Record<string, never>];
  'node.list': [Record<string, never>, NodeInfo[]];
  'node.stat': [Record<string, never>, { counters: Record<string, number> }];
  'vdi.list': [{ name?: string }, VdiInfo[]];
  'vdi.info': [VdiRef, VdiInfo];
  'vdi.create': [
    { name: string; sizeBytes: number; copies?: number; blockSizeShift?: number; preallocate?: boolean },
    VdiInfo,
  ];
  'vdi.resize': [{ name: string; sizeBytes: number }, VdiInfo];
  /** Result: the new working volume and the snapshot. */
  'vdi.snapshot': [{ name: string; tag: string }, { working: VdiInfo; snapshot: VdiInfo }];
  'vdi.clone': [{ source: VdiRef; name: string; preallocate?: boolean; share?: boolean }, VdiInfo];
  'vdi.rollback': [VdiRef, VdiInfo];
  /** Deletes a working volume, or one snapshot with tag or snapId. Progress in objects. */
  'vdi.delete': [VdiRef, { freedObjects: number }];
  'vdi.rename': [{ name: string; newName: string }, VdiInfo];
  /** Answer blob: the bytes; at most 4 MiB a call. */
  'vdi.read': [VdiRef & { offset: number; length: number }, { length: number }];
  /** Request blob: the bytes; at most 4 MiB a call. */
  'vdi.write': [{ name: string; offset: number }, Record<string, never>];
  'vdi.flush': [{ name: string }, Record<string, never>];
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
}

export type ControlMethod = keyof ControlMethods;
export type ControlParams<M extends ControlMethod> = ControlMethods[M][0];
export type ControlResult<M extends ControlMethod> = ControlMethods[M][1];

export interface ControlProgress {
  done: number;
  total: number;
  unit: string;
}

/** What the server side implements: checks its parameters itself (they come from the network). */
export interface ControlHandler {
  call(
    method: string,
    params: unknown,
    blob: Uint8Array,
    onProgress: (progress: ControlProgress) => void,
  ): Promise<{ result: unknown; blob?: Uint8Array }>;
}
