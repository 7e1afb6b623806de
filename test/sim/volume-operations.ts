/**
 * What administrators do to volumes while they are in use, through any gateway: each all or nothing (I-6). Whether it
 * has happened, the world tells (Shelf); here the answers are held against that.
 */
import { AppError } from '../../src/base/errors.js';
import type { SeededRandom } from '../../src/base/random.js';
import { ask, type Life, type Outcome } from '../helpers/sim-cluster.js';
import { describeOutcome, type Load, VOLUME } from './load.js';
import { ModelViolation } from './model.js';
import type { Snapshot, Volume } from './shelf.js';
import { Reads } from './sparse-read.js';
import type { VolumeOperationName } from './swarm-config.js';

const NO_BYTES = new Uint8Array(0);
const READ_BYTES = 256 * 1024;
const VOLUMES_MAX = 4;
/** Few, so that names and the ids of what was deleted are used again. */
const NAMES = ['a', 'b', 'c', 'd'];

/** How an operation is refused that another one has made impossible meanwhile. */
const RACE_CODES = ['no-vdi', 'no-tag', 'vdi-exists', 'invalid', 'read-only'];

export class VolumeOperations {
  private serial = 0;
  private readonly reads: Reads;

  constructor(
    private readonly client: string,
    private readonly load: Load,
    private readonly random: SeededRandom,
  ) {
    this.reads = new Reads(load.config.sparseEvery);
  }

  /** False: the gateway has died, or said that it is in trouble. */
  run(name: VolumeOperationName, life: Life, volume: Volume): Promise<boolean> {
    switch (name) {
      case 'snapshot':
        return this.snapshot(life, volume);
      case 'readSnapshot':
        return this.readSnapshot(life);
      case 'clone':
        return this.clone(life);
      case 'rollback':
        return this.rollback(life, volume);
      case 'deleteSnapshot':
        return this.deleteSnapshot(life);
      case 'create':
        return this.create(life);
      case 'deleteVolume':
        return this.deleteVolume(life, volume);
      case 'resize':
        return this.resize(life, volume);
    }
  }

  private snapshot(life: Life, volume: Volume): Promise<boolean> {
    const tag = `${this.client}-${++this.serial}`;
    const params = { name: volume.name, tag };
    return this.control(life, 'vdi.snapshot', params, `snapshot ${tag}`, () => volume.gone);
  }

  private async readSnapshot(life: Life): Promise<boolean> {
    const snapshot = this.anySnapshot();
    if (!snapshot) return true;
    const offset = 4096 * this.random.below(snapshot.sizeBytes / 4096);
    const length = Math.min(512 * (1 + this.random.below(64)), snapshot.sizeBytes - offset);
    return this.read(life, snapshot, offset, length, length);
  }

  private async clone(life: Life): Promise<boolean> {
    const { shelf } = this.load;
    const snapshot = this.anySnapshot();
    const name = this.freeName();
    if (!snapshot || name === undefined) return true;
    const before = shelf.happened(`create ${name}`);
    if (!(await this.readAll(life, snapshot))) return false;
    const params = {
      source: { name: snapshot.name, tag: snapshot.tag },
      name,
      share: this.random.chance(0.8),
      preallocate: this.random.chance(0.1),
    };
    const isRace = () => snapshot.gone || shelf.happened(`create ${name}`) > before;
    return this.control(life, 'vdi.clone', params, `create ${name}`, isRace);
  }

  private async rollback(life: Life, volume: Volume): Promise<boolean> {
    const own = this.load.shelf.snapshotsOf(volume);
    if (own.length === 0) return true;
    const snapshot = this.random.pick(own);
    if (!(await this.readAll(life, snapshot))) return false;
    const { name } = volume;
    const params = { name, tag: snapshot.tag };
    return this.control(life, 'vdi.rollback', params, `rollback ${name}`, () => volume.gone || snapshot.gone);
  }

  private deleteSnapshot(life: Life): Promise<boolean> {
    const snapshot = this.anySnapshot();
    if (!snapshot) return Promise.resolve(true);
    const { name, tag } = snapshot;
    return this.control(life, 'vdi.delete', { name, tag }, `delete ${tag}`, () => snapshot.gone);
  }

