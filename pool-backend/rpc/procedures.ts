import {
  bool,
  empty,
  i32,
  i64,
  LIST_ENTRIES_MAX,
  list,
  optional,
  type Shape,
  struct,
  TYPED_PARAMS_MAX,
  text,
  typedValue,
  u32,
  u64,
  uuid,
  type ValueOf,
} from './shapes.js';

/** A pool and a volume as they are named in calls. */
export const pool = struct({ name: text, uuid });
export const volume = struct({ pool: text, name: text, key: text });
export type PoolName = ValueOf<typeof pool>;
export type VolumeName = ValueOf<typeof volume>;

/** By what a call finds out whose it is, when another storage daemon stands behind this one. */
export type Route =
  /** About the connection: answered here. */
  | 'here'
  /** By the pool or the volume's pool among the arguments. */
  | 'pool'
  | 'volume'
  /** Asked here first, then there, unless found. */
  | 'search'
  /** The answers of both together. */
  | 'both'
  /** By the type in the XML, or the type's name. */
  | 'type';

export interface Procedure<A, R> {
  readonly number: number;
  readonly args: Shape<A>;
  readonly result: Shape<R>;
  readonly route: Route;
  /** Refused to a connection that may only read; libvirt's name of the function. */
  readonly changes: string | undefined;
}

function row<A, R>(
  number: number,
  route: Route,
  args: Shape<A>,
  result: Shape<R>,
  changes?: string,
): Procedure<A, R> {
  return { number, route, args, result, changes };
}

const xmlFlags = struct({ xml: text, flags: u32 });
const poolOnly = struct({ pool });
const poolFlags = struct({ pool, flags: u32 });
const volumeOnly = struct({ volume });
const volumeFlags = struct({ volume, flags: u32 });
const transfer = struct({ volume, offset: u64, length: u64, flags: u32 });
const someName = struct({ name: text });
const count = struct({ count: i32 });
const names = struct({ names: list(text, 'names') });
const maxNames = struct({ maxNames: i32 });
const listFlags = struct({ needResults: bool, flags: u32 });
const xml = struct({ xml: text });
const flag = struct({ value: bool });
const aPool = struct({ pool });
const aVolume = struct({ volume });
const volumeInfo = struct({ type: i32, capacity: u64, allocation: u64 });
const pools = struct({ pools: list(pool, 'storage_pools'), count: u32 });
const volumes = struct({ volumes: list(volume, 'storage_vols', LIST_ENTRIES_MAX), count: u32 });

