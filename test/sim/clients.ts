/**
 * The load: clients that each do one operation at a time on a BlockDevice of some node's gateway, tell the model of
 * calls and answers, and open the volume again, there or elsewhere, when their gateway has died.
 */

import { sleep } from '../../src/base/clock.js';
import { AppError } from '../../src/base/errors.js';
import type { SeededRandom } from '../../src/base/random.js';
import type { BlockDevice } from '../../src/volume/device.js';
import { ask, type Life, type Outcome } from '../helpers/sim-cluster.js';
import { describeOutcome, type Load } from './load.js';
import { ModelViolation } from './model.js';
import { SECTOR_BYTES } from './pattern.js';
import type { Volume } from './shelf.js';
import { Reads } from './sparse-read.js';
import { isVolumeOperation, type OperationName, operationNames } from './swarm-config.js';
import { VolumeOperations } from './volume-operations.js';

const HOT_BYTES = 64 * 1024;
const REOPEN_PAUSE_MS = 50;
/** With what an operation may fail when its volume was deleted meanwhile. */
const GONE_CODES = ['no-vdi', 'no-tag', 'read-only', 'missing'];

export class Client {
  /** What it waits for, for the report when it never comes. */
  doing = 'nothing';
  done = false;
  private life: Life | undefined;
  private device: BlockDevice | undefined;
  private volume: Volume | undefined;
  private gateway: number;
  private readonly volumeOperations: VolumeOperations;
  private readonly reads: Reads;

  constructor(
    readonly name: string,
    private readonly load: Load,
    private readonly random: SeededRandom,
  ) {
    this.gateway = random.pick(load.config.gateways);
    this.reads = new Reads(load.config.sparseEvery);
    this.volumeOperations = new VolumeOperations(name, load, random);
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
    this.doing = `opening a volume for ${name}`;
    const device = await this.open();
    if (!device) return;
    this.doing = `${name} on ${this.life!.machine.name}`;
    this.load.onCall();
    await this.execute(name, device, this.volume!);
    this.doing = 'nothing';
  }

  private async execute(name: OperationName, device: BlockDevice, volume: Volume): Promise<void> {
    if (isVolumeOperation(name)) {
      if (!(await this.volumeOperations.run(name, this.life!, volume))) this.device = undefined;
    } else if (name === 'read') await this.read(device, volume);
    else if (name === 'flush') await this.flush(device, volume);
    else await this.write(name, device, volume);
  }

  private async write(name: 'write' | 'zero' | 'discard', device: BlockDevice, volume: Volume) {
    const { inFlight, cluster } = this.load;
    const { model } = volume;
    const { offset, length } = this.range(device, volume);
    const fua = this.random.chance(this.load.config.fuaChance);
    const { op, data } = model.startWrite(offset, length, { zero: name !== 'write', fua, by: this.name });
    const mayUnmap = this.random.chance(0.5);
    inFlight.add(op);
    const life = this.life!;
    const what = `${this.name} ${name} ${op.id} ${volume.name} ${offset}+${length}`;
    cluster.trace(`${what}${fua ? ' fua' : ''} on ${life.machine.name}`);
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
    } else if ('died' in outcome) this.load.died(op, model, life);
    // A refusal is an outcome (I-8): it has happened or never will.
    else model.failedWrite(op, String(outcome.error));
    this.after(name, volume, outcome, offset + length);
  }

  private async read(device: BlockDevice, volume: Volume): Promise<void> {
    const { cluster } = this.load;
    const { model } = volume;
    const { offset, length } = this.range(device, volume);
    const op = model.startRead(offset, length, this.name);
    cluster.trace(`${this.name} read ${volume.name} ${offset}+${length} on ${this.life!.machine.name}`);
    const outcome = await ask(this.life!, () => this.reads.read(device, offset, length));
    if ('ok' in outcome && !volume.gone) {
      model.endRead(op, outcome.ok);
      // The buffer is ours now: if it is somebody's cache as well, that will show.
      outcome.ok.fill(0xdd);
    }
    this.after('read', volume, outcome, offset + length);
  }

  private async flush(device: BlockDevice, volume: Volume): Promise<void> {
    const op = volume.model.startFlush();
    const outcome = await ask(this.life!, () => device.flush());
    this.load.cluster.trace(`${this.name} flush ${volume.name}: ${describeOutcome(outcome)}`);
    if ('ok' in outcome) volume.model.endFlush(op);
    this.after('flush', volume, outcome);
  }

  private after(name: OperationName, volume: Volume, outcome: Outcome<unknown>, endBytes = 0): void {
    const { count, cluster, tolerates } = this.load;
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
    if (cluster.kind.toleratedErrors.includes(error.code) || tolerates(error.code)) return;
    if (volume.gone && GONE_CODES.includes(error.code)) return;
    // It went back to a snapshot of a time when it was smaller.
    if (error.code === 'invalid' && endBytes > volume.model.sizeBytes) return;
    const what = `${this.name}: ${name} failed on a living gateway (${error.code}: ${error.message})`;
    throw new ModelViolation(what, { cause: outcome.error });
  }

  /** The device of the present gateway, opened anew when that has died. Undefined: the run is at its end. */
  private async open(): Promise<BlockDevice | undefined> {
    const { cluster, shelf, count } = this.load;
    if (this.device && (this.volume!.gone || (shelf.volumes.length > 1 && this.random.chance(0.15))))
      await this.close();
    while (!this.device || this.life?.clock.dead) {
      if (this.load.stopping) return undefined;
      this.device = undefined;
      this.chooseGateway();
      const { life } = cluster.machines[this.gateway]!;
      const volume = shelf.pick(this.random)!;
      const outcome = life?.node ? await ask(life, (node) => node.openDevice(volume.name)) : undefined;
      if (outcome && 'ok' in outcome && !volume.gone) {
        this.life = life;
        this.device = outcome.ok;
        this.volume = volume;
        count('open');
      } else {
        if (outcome && 'error' in outcome) count(`open: error ${AppError.from(outcome.error).code}`);
        await sleep(cluster.clock, REOPEN_PAUSE_MS);
      }
    }
    return this.device;
  }

  private async close(): Promise<void> {
    const { device } = this;
    this.device = undefined;
    await ask(this.life!, () => device!.close());
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
  private range(device: BlockDevice, volume: Volume): { offset: number; length: number } {
    const { random } = this;
    const { hotChance, largestBytes, objectShift } = this.load.config;
    // A door checks what it is asked against the size it knows, which may be that of before a resize.
    const sizeBytes = Math.min(volume.model.sizeBytes, device.info().sizeBytes);
    const unit = random.chance(0.6) ? 4096 : SECTOR_BYTES;
    const longest = random.chance(0.7) ? Math.min(largestBytes, 16_384) : largestBytes;
    const length = unit * (1 + random.below(Math.max(1, longest / unit)));
    // The hot range lies across the border of the first two objects when there are two.
    const hotStart = sizeBytes > 1 << objectShift ? (1 << objectShift) - HOT_BYTES / 2 : 0;
    const hot = random.chance(hotChance);
    const base = hot ? hotStart : 0;
    const span = Math.max(unit, (hot ? HOT_BYTES : sizeBytes) - length);
    const offset = Math.min(base + unit * random.below(Math.ceil(span / unit) + 1), sizeBytes - length);
    return { offset, length };
  }
}
