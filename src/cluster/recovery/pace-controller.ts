/**
 * How many bytes a second a node spends on recovery (D-7): pure decisions from what clients suffer.
 *
 * Without clients there is no limit. With them the rate goes up steadily while their operations take no longer than
 * the limit, and down by a factor when they do, as a sender does on a network that others use too. The limit is a
 * multiple of what operations take undisturbed. That is measured, not remembered from better days: every now and then
 * recovery stands back for a moment, because the load of the clients changes too.
 */
export interface PaceLimits {
  /** So much is spent whatever clients suffer: a recovery that never ends is the greater danger. */
  readonly floorBytesPerS: number;
  /** Rate to begin with when there are clients. */
  readonly startBytesPerS: number;
  /** Latency that is nobody's concern. */
  readonly fineMs: number;
  /** Recovery may make operations so many times slower. */
  readonly factor: number;
  /** Rise of the rate in each second in which all is well. */
  readonly riseBytesPerS: number;
  /** Between two measurements of the undisturbed latency. */
  readonly measureEveryMs: number;
  /** Clients count as gone after so long without an operation. */
  readonly goneMs: number;
  /** Fewer operations than this in a sample are no load, unless they take longer than `idleMs`. */
  readonly loadOperations: number;
  readonly idleMs: number;
}

const MIB = 1024 * 1024;

export const defaultPaceLimits: PaceLimits = {
  floorBytesPerS: 4 * MIB,
  startBytesPerS: 16 * MIB,
  fineMs: 2,
  factor: 2,
  riseBytesPerS: 12 * MIB,
  measureEveryMs: 15_000,
  goneMs: 1000,
  loadOperations: 10,
  idleMs: 20,
};

/** What happened since the last sample. */
export interface PaceSample {
  readonly elapsedMs: number;
  /** Operations of clients that ended, and how long they took (a high quantile). */
  readonly operations: number;
  readonly latencyMs: number;
  /** What recovery spent. */
  readonly bytes: number;
}

/** Never less than this of the rate at one step, however bad it is: the answer to a step comes late. */
const DROP_MIN = 0.5;
const DROP_MAX = 0.9;
/** A rate that is not used says nothing about whether more would be all right. */
const USED_MIN = 0.6;
/** Weight of a new measurement. */
const NEWEST = 0.5;
/** What was begun before recovery stood back is over by then; and samples that a drop is given to show its effect. */
const SETTLE_MS = 300;
const DROP_SAMPLES = 3;

export class PaceController {
  /** Bytes a second; Infinity: no limit. */
  rateBytesPerS: number;
  /** 90 of 100 operations of clients take so long undisturbed; undefined: not known yet. */
  baselineMs: number | undefined;
  private phase: 'settle' | 'measure' | 'run' = 'settle';
  private wantedBytesPerS: number;
  private sinceMeasuredMs = 0;
  private settledMs = 0;
  private quietMs = 0;
  /** Samples that still show work from before the last drop. */
  private late = 0;

  constructor(private readonly limits: PaceLimits = defaultPaceLimits) {
    // Whether there are clients is not known yet: the first moment is spent with looking.
    this.rateBytesPerS = limits.floorBytesPerS;
    this.wantedBytesPerS = limits.startBytesPerS;
  }

  get limitMs(): number {
    return Math.max(this.limits.fineMs, this.limits.factor * (this.baselineMs ?? 0));
  }

  step(sample: PaceSample): void {
    const { rateBytesPerS, limits } = this;
    this.quietMs = sample.operations === 0 ? this.quietMs + sample.elapsedMs : 0;
    if (rateBytesPerS === Number.POSITIVE_INFINITY) {
      const isLoad = sample.operations >= limits.loadOperations || sample.latencyMs > limits.idleMs;
      if (isLoad) this.meetClients(sample);
      return;
    }
    if (sample.operations === 0) {
      // At the first look nothing speaks for clients that are silent just now.
      if (this.baselineMs === undefined || this.quietMs >= limits.goneMs) this.alone();
      return;
    }
    this.sinceMeasuredMs += sample.elapsedMs;
    if (this.phase === 'settle') this.settle(sample.elapsedMs);
    else if (this.phase === 'measure') this.noteBaseline(sample.latencyMs);
    else if (this.sinceMeasuredMs >= this.limits.measureEveryMs) this.measureSoon();
    else this.adapt(sample);
  }

  /** Forgets what it knows: another recovery, at another time. */
  reset(): void {
    this.phase = 'settle';
    this.settledMs = 0;
    this.baselineMs = undefined;
    this.wantedBytesPerS = this.limits.startBytesPerS;
    this.rateBytesPerS = this.limits.floorBytesPerS;
  }

  private alone(): void {
    this.rateBytesPerS = Number.POSITIVE_INFINITY;
  }

  private meetClients({ bytes, elapsedMs }: PaceSample): void {
    const { floorBytesPerS, startBytesPerS } = this.limits;
    const atFullSpeed = elapsedMs > 0 ? (bytes * 1000) / elapsedMs : 0;
    this.wantedBytesPerS = Math.max(floorBytesPerS, startBytesPerS, atFullSpeed * DROP_MIN);
    this.measureSoon();
  }

  private settle(elapsedMs: number): void {
    this.settledMs += elapsedMs;
    if (this.settledMs >= SETTLE_MS) this.phase = 'measure';
  }

  private measureSoon(): void {
    this.phase = 'settle';
    this.settledMs = 0;
    this.rateBytesPerS = this.limits.floorBytesPerS;
  }

  private noteBaseline(latencyMs: number): void {
    const { baselineMs } = this;
    this.baselineMs = baselineMs === undefined ? latencyMs : baselineMs + NEWEST * (latencyMs - baselineMs);
    this.phase = 'run';
    this.sinceMeasuredMs = 0;
    this.rateBytesPerS = this.wantedBytesPerS;
  }

  private adapt({ latencyMs, bytes, elapsedMs }: PaceSample): void {
    const { floorBytesPerS, riseBytesPerS } = this.limits;
    const { limitMs, wantedBytesPerS } = this;
    if (latencyMs > limitMs) {
      const factor = Math.min(DROP_MAX, Math.max(DROP_MIN, limitMs / latencyMs));
      if (this.late === 0) this.wantedBytesPerS = Math.max(floorBytesPerS, wantedBytesPerS * factor);
      this.late = (this.late + 1) % DROP_SAMPLES;
    } else {
      this.late = 0;
      const used = (bytes * 1000) / elapsedMs >= USED_MIN * wantedBytesPerS;
      // Slower the nearer it comes to the limit.
      const room = Math.min(1, 2 * (1 - latencyMs / limitMs));
      if (used) this.wantedBytesPerS += (room * riseBytesPerS * elapsedMs) / 1000;
    }
    this.rateBytesPerS = this.wantedBytesPerS;
  }
}
