import type { Clock, Timer } from '../../base/clock.js';
import { AppError } from '../../base/errors.js';
import type { Logger } from '../../base/log.js';
import { formatOid } from '../../wire/oid.js';
import type { ObjectAddress } from '../epochs/address.js';
import type { ObjectCheck } from '../objects/checker.js';
import { pauseAfter, type ScrubLimits, scrubRate } from './scrub-pace.js';
import {
  beginPass,
  endPass,
  freshRecord,
  nextStep,
  passed,
  type ScrubCounts,
  type ScrubRecord,
  type ScrubSetting,
  withoutUnrepairable,
  withUnrepairable,
} from './scrub-record.js';

/** Counted as read where nothing was: one question to the primary. */
const INQUIRY_BYTES = 16 * 1024;
const BUSY_LOOK_MS = 20;

/** What this node has to do with an object that it stores. */
export type ScrubRole = 'primary' | 'replica' | 'none' | 'stray';

/** The cluster, as a scrub needs it. Checks reject with AppError 'again' when another node has become the primary. */
export interface ScrubTarget {
  stored(): AsyncIterable<bigint>;
  storedBytes(): number;
  /** Undefined address, a stray: no volume has this object, and it has been removed here. */
  roleOf(oid: bigint): Promise<{ role: ScrubRole; address: ObjectAddress | undefined }>;
  /** Compares and repairs, as the primary. */
  check(address: ObjectAddress): Promise<ObjectCheck>;
  /**
   * As another replica: an object that its primary has lost is in no list of the primary. Undefined when the primary
   * has it, or nobody refers to it.
   */
  restoreAtPrimary(address: ObjectAddress): Promise<ObjectCheck | undefined>;
  /** The cluster is whole, so that there is nothing better to do. */
  mayScrub(): boolean;
  /** Requests of clients are under way here. */
  busy(): boolean;
}

export interface ScrubberOptions {
  readonly target: ScrubTarget;
  readonly clock: Clock;
  readonly log: Logger;
  readonly formatId: string;
  readonly limits: ScrubLimits;
  /** Time that is taken to have passed for a node that has never scrubbed. */
  readonly firstElapsedMs: number;
  readonly setting: () => ScrubSetting;
  readonly load: () => Promise<ScrubRecord | undefined>;
  readonly save: (record: ScrubRecord) => Promise<void>;
  /** Where an object belongs, for people. */
  readonly describe: (oid: bigint, blocks: readonly number[]) => string;
}

/** For metrics: since the process started. */
export interface ScrubTotals {
  objects: number;
  bytes: number;
  found: number;
  repaired: number;
  strays: number;
}

/**
 * Background scrubbing of one node (I-7): it walks the objects of its own store, compares all replicas of those it is
 * the primary of, and asks the primary of the others whether it has them. One object at a time.
 */
export class Scrubber {
  readonly totals: ScrubTotals = { objects: 0, bytes: 0, found: 0, repaired: 0, strays: 0 };
  private record: ScrubRecord;
  private stopped = false;
  private savedAtMs = 0;
  private countedAtMs: number;
  private timer: Timer | undefined;
  private wake: (() => void) | undefined;

  constructor(private readonly options: ScrubberOptions) {
    this.record = freshRecord(options.formatId, options.firstElapsedMs);
    this.countedAtMs = options.clock.nowMs();
  }

  /** How far it is; for people. */
  get state(): ScrubRecord {
    return this.record;
  }

  start(): void {
    void this.run();
  }

  stop(): void {
    this.stopped = true;
    this.nudge();
  }

  /** The setting has changed. */
  nudge(): void {
    this.timer?.cancel();
    this.wake?.();
  }

  private async run(): Promise<void> {
    const { options } = this;
    while (!this.stopped && !(await this.loaded())) await this.pause(options.limits.pollMs);
    while (!this.stopped) {
      this.countTime();
      const setting = options.setting();
      const step = options.target.mayScrub() ? nextStep(this.record, setting, this.periodMs) : 'wait';
      if (step === 'begin')
        this.record = beginPass(this.record, setting.round, this.record.round < setting.round);
      try {
        if (step !== 'wait') await this.pass();
      } catch (error) {
        options.log.warn({ err: AppError.from(error).message }, 'scrubbing was interrupted, going on later');
      }
      await this.saveIfDue();
      if (!this.stopped) await this.pause(options.limits.pollMs);
    }
  }

  private async loaded(): Promise<boolean> {
    try {
      const found = await this.options.load();
      if (found !== undefined) this.record = found;
      return true;
    } catch (error) {
      if (!AppError.isCode(error, 'network', 'again')) throw error;
      return false;
    }
  }

  private get periodMs(): number {
    return this.options.setting().periodMs ?? this.options.limits.periodMs;
  }