/** Every procedure that is served, with its number and wire layout (REMOTE_PROC_* of remote_protocol.x). */
export const procedures = {
  connectOpen: row(1, 'here', struct({ name: optional(text), flags: u32 }), empty),
  connectClose: row(2, 'here', empty, empty),
  connectGetType: row(3, 'here', empty, struct({ type: text })),
  connectGetHostname: row(59, 'here', empty, struct({ hostname: text })),
  connectSupportsFeature: row(60, 'here', struct({ feature: i32 }), struct({ supported: bool })),
  authList: row(66, 'here', empty, struct({ types: list(i32, 'authentication types', 20) })),
  connectGetUri: row(110, 'here', empty, struct({ uri: text })),
  connectGetLibVersion: row(157, 'here', empty, struct({ version: u64 })),
  connectIsSecure: row(161, 'here', empty, flag),
  connectRegisterCloseCallback: row(360, 'here', empty, empty),
  connectUnregisterCloseCallback: row(361, 'here', empty, empty),
  connectSetIdentity: row(
    419,
    'here',
    struct({
      params: list(struct({ field: text, value: typedValue }), 'parameters', TYPED_PARAMS_MAX),
      flags: u32,
    }),
    empty,
    'virConnectSetIdentity',
  ),

  connectNumOfStoragePools: row(71, 'both', empty, count),
  connectListStoragePools: row(72, 'both', maxNames, names),
  connectNumOfDefinedStoragePools: row(73, 'both', empty, count),
  connectListDefinedStoragePools: row(74, 'both', maxNames, names),
  connectFindStoragePoolSources: row(
    75,
    'type',
    struct({ type: text, sourceSpec: optional(text), flags: u32 }),
    xml,
    'virConnectFindStoragePoolSources',
  ),
  connectListAllStoragePools: row(281, 'both', listFlags, pools),
  connectGetStoragePoolCapabilities: row(403, 'both', struct({ flags: u32 }), xml),
  connectStoragePoolEventRegisterAny: row(
    368,
    'both',
    struct({ eventId: i32, pool: optional(pool) }),
    struct({ callbackId: i32 }),
  ),
  connectStoragePoolEventDeregisterAny: row(369, 'both', struct({ callbackId: i32 }), empty),

  storagePoolCreateXml: row(76, 'type', xmlFlags, aPool, 'virStoragePoolCreateXML'),
  storagePoolDefineXml: row(77, 'type', xmlFlags, aPool, 'virStoragePoolDefineXML'),
  storagePoolCreate: row(78, 'pool', poolFlags, empty, 'virStoragePoolCreate'),
  storagePoolBuild: row(79, 'pool', poolFlags, empty, 'virStoragePoolBuild'),
  storagePoolDestroy: row(80, 'pool', poolOnly, empty, 'virStoragePoolDestroy'),
  storagePoolDelete: row(81, 'pool', poolFlags, empty, 'virStoragePoolDelete'),
  storagePoolUndefine: row(82, 'pool', poolOnly, empty, 'virStoragePoolUndefine'),
  storagePoolRefresh: row(83, 'pool', poolFlags, empty, 'virStoragePoolRefresh'),
  storagePoolLookupByName: row(84, 'search', someName, aPool),
  storagePoolLookupByUuid: row(85, 'search', struct({ uuid }), aPool),
  storagePoolLookupByVolume: row(86, 'volume', volumeOnly, aPool),
  storagePoolLookupByTargetPath: row(391, 'search', struct({ path: text }), aPool),
  storagePoolGetInfo: row(
    87,
    'pool',
    poolOnly,
    struct({ state: u32, capacity: u64, allocation: u64, available: u64 }),
  ),
  storagePoolGetXmlDesc: row(88, 'pool', poolFlags, xml),
  storagePoolGetAutostart: row(89, 'pool', poolOnly, flag),
  storagePoolSetAutostart: row(
    90,
    'pool',
    struct({ pool, autostart: bool }),
    empty,
    'virStoragePoolSetAutostart',
  ),
  storagePoolNumOfVolumes: row(91, 'pool', poolOnly, count),
  storagePoolListVolumes: row(92, 'pool', struct({ pool, maxNames: i32 }), names),
  storagePoolIsActive: row(154, 'pool', poolOnly, flag),
  storagePoolIsPersistent: row(155, 'pool', poolOnly, flag),
  storagePoolListAllVolumes: row(282, 'pool', struct({ pool, needResults: bool, flags: u32 }), volumes),

  storageVolCreateXml: row(
    93,
    'pool',
    struct({ pool, xml: text, flags: u32 }),
    aVolume,
    'virStorageVolCreateXML',
  ),
  storageVolCreateXmlFrom: row(
    125,
    'pool',
    struct({ pool, xml: text, source: volume, flags: u32 }),
    aVolume,
    'virStorageVolCreateXMLFrom',
  ),
  storageVolDelete: row(94, 'volume', volumeFlags, empty, 'virStorageVolDelete'),
  storageVolLookupByName: row(95, 'pool', struct({ pool, name: text }), aVolume),
  storageVolLookupByKey: row(96, 'search', struct({ key: text }), aVolume),
  storageVolLookupByPath: row(97, 'search', struct({ path: text }), aVolume),
  storageVolGetInfo: row(98, 'volume', volumeOnly, volumeInfo),
  storageVolGetInfoFlags: row(378, 'volume', volumeFlags, volumeInfo),
  storageVolGetXmlDesc: row(99, 'volume', volumeFlags, xml),
  storageVolGetPath: row(100, 'volume', volumeOnly, struct({ path: text })),
  storageVolWipe: row(165, 'volume', volumeFlags, empty, 'virStorageVolWipe'),
  storageVolWipePattern: row(
    259,
    'volume',
    struct({ volume, algorithm: u32, flags: u32 }),
    empty,
    'virStorageVolWipePattern',
  ),
  storageVolUpload: row(208, 'volume', transfer, empty, 'virStorageVolUpload'),
  storageVolDownload: row(209, 'volume', transfer, empty, 'virStorageVolDownload'),
  storageVolResize: row(
    260,
    'volume',
    struct({ volume, capacity: u64, flags: u32 }),
    empty,
    'virStorageVolResize',
  ),
} as const;

export type Procedures = typeof procedures;
export type ProcedureName = keyof Procedures;
export type ArgsOf<N extends ProcedureName> = ValueOf<Procedures[N]['args']>;
export type ResultOf<N extends ProcedureName> = ValueOf<Procedures[N]['result']>;

/** Events, daemon to client. */
export const events = {
  lifecycle: {
    number: 370,
    eventId: 0,
    body: struct({ callbackId: i32, pool, event: i32, detail: i32 }),
  },
  refresh: { number: 373, eventId: 1, body: struct({ callbackId: i32, pool }) },
} as const;

/** What a lifecycle event says (virStoragePoolEventLifecycleType). */
export const Lifecycle = {
  defined: 0,
  undefined: 1,
  started: 2,
  stopped: 3,
  created: 4,
  deleted: 5,
} as const;
export type LifecycleEvent = keyof typeof Lifecycle;

/** Body of a packet of type stream hole. */
export const streamHole = struct({ lengthBytes: i64, flags: u32 });

const byNumber = new Map<number, ProcedureName>(
  Object.entries(procedures).map(([name, { number }]) => [number, name as ProcedureName]),
);

/** The highest number of a procedure that libvirt has: above it, it is unknown; below, of another driver. */
export const PROCEDURE_MAX = 460;

export function procedureNamed(number: number): ProcedureName | undefined {
  return byNumber.get(number);
}
