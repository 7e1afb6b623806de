/**
 * The load: clients that each do one operation at a time on a BlockDevice of some node's gateway, tell the model of
 * calls and answers, and open the volume again, there or elsewhere, when their gateway has died.
 */

import { sleep } from '../../src/base/clock.js';
import { AppError } from '../../src/base/errors.js';
import type { SeededRandom } from '../../src/base/random.js';
import type { BlockDevice } from '../../src/volume/device.js';
import { ask, type Life, type Outcome, type SimCluster } from '../helpers/sim-cluster.js';
import type { SnapshotOp, WriteOp } from './history.js';
import { ModelViolation, type VolumeModel } from './model.js';
import { SECTOR_BYTES } from './pattern.js';
import { type OperationName, operationNames, type SwarmConfig } from './swarm-config.js';

export const VOLUME = 'vol';
const HOT_BYTES = 64 * 1024;
const REOPEN_PAUSE_MS = 50;

/** What all clients of a run share. */
export interface Load {
  readonly cluster: SimCluster;
  readonly config: SwarmConfig;
  readonly model: VolumeModel;
  readonly count: (event: string, by?: number) => void;
  readonly fail: (error: unknown) => void;
  /** An operation is being called: the moment at which faults hurt most. */
  readonly onCall: () => void;
  /** Writes under way whose gateway lives. */
  readonly inFlight: Set<WriteOp>;
  /** The gateway of an unanswered write has died. */
  readonly died: (op: WriteOp, life: Life) => void;
  /** Snapshots that exist. */
  readonly snapshots: SnapshotOp[];
  operationsLeft: number;
  stopping: boolean;
}

export class Client {
  /** What it waits for, for the report when it never comes. */
  doing = 'nothing';
  done = false;
  private life: Life | undefined;
  private device: BlockDevice | undefined;
  private gateway: number;

  constructor(
    readonly name: string,
    private readonly load: Load,
    private readonly random: SeededRandom,
  ) {
    this.gateway = random.pick(load.config.gateways);
  }

  start(): void {
    this.loop().then(
      () => {
        this.done = true;
      },
      (error) => this.load.fail(error),
    );
  }

  private async loop(): Promise<void> {
    const { config, cluster } = this.load;
    const pauseMs = (config.durationMs / config.operations) * config.clients;
    while (!this.load.stopping && this.load.operationsLeft > 0) {
      this.load.operationsLeft--;
      await this.operation(this.pickOperation());
      // In bursts: many operations close together, then a long pause.
      const waitMs = this.random.chance(0.8) ? this.random.below(5) : this.random.below(pauseMs * 8);
      await sleep(cluster.clock, waitMs);
    }
  }

  private async operation(name: OperationName): Promise<void> {
    this.doing = `opening the volume for ${name}`;
    const device = await this.open();
    if (!device) return;
    this.doing = `${name} on ${this.life!.machine.name}`;
    this.load.onCall();
    await this.execute(name, device);
    this.doing = 'nothing';
  }

  private execute(name: OperationName, device: BlockDevice): Promise<void> {
    switch (name) {
      case 'read':
        return this.read(device);
      case 'flush':
        return this.flush(device);
      case 'snapshot':
        return this.snapshot();
      case 'readSnapshot':
        return this.readSnapshot();
      default:
        return this.write(name, device);
    }
  }

  private async write(name: 'write' | 'zero' | 'discard', device: BlockDevice): Promise<void> {
    const { model, inFlight, cluster } = this.load;
    const { offset, length } = this.range();
    const fua = this.random.chance(this.load.config.fuaChance);
    const { op, data } = model.startWrite(offset, length, { zero: name !== 'write', fua, by: this.name });
    const mayUnmap = this.random.chance(0.5);
    inFlight.add(op);
    const life = this.life!;
    cluster.trace(
      `${this.name} ${name} ${op.id} ${offset}+${length}${fua ? ' fua' : ''} on ${life.machine.name}`,
    );
    const outcome = await ask(life, () => {
      if (name === 'write') return device.write(offset, data, { fua });
      if (name === 'discard') return device.discard(offset, length, { fua });
      return device.writeZeroes(offset, length, { fua, mayUnmap });
    });
    inFlight.delete(op);
    cluster.trace(`${this.name} ${name} ${op.id}: ${describeOutcome(outcome)}`);
    if ('ok' in outcome) {
      model.endWrite(op);
      // The buffer is the caller's again: whoever still reads from it writes nonsense.
      data.fill(0xee);
    } else if ('died' in outcome) this.load.died(op, life);
    else model.unknownWrite(op, String(outcome.error));
    this.after(name, outcome);
  }

  private async read(device: BlockDevice): Promise<void> {
    const { model, cluster } = this.load;
    const { offset, length } = this.range();
    const op = model.startRead(offset, length, this.name);
    cluster.trace(`${this.name} read ${offset}+${length} on ${this.life!.machine.name}`);
    const outcome = await ask(this.life!, () => device.read(offset, length));
    if ('ok' in outcome) {
      model.endRead(op, outcome.ok);
      // The buffer is ours now: if it is somebody's cache as well, that will show.
      outcome.ok.fill(0xdd);
    }
    this.after('read', outcome);
  }