  /** From where the record says on, until all objects are done or something stands in the way. */
  private async pass(): Promise<void> {
    const { log, clock, target } = this.options;
    const { counts, trail, passes, round } = this.record;
    if (counts.objects === 0) log.info({ pass: passes, round }, 'a scrub begins');
    await this.save();
    const from = new Set(trail);
    let skipping = from.size > 0;
    for await (const oid of target.stored()) {
      if (skipping) {
        skipping = !from.has(formatOid(oid));
        continue;
      }
      if (!this.mayGoOn()) return;
      const { bytes, tookMs } = await this.one(oid);
      await this.saveIfDue();
      await this.rest(bytes, tookMs);
    }
    this.countTime();
    // None of the objects it went on from is there any more: from the beginning.
    this.record = skipping ? { ...this.record, trail: [] } : endPass(this.record, clock.wallMs());
    if (!skipping)
      log.info({ ...this.record.last, unrepairable: this.record.unrepairableCount }, 'a scrub is done');
    await this.save();
  }

  private async one(oid: bigint): Promise<{ bytes: number; tookMs: number }> {
    const { clock, log } = this.options;
    let startMs = clock.nowMs();
    let counts: Partial<ScrubCounts>;
    try {
      counts = await this.lookAt(oid, () => {
        startMs = clock.nowMs();
      });
    } catch (error) {
      // Nothing to repair from what is only elsewhere now.
      const moved = AppError.isCode(error, 'again', 'shutdown', 'no-object');
      if (!moved) log.warn({ oid: formatOid(oid), err: AppError.from(error).message }, 'not scrubbed');
      counts = moved ? {} : { failed: 1 };
    }
    this.record = passed(this.record, formatOid(oid), counts);
    const { bytes = INQUIRY_BYTES } = counts;
    for (const key of Object.keys(this.totals) as (keyof ScrubTotals)[]) this.totals[key] += counts[key] ?? 0;
    return { bytes, tookMs: clock.nowMs() - startMs };
  }

  /** `begins`: called when waiting for others is over. */
  private async lookAt(oid: bigint, begins: () => void): Promise<Partial<ScrubCounts>> {
    const { target } = this.options;
    const { role, address } = await target.roleOf(oid);
    if (role === 'stray') return { strays: 1 };
    if (address === undefined || role === 'none') return {};
    if (role === 'primary') {
      await this.untilIdle();
      begins();
      return this.judge(oid, await target.check(address));
    }
    const check = await target.restoreAtPrimary(address);
    return check === undefined ? {} : this.judge(oid, check);
  }

  private judge(oid: bigint, check: ObjectCheck): Partial<ScrubCounts> {
    const { log, describe } = this.options;
    const { outcome, unclearBlocks, checkedBytes: bytes } = check;
    const name = formatOid(oid);
    const replicas = check.replicas.filter(({ state }) => state !== 'good');
    switch (outcome) {
      case 'same':
        this.record = withoutUnrepairable(this.record, name);
        return { objects: 1, bytes };
      case 'repaired':
        this.record = withoutUnrepairable(this.record, name);
        log.warn({ oid: name, of: describe(oid, []), replicas }, 'a scrub has repaired an object');
        return { objects: 1, bytes, found: 1, repaired: 1 };
      case 'unclear':
      case 'lost':
        this.record = withUnrepairable(this.record, name, unclearBlocks);
        log.error(
          { oid: name, of: describe(oid, unclearBlocks), blocks: unclearBlocks.slice(0, 16), replicas },
          outcome === 'lost' ? 'no replica has this object' : 'no replica of these blocks is right',
        );
        return { objects: 1, bytes, found: 1 };
      default:
        return { objects: 1, bytes, found: 1, failed: 1 };
    }
  }

  /** Waits for a moment without requests, not for ever. */
  private async untilIdle(): Promise<void> {
    const { target, limits, clock } = this.options;
    const endMs = clock.nowMs() + limits.patienceMs;
    while (target.busy() && clock.nowMs() < endMs && !this.stopped) await this.pause(BUSY_LOOK_MS);
  }

  private mayGoOn(): boolean {
    const { target, setting } = this.options;
    if (this.stopped || !target.mayScrub()) return false;
    return nextStep(this.record, setting(), this.periodMs) === 'go-on';
  }

  private async rest(bytes: number, tookMs: number): Promise<void> {
    const { target, limits } = this.options;
    const bytesPerS = scrubRate(target.storedBytes(), this.periodMs, limits, this.record.hurry);
    const waitMs = pauseAfter({ bytes, tookMs, bytesPerS, busy: target.busy() });
    if (waitMs > 0) await this.pause(waitMs);
  }

  private async saveIfDue(): Promise<void> {
    if (this.options.clock.nowMs() - this.savedAtMs >= this.options.limits.saveMs) await this.save();
  }

  private async save(): Promise<void> {
    const { clock, log } = this.options;
    this.countTime();
    this.savedAtMs = clock.nowMs();
    try {
      await this.options.save(this.record);
    } catch (error) {
      log.debug({ err: AppError.from(error).message }, 'the state of the scrub was not saved');
    }
  }

  private countTime(): void {
    const nowMs = this.options.clock.nowMs();
    this.record = { ...this.record, elapsedMs: this.record.elapsedMs + (nowMs - this.countedAtMs) };
    this.countedAtMs = nowMs;
  }

  private pause(delayMs: number): Promise<void> {
    return new Promise((resolve) => {
      this.wake = resolve;
      this.timer = this.options.clock.after(delayMs, resolve);
    });
  }
}
