import { closeSync, existsSync, openSync } from 'node:fs';
import { join } from 'node:path';
import type { Clock } from '../../src/base/clock.js';
import { AppError } from '../../src/base/errors.js';
import type { Logger } from '../../src/base/log.js';
import { LibvirtError } from '../rpc/errors.js';
import type { LifecycleEvent, PoolName } from '../rpc/procedures.js';
import { DefinitionStore } from './definition-store.js';
import { removeLeftovers } from './leftovers.js';
import { Pool } from './pool.js';
import { formatPool, type PoolDefinition, parsePool } from './pool-xml.js';

export type PoolEvent =
  | { readonly kind: 'lifecycle'; readonly event: LifecycleEvent }
  | { readonly kind: 'refresh' };
export type PoolListener = (pool: PoolName, event: PoolEvent) => void;

export interface RegistryOptions {
  /** Definitions that persist. */
  readonly configFolder: string;
  /** What is started, on a file system that a reboot empties. */
  readonly stateFolder: string;
  readonly clock: Clock;
  readonly log: Logger;
}

const POOLS_MAX = 1024;
const BOOT_MARK = 'autostarted';

/** All pools of this daemon: definitions, starting, stopping. Changes of definitions are durable when they return. */
export class Registry {
  private readonly byUuid = new Map<string, Pool>();
  private readonly listeners = new Set<PoolListener>();
  private readonly config: DefinitionStore;
  private readonly state: DefinitionStore;

  constructor(private readonly options: RegistryOptions) {
    this.config = new DefinitionStore(options.configFolder);
    this.state = new DefinitionStore(options.stateFolder);
  }

  /** Definitions, then what was active when the daemon ended, then, once after a boot, what starts by itself. */
  async load(): Promise<void> {
    for (const { name, xml, autostart } of this.config.load()) {
      await this.loadOne(name, xml, (pool) => {
        pool.persistent = true;
        pool.autostart = autostart;
      });
    }
    for (const { name, xml } of this.state.load()) {
      await this.loadOne(name, xml, (pool) => pool.startLater());
    }
    const mark = join(this.options.stateFolder, BOOT_MARK);
    if (existsSync(mark)) return;
    for (const pool of this.byUuid.values()) {
      if (!pool.autostart || pool.started) continue;
      pool.startLater();
      this.noteStarted(pool);
    }
    closeSync(openSync(mark, 'w'));
  }

  all(): Pool[] {
    return [...this.byUuid.values()];
  }

  get(uuid: string): Pool | undefined {
    return this.byUuid.get(uuid);
  }

  byName(name: string): Pool | undefined {
    return this.all().find((pool) => pool.name === name);
  }

  /** Throws LibvirtError 'no-pool'. */
  require(wanted: PoolName): Pool {
    const pool = this.byUuid.get(wanted.uuid);
    if (pool !== undefined) return pool;
    throw new LibvirtError('no-pool', `no storage pool with matching uuid '${wanted.uuid}' (${wanted.name})`);
  }

  /** Throws LibvirtError 'no-pool'. */
  requireName(name: string): Pool {
    const pool = this.byName(name);
    if (pool !== undefined) return pool;
    throw new LibvirtError('no-pool', `no storage pool with matching name '${name}'`);
  }

  listen(listener: PoolListener): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  async define(xml: string): Promise<Pool> {
    const definition = await parsePool(xml);
    const known = this.checkIdentity(definition);
    this.checkSource(definition);
    this.config.save(definition.name, formatPool(definition));
    const pool = known ?? this.add(definition);
    if (known !== undefined) known.redefine(definition);
    pool.persistent = true;
    this.emit(pool, 'defined');
    return pool;
  }

  /** Starts a pool that is gone once it is stopped; one that is defined already is only started. */
  async create(xml: string): Promise<Pool> {
    const definition = await parsePool(xml);
    const known = this.checkIdentity(definition);
    if (known?.started) throw alreadyActive(known);
    this.checkSource(definition);
    const pool = known ?? this.add(definition);
    try {
      await this.start(pool);
    } catch (error) {
      if (!pool.persistent && !pool.started) this.byUuid.delete(pool.uuid);
      throw error;
    }
    return pool;
  }

  undefine(pool: Pool): void {
    this.requireInactive(pool, 'still');
    if (pool.busyStarting) {
      throw new LibvirtError('operation-invalid', `storage pool '${pool.name}' is starting up`);
    }
    this.config.remove(pool.name);
    pool.stop();
    this.forget(pool);
    this.emit(pool, 'undefined');
  }

  async start(pool: Pool): Promise<void> {
    if (pool.active) throw alreadyActive(pool);
    await pool.start((clusterId) => this.checkCluster(pool, clusterId));
    this.noteStarted(pool);
    this.emit(pool, 'started');
    this.tidy(pool);
  }

