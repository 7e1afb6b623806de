import { poolCapabilities } from '../pools/capabilities.js';
import type { Pool } from '../pools/pool.js';
import { formatPool } from '../pools/pool-xml.js';
import { nameOfPool, type Registry } from '../pools/registry.js';
import { listVolumes, nameOf } from '../pools/volume.js';
import { LibvirtError } from '../rpc/errors.js';
import { checkFlags, type Handlers } from './calls.js';

/** Flags of virConnectListAllStoragePools: groups of which one bit or more may be asked for. */
const ListFlag = {
  inactive: 1,
  active: 2,
  persistent: 4,
  transient: 8,
  autostart: 16,
  noAutostart: 32,
} as const;
/** One bit for each type of pool, of which one is ours. */
const SHEEPDOG_FLAG = 1 << 15;
const TYPE_FLAGS = 0xfffc0;
const LIST_FLAGS = 0xfffff;
const XML_INACTIVE = 1;
/** VIR_STORAGE_POOL_CREATE_WITH_BUILD and its two kinds of overwriting: there is nothing to build. */
const CREATE_FLAGS = 7;
const BUILD_FLAGS = 7;
const DEFINE_FLAGS = 1;
const DELETE_FLAGS = 1;
/** virStoragePoolState. */
const PoolState = { inactive: 0, running: 2 } as const;

/** Calls about pools, by the names of procedures.ts. */
export const poolCalls: Handlers<
  | 'connectNumOfStoragePools'
  | 'connectListStoragePools'
  | 'connectNumOfDefinedStoragePools'
  | 'connectListDefinedStoragePools'
  | 'connectListAllStoragePools'
  | 'connectFindStoragePoolSources'
  | 'connectGetStoragePoolCapabilities'
  | 'connectStoragePoolEventRegisterAny'
  | 'connectStoragePoolEventDeregisterAny'
  | 'storagePoolCreateXml'
  | 'storagePoolDefineXml'
  | 'storagePoolCreate'
  | 'storagePoolBuild'
  | 'storagePoolDestroy'
  | 'storagePoolDelete'
  | 'storagePoolUndefine'
  | 'storagePoolRefresh'
  | 'storagePoolLookupByName'
  | 'storagePoolLookupByUuid'
  | 'storagePoolLookupByVolume'
  | 'storagePoolLookupByTargetPath'
  | 'storagePoolGetInfo'
  | 'storagePoolGetXmlDesc'
  | 'storagePoolGetAutostart'
  | 'storagePoolSetAutostart'
  | 'storagePoolNumOfVolumes'
  | 'storagePoolListVolumes'
  | 'storagePoolListAllVolumes'
  | 'storagePoolIsActive'
  | 'storagePoolIsPersistent'