  private async flush(device: BlockDevice): Promise<void> {
    const op = this.load.model.startFlush();
    const outcome = await ask(this.life!, () => device.flush());
    this.load.cluster.trace(`${this.name} flush: ${describeOutcome(outcome)}`);
    if ('ok' in outcome) this.load.model.endFlush(op);
    this.after('flush', outcome);
  }

  private async snapshot(): Promise<void> {
    const { model, snapshots, cluster } = this.load;
    const op = model.startSnapshot(`s${snapshots.length}-${this.name}-${this.random.below(1e6)}`);
    const params = { name: VOLUME, tag: op.name };
    const outcome = await ask(this.life!, (node) =>
      node.control.call('vdi.snapshot', params, NO_BYTES, () => {}),
    );
    cluster.trace(`${this.name} snapshot ${op.name}: ${describeOutcome(outcome)}`);
    if ('ok' in outcome) {
      model.endSnapshot(op);
      snapshots.push(op);
    }
    this.after('snapshot', outcome);
  }

  private async readSnapshot(): Promise<void> {
    const { model, snapshots } = this.load;
    if (snapshots.length === 0) return;
    const op = this.random.pick(snapshots);
    const { offset, length } = this.range();
    const opened = await ask(this.life!, (node) =>
      node.openDevice(`${VOLUME}@${op.name}`, { readOnly: true }),
    );
    if (!('ok' in opened)) {
      this.after('openSnapshot', opened);
      return;
    }
    const outcome = await ask(this.life!, () => opened.ok.read(offset, length));
    if ('ok' in outcome) {
      model.checkSnapshot(op, offset, outcome.ok);
      await ask(this.life!, () => opened.ok.close());
    }
    this.after('readSnapshot', outcome);
  }

  private after(name: OperationName | 'openSnapshot', outcome: Outcome<unknown>): void {
    const { count, cluster } = this.load;
    if ('ok' in outcome) {
      count(`${name} done`);
      return;
    }
    this.device = undefined;
    if ('died' in outcome) {
      count(`${name}: gateway died`);
      return;
    }
    const error = AppError.from(outcome.error);
    count(`${name}: error ${error.code}`);
    const { toleratedErrors, toleratedControlErrors } = cluster.kind;
    const isControl = name === 'snapshot' || name === 'openSnapshot';
    if ((isControl ? toleratedControlErrors : toleratedErrors).includes(error.code)) return;
    const what = `${this.name}: ${name} failed on a living gateway (${error.code}: ${error.message})`;
    throw new ModelViolation(what, { cause: outcome.error });
  }

  /** The device of the present gateway, opened anew when that has died. Undefined: the run is at its end. */
  private async open(): Promise<BlockDevice | undefined> {
    while (!this.device || this.life?.clock.dead) {
      if (this.load.stopping) return undefined;
      this.device = undefined;
      this.chooseGateway();
      const life = this.load.cluster.machines[this.gateway]!.life;
      const outcome = life?.node ? await ask(life, (node) => node.openDevice(VOLUME)) : undefined;
      if (outcome && 'ok' in outcome) {
        this.life = life;
        this.device = outcome.ok;
        this.load.count('open');
      } else {
        if (outcome && 'error' in outcome)
          this.load.count(`open: error ${AppError.from(outcome.error).code}`);
        await sleep(this.load.cluster.clock, REOPEN_PAUSE_MS);
      }
    }
    return this.device;
  }

  private chooseGateway(): void {
    const { gateways, loyalty } = this.load.config;
    if (!this.random.chance(loyalty)) this.gateway = this.random.pick(gateways);
  }

  private pickOperation(): OperationName {
    const { weights } = this.load.config;
    let total = 0;
    for (const name of operationNames) total += weights[name];
    let at = (this.random.below(1_000_000) / 1_000_000) * total;
    for (const name of operationNames) if ((at -= weights[name]) < 0) return name;
    return 'read';
  }

  /** Bytes, multiples of a sector: aligned to blocks or not, over the border of two objects now and then. */
  private range(): { offset: number; length: number } {
    const { random } = this;
    const { volumeBytes, hotChance, largestBytes, objectShift } = this.load.config;
    const unit = random.chance(0.6) ? 4096 : SECTOR_BYTES;
    const longest = random.chance(0.7) ? Math.min(largestBytes, 16_384) : largestBytes;
    const length = unit * (1 + random.below(Math.max(1, longest / unit)));
    // The hot range lies across the border of the first two objects when there are two.
    const hotStart = volumeBytes > 1 << objectShift ? (1 << objectShift) - HOT_BYTES / 2 : 0;
    const hot = random.chance(hotChance);
    const base = hot ? hotStart : 0;
    const span = Math.max(unit, (hot ? HOT_BYTES : volumeBytes) - length);
    const offset = Math.min(base + unit * random.below(Math.ceil(span / unit) + 1), volumeBytes - length);
    return { offset, length };
  }
}

const NO_BYTES = new Uint8Array(0);

function describeOutcome(outcome: Outcome<unknown>): string {
  if ('ok' in outcome) return 'done';
  return 'died' in outcome ? 'gateway died' : `error ${String(outcome.error)}`;
}