  /** Also stops waiting for a cluster that is away. */
  stop(pool: Pool): void {
    if (!pool.started)
      throw new LibvirtError('operation-invalid', `storage pool '${pool.name}' is not active`);
    pool.stop();
    this.state.remove(pool.name);
    if (!pool.persistent) this.forget(pool);
    this.emit(pool, 'stopped');
  }

  /** Rejects with LibvirtError; nothing is cached that could be stale, so this looks, tidies, and tells. */
  async refresh(pool: Pool): Promise<void> {
    pool.requireActive();
    await removeLeftovers(pool, this.options.clock, this.options.log);
    for (const listener of this.listeners) listener(nameOfPool(pool), { kind: 'refresh' });
  }

  requireInactive(pool: Pool, adverb: 'already' | 'still'): void {
    if (!pool.active) return;
    throw new LibvirtError('operation-invalid', `storage pool '${pool.name}' is ${adverb} active`);
  }

  setAutostart(pool: Pool, autostart: boolean): void {
    if (!pool.persistent) throw new LibvirtError('internal', 'pool has no config file');
    this.config.setAutostart(pool.name, autostart);
    pool.autostart = autostart;
  }

  emit(pool: Pool, event: LifecycleEvent): void {
    this.options.log.info({ pool: pool.name, event }, 'pool');
    for (const listener of this.listeners) listener(nameOfPool(pool), { kind: 'lifecycle', event });
  }

  close(): void {
    for (const pool of this.byUuid.values()) pool.stop();
  }

  private async loadOne(name: string, xml: string, then: (pool: Pool) => void): Promise<void> {
    try {
      const definition = await parsePool(xml);
      then(this.byUuid.get(definition.uuid) ?? this.add(definition));
    } catch (error) {
      this.options.log.error({ name, err: AppError.from(error).message }, 'a stored pool cannot be read');
    }
  }

  private add(definition: PoolDefinition): Pool {
    if (this.byUuid.size >= POOLS_MAX) {
      throw new LibvirtError('operation-failed', `there are ${POOLS_MAX} pools, which is as many as may be`);
    }
    const { clock } = this.options;
    const pool = new Pool(definition, {
      clock,
      onReach: (changed, up) => this.onReach(changed, up),
    });
    this.byUuid.set(definition.uuid, pool);
    return pool;
  }

  private forget(pool: Pool): void {
    this.state.remove(pool.name);
    this.byUuid.delete(pool.uuid);
  }

  private noteStarted(pool: Pool): void {
    this.state.save(pool.name, formatPool(pool.definition));
  }

  private onReach(pool: Pool, up: boolean): void {
    try {
      if (up) this.checkCluster(pool, pool.clusterId);
    } catch (error) {
      this.options.log.error({ pool: pool.name, err: AppError.from(error).message }, 'stopped');
      this.stop(pool);
      return;
    }
    this.emit(pool, up ? 'started' : 'stopped');
    if (up) this.tidy(pool);
  }

  private tidy(pool: Pool): void {
    const { clock, log } = this.options;
    removeLeftovers(pool, clock, log).catch((error: unknown) => {
      log.warn({ pool: pool.name, err: AppError.from(error).message }, 'leftovers were not looked for');
    });
  }

  /** Name and uuid belong together. Throws LibvirtError 'operation-failed'; returns the pool that has both. */
  private checkIdentity({ name, uuid }: PoolDefinition): Pool | undefined {
    const same = this.byUuid.get(uuid);
    if (same !== undefined && same.name !== name) {
      throw new LibvirtError('operation-failed', `pool '${same.name}' is already defined with uuid ${uuid}`);
    }
    const other = this.byName(name);
    if (other !== undefined && other.uuid !== uuid) {
      throw new LibvirtError('operation-failed', `pool '${name}' already exists with uuid ${other.uuid}`);
    }
    return same;
  }

  /** One volume is in one pool: else its key would find either. */
  private checkSource(wanted: PoolDefinition): void {
    const isSame = ({ definition: { host, port, namespace, uuid } }: Pool) =>
      uuid !== wanted.uuid && host === wanted.host && port === wanted.port && namespace === wanted.namespace;
    const other = this.all().find(isSame);
    if (other !== undefined) throw conflict(other);
  }

  /** The same for one cluster under different addresses, which is known only when it is reached. */
  private checkCluster(pool: Pool, clusterId: string): void {
    const isSame = (other: Pool) =>
      other !== pool && other.active && other.clusterId === clusterId && other.namespace === pool.namespace;
    const other = this.all().find(isSame);
    if (other !== undefined) throw conflict(other);
  }
}

export function nameOfPool({ name, uuid }: Pool): PoolName {
  return { name, uuid };
}

function alreadyActive(pool: Pool): LibvirtError {
  return new LibvirtError('operation-invalid', `storage pool '${pool.name}' is already active`);
}

function conflict(other: Pool): LibvirtError {
  return new LibvirtError('operation-failed', `Storage source conflict with pool: '${other.name}'`);
}