> = {
  connectNumOfStoragePools: (_args, { services }) => ({ count: activePools(services.registry).length }),
  connectListStoragePools: ({ maxNames }, { services }) => ({
    names: namesOf(activePools(services.registry), maxNames),
  }),
  connectNumOfDefinedStoragePools: (_args, { services }) => ({
    count: inactivePools(services.registry).length,
  }),
  connectListDefinedStoragePools: ({ maxNames }, { services }) => ({
    names: namesOf(inactivePools(services.registry), maxNames),
  }),

  connectListAllStoragePools({ needResults, flags }, { services }) {
    checkFlags(flags, LIST_FLAGS, 'virConnectListAllStoragePools');
    const found = services.registry.all().filter((pool) => isListed(pool, flags));
    return { pools: needResults ? found.map(nameOfPool) : [], count: found.length };
  },

  connectFindStoragePoolSources({ type }) {
    throw new LibvirtError('no-support', `pool type '${type}' does not support source discovery`);
  },

  connectGetStoragePoolCapabilities({ flags }) {
    checkFlags(flags, 0, 'virConnectGetStoragePoolCapabilities');
    return { xml: poolCapabilities() };
  },

  connectStoragePoolEventRegisterAny: ({ eventId, pool }, { session }) => ({
    callbackId: session.subscriptions.add(eventId, pool),
  }),
  connectStoragePoolEventDeregisterAny: ({ callbackId }, { session }) =>
    session.subscriptions.remove(callbackId),

  async storagePoolCreateXml({ xml, flags }, { services: { registry } }) {
    checkFlags(flags, CREATE_FLAGS, 'virStoragePoolCreateXML');
    return { pool: nameOfPool(await registry.create(xml)) };
  },

  async storagePoolDefineXml({ xml, flags }, { services: { registry } }) {
    checkFlags(flags, DEFINE_FLAGS, 'virStoragePoolDefineXML');
    return { pool: nameOfPool(await registry.define(xml)) };
  },

  async storagePoolCreate({ pool, flags }, { services: { registry } }) {
    checkFlags(flags, CREATE_FLAGS, 'virStoragePoolCreate');
    await registry.start(registry.require(pool));
  },

  /** A cluster is formatted by `dog cluster format`, never by defining a pool. */
  storagePoolBuild({ pool, flags }, { services: { registry } }) {
    checkFlags(flags, BUILD_FLAGS, 'virStoragePoolBuild');
    const found = registry.require(pool);
    registry.requireInactive(found, 'already');
    registry.emit(found, 'created');
  },

  storagePoolDestroy: ({ pool }, { services: { registry } }) => registry.stop(registry.require(pool)),

  storagePoolDelete({ pool, flags }, { services: { registry } }) {
    checkFlags(flags, DELETE_FLAGS, 'virStoragePoolDelete');
    registry.requireInactive(registry.require(pool), 'still');
    throw new LibvirtError('no-support', 'pool does not support pool deletion');
  },

  storagePoolUndefine: ({ pool }, { services: { registry } }) => registry.undefine(registry.require(pool)),

  async storagePoolRefresh({ pool, flags }, { services: { registry } }) {
    checkFlags(flags, 0, 'virStoragePoolRefresh');
    await registry.refresh(registry.require(pool));
  },

  storagePoolLookupByName: ({ name }, { services: { registry } }) => ({
    pool: nameOfPool(registry.requireName(name)),
  }),

  storagePoolLookupByUuid({ uuid }, { services: { registry } }) {
    const pool = registry.get(uuid);
    if (pool === undefined) throw new LibvirtError('no-pool', `no storage pool with matching uuid '${uuid}'`);
    return { pool: nameOfPool(pool) };
  },

  storagePoolLookupByVolume: ({ volume }, { services: { registry } }) => ({
    pool: nameOfPool(registry.requireName(volume.pool)),
  }),

  storagePoolLookupByTargetPath({ path }, { services: { registry } }) {
    const clean = path.replace(/\/+/g, '/').replace(/(?<=.)\/$/, '');
    const pool = activePools(registry).find(({ definition }) => definition.targetPath === clean);
    if (pool === undefined) {
      throw new LibvirtError('no-pool', `no storage pool with matching target path '${path}'`);
    }
    return { pool: nameOfPool(pool) };
  },

  async storagePoolGetInfo({ pool }, { services: { registry } }) {
    const found = registry.require(pool);
    const state = found.active ? PoolState.running : PoolState.inactive;
    return { state, ...(await found.figures()) };
  },

  async storagePoolGetXmlDesc({ pool, flags }, { services: { registry } }) {
    checkFlags(flags, XML_INACTIVE, 'virStoragePoolGetXMLDesc');
    const found = registry.require(pool);
    const wantsNext = (flags & XML_INACTIVE) !== 0 && found.next !== undefined;
    return { xml: formatPool(wantsNext ? found.next! : found.definition, await found.figures()) };
  },

  storagePoolGetAutostart: ({ pool }, { services: { registry } }) => ({
    value: registry.require(pool).autostart,
  }),

  storagePoolSetAutostart: ({ pool, autostart }, { services: { registry } }) =>
    registry.setAutostart(registry.require(pool), autostart),

  async storagePoolNumOfVolumes({ pool }, { services: { registry } }) {
    return { count: (await listVolumes(registry.require(pool))).length };
  },

  async storagePoolListVolumes({ pool, maxNames }, { services: { registry } }) {
    return { names: namesOf(await listVolumes(registry.require(pool)), maxNames) };
  },

  async storagePoolListAllVolumes({ pool, needResults, flags }, { services: { registry } }) {
    checkFlags(flags, 0, 'virStoragePoolListAllVolumes');
    const volumes = await listVolumes(registry.require(pool));
    return { volumes: needResults ? volumes.map(nameOf) : [], count: volumes.length };
  },

  storagePoolIsActive: ({ pool }, { services: { registry } }) => ({ value: registry.require(pool).active }),
  storagePoolIsPersistent: ({ pool }, { services: { registry } }) => ({
    value: registry.require(pool).persistent,
  }),
};

const activePools = (registry: Registry): Pool[] => registry.all().filter((pool) => pool.active);
/** As libvirt counts: defined, and not active. */
const inactivePools = (registry: Registry): Pool[] => registry.all().filter((pool) => !pool.active);

function namesOf(named: readonly { readonly name: string }[], max: number): string[] {
  return named.slice(0, Math.max(0, max)).map(({ name }) => name);
}

function isListed(pool: Pool, flags: number): boolean {
  const inGroup = (is: boolean, whenTrue: number, whenFalse: number) =>
    (flags & (whenTrue | whenFalse)) === 0 || (flags & (is ? whenTrue : whenFalse)) !== 0;
  return (
    inGroup(pool.active, ListFlag.active, ListFlag.inactive) &&
    inGroup(pool.persistent, ListFlag.persistent, ListFlag.transient) &&
    inGroup(pool.autostart, ListFlag.autostart, ListFlag.noAutostart) &&
    ((flags & TYPE_FLAGS) === 0 || (flags & SHEEPDOG_FLAG) !== 0)
  );
}
