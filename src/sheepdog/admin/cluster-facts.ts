/**
 * What the administrator's operations need to know of a cluster and may do to it: data, and a few acts. The operations
 * turn it into the original's records; who fills it in knows nothing of the protocol. `sheepFacts` makes one from the
 * parts of a sheep.
 */

/** Unformatted, incomplete (some objects have no holder with their newest content), or as the names say. */
export type ClusterState = 'running' | 'wait-for-format' | 'wait-for-join' | 'shutdown' | 'killed';

export interface NodeFacts {
  /** An IP address as text; anything else shows as 0.0.0.0. */
  readonly host: string;
  readonly port: number;
  /** A second network for other sheep, when there is one. */
  readonly io?: { readonly host: string; readonly port: number };
  readonly zone: number;
  /** 0: it stores nothing. */
  readonly vnodes: number;
  readonly spaceBytes: number;
}

export interface EpochFacts {
  readonly epoch: number;
  readonly wallMs: number;
  /** Members that were up. */
  readonly nodes: readonly NodeFacts[];
}

export interface DiskFacts {
  readonly path: string;
  /** Room taken by objects. */
  readonly usedBytes: number;
  readonly freeBytes: number;
}

/** Of this node while it catches up, in objects. */
export interface RecoveryFacts {
  readonly finished: number;
  readonly total: number;
}

/** Requests of clients (gateway) or of other sheep (peer) since this node started. */
export interface RequestFacts {
  readonly active: number;
  readonly total: number;
  readonly read: number;
  readonly write: number;
  readonly remove: number;
  readonly flush: number;
  /** Received with writes. */
  readonly writeBytes: number;
  /** Sent with reads. */
  readonly readBytes: number;
}

export interface CounterFacts {
  readonly gateway: RequestFacts;
  readonly peer: RequestFacts;
}

/** Who has a volume open for writing. */
export interface LockFacts {
  readonly kind: 'locked' | 'shared';
  /** One for `locked`; of `shared` ones at most 31 are shown. */
  readonly owners: readonly LockOwner[];
}

export interface LockOwner {
  readonly host: string;
  readonly port: number;
  /** Of a shared lock: what the owner may believe of its copy of the inode. */
  readonly copy?: 'modified' | 'shared' | 'invalidated';
}

export interface VdiFacts {
  readonly vid: number;
  readonly parentVid: number;
  readonly copies: number;
  readonly blockSizeShift: number;
  readonly snapshot: boolean;
  readonly deleted: boolean;
  readonly lock?: LockFacts;
}

/** Objects of the whole cluster, whichever node has them: every node answers for every object (reference, 2.6). */
export interface ObjectFacts {
  /** Size of the object; undefined when there is none of this id, also when the id is not a possible one. */
  sizeOf(oid: bigint): Promise<number | undefined>;
  /** SHA-1 over the whole object, holes as zeros; undefined when there is none. */
  hash(oid: bigint): Promise<Uint8Array | undefined>;
  /** The range lies inside the object; undefined when the object has gone. */
  read(oid: bigint, offset: number, length: number): Promise<Uint8Array | undefined>;
  /** Ids of the objects in this node's own store, in no order. */
  stored(): AsyncIterable<bigint>;
}

export interface FormatOptions {
  readonly copies: number;
  readonly blockSizeShift: number;
  /** Writes wait while fewer than `copies` replicas can be written. */
  readonly strict: boolean;
  /** A volume that somebody has open is refused to others. */
  readonly useLock: boolean;
}

/** Rejections are AppErrors; their kind becomes the result code. */
export interface AdminActs {
  /** Destroys every volume. Resolves when the new cluster is in use. */
  format(options: FormatOptions): Promise<void>;
  /** Asks every sheep to stop. Answers in hand still go out. */
  shutdown(): Promise<void>;
  /** Begins to stop this sheep, which leaves the cluster cleanly. Answers in hand still go out. */
  kill(): Promise<void>;
  /** Copies of volumes made later without a number of their own. */
  setDefaultCopies(copies: number): Promise<void>;
  /** Whether anything is copied to make up for absences and losses. */
  setRecovery(enabled: boolean): Promise<void>;
  /** 0 emerg to 7 debug. */
  setLogLevel(level: number): Promise<void>;
}

export interface ClusterDescription {
  readonly state: ClusterState;
  /** 0 while unformatted. */
  readonly createdMs: number;
  /** Defaults of new volumes; 0 while unformatted. */
  readonly copies: number;
  readonly blockSizeShift: number;
  /** ClusterFlag bits. */
  readonly flags: number;
  /** Recovery is paused. */
  readonly recoveryDisabled?: boolean;
  /** Nodes that can be reached now, also while the cluster is not formatted. */
  readonly nodes: readonly NodeFacts[];
  /** Newest first; old ones may be forgotten. */
  readonly epochs: readonly EpochFacts[];
}

export interface ClusterFacts {
  /** At most 16 bytes: name of the coordinator's driver. */
  readonly driverName: string;
  /** This node's weight; 0: it stores nothing. */
  readonly vnodes: number;
  describe(): ClusterDescription;
  /** 0 emerg to 7 debug. */
  logLevel(): Promise<number>;
  /** Object disks of this node; none when it is a gateway only. */
  disks(): Promise<readonly DiskFacts[]>;
  /** Undefined: this node has everything it should have. */
  recovery(): Promise<RecoveryFacts | undefined>;
  counters(): Promise<CounterFacts>;
  vdis(): Promise<readonly VdiFacts[]>;
  /** Asked for once: `adminOperations` is called anew when a cluster has been formatted. */
  readonly objects: ObjectFacts;
  readonly acts: AdminActs;
}