  private create(life: Life): Promise<boolean> {
    const { config, shelf } = this.load;
    const name = this.freeName();
    if (name === undefined) return Promise.resolve(true);
    const { objectShift, nodes } = config;
    const params = {
      name,
      sizeBytes: (1 << objectShift) * (1 + this.random.below(2)),
      copies: Math.min(nodes, 2 + this.random.below(2)),
      blockSizeShift: objectShift,
      preallocate: this.random.chance(0.1),
    };
    const before = shelf.happened(`create ${name}`);
    const isRace = () => shelf.happened(`create ${name}`) > before;
    return this.control(life, 'vdi.create', params, `create ${name}`, isRace);
  }

  private deleteVolume(life: Life, volume: Volume): Promise<boolean> {
    const { name } = volume;
    if (name === VOLUME) return Promise.resolve(true);
    return this.control(life, 'vdi.delete', { name }, `delete ${name}`, () => volume.gone);
  }

  private resize(life: Life, volume: Volume): Promise<boolean> {
    const { objectShift } = this.load.config;
    const sizeBytes = volume.model.sizeBytes + 4096 * (1 + this.random.below(256));
    if (sizeBytes > 4 << objectShift) return Promise.resolve(true);
    const params = { name: volume.name, sizeBytes };
    // Somebody else may have made it larger still.
    const isRace = () => volume.gone || volume.model.sizeBytes > sizeBytes;
    return this.control(life, 'vdi.resize', params, undefined, isRace);
  }

  private anySnapshot(): Snapshot | undefined {
    const { snapshots } = this.load.shelf;
    return snapshots.length === 0 ? undefined : this.random.pick(snapshots);
  }

  private freeName(): string | undefined {
    const { shelf } = this.load;
    const free = NAMES.filter((name) => shelf.find(name) === undefined);
    return shelf.volumes.length >= VOLUMES_MAX ? undefined : this.random.pick(free);
  }

  /** `happens`: what the shelf must know of when this is acknowledged. `isRace`: a refusal may be right. */
  private async control(
    life: Life,
    method: string,
    params: object,
    happens: string | undefined,
    isRace: () => boolean,
  ): Promise<boolean> {
    const { cluster, shelf } = this.load;
    const before = happens === undefined ? 0 : shelf.happened(happens);
    cluster.trace(`${this.client} ${method} ${JSON.stringify(params)} on ${life.machine.name}`);
    const outcome = await ask(life, (node) => node.control.call(method, params, NO_BYTES, () => {}));
    cluster.trace(`${this.client} ${method}: ${describeOutcome(outcome)}`);
    if ('ok' in outcome && happens !== undefined) shelf.mustHaveHappened(happens, before);
    return this.after(method, outcome, isRace);
  }

  private async read(life: Life, snapshot: Snapshot, offset: number, length: number, pieceBytes: number) {
    const { name, tag, model, op } = snapshot;
    const isRace = () => snapshot.gone;
    const opened = await ask(life, (node) => node.openDevice(`${name}@${tag}`, { readOnly: true }));
    if (!('ok' in opened)) return this.after('open snapshot', opened, isRace);
    for (let at = offset; at < offset + length; at += pieceBytes) {
      const bytes = Math.min(pieceBytes, offset + length - at);
      const outcome = await ask(life, () => this.reads.read(opened.ok, at, bytes));
      if (!('ok' in outcome)) return this.after('read snapshot', outcome, isRace);
      model.checkSnapshot(op, at, outcome.ok);
    }
    await ask(life, () => opened.ok.close());
    return this.after('read snapshot', { ok: undefined }, isRace);
  }

  /** All of it, so that what is made from it is known. False: not now. */
  private async readAll(life: Life, snapshot: Snapshot): Promise<boolean> {
    if (snapshot.content === undefined) {
      if (!(await this.read(life, snapshot, 0, snapshot.sizeBytes, READ_BYTES))) return false;
      this.load.shelf.remember(snapshot);
    }
    return snapshot.content !== undefined;
  }

  private after(what: string, outcome: Outcome<unknown>, isRace: () => boolean): boolean {
    const { count, cluster, tolerates } = this.load;
    if ('ok' in outcome) {
      count(`${what} done`);
      return true;
    }
    if ('died' in outcome) {
      count(`${what}: gateway died`);
      return false;
    }
    const error = AppError.from(outcome.error);
    count(`${what}: error ${error.code}`);
    if (cluster.kind.toleratedControlErrors.includes(error.code) || tolerates(error.code)) return false;
    if (RACE_CODES.includes(error.code) && isRace()) return false;
    const message = `${this.client}: ${what} failed on a living gateway (${error.code}: ${error.message})`;
    throw new ModelViolation(message, { cause: outcome.error });
  }
}
