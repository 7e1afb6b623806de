/**
 * Simulated time. One SimClock is the world; each running node has a NodeClock of its own, through which all that
 * ever calls the node's code passes (timers, deliveries, completions of its disk and of its coordinator). Killing
 * the NodeClock is therefore enough to make sure that not one more line of that node runs; its pending promises
 * simply never settle. Freezing it is SIGSTOP: what was due meanwhile runs, in order, when it thaws.
 *
 * Between two events all promise jobs run to the end. The cheapest way on Node 20 that is also correct is a
 * process.nextTick asked for from inside a promise job: ticks run only when the queue of jobs is empty, and the
 * event loop (epoll) is not visited. It is visited every few thousand events, for the sake of IPC and of reports
 * of unhandled rejections.
 */
import type { Clock, Timer } from '../../src/base/clock.js';

/** 2026-01-01, so that records made in a simulation look like records. */
const WALL_START_MS = 1_767_225_600_000;
const EVENTS_PER_VISIT_OF_EVENT_LOOP = 4096;

interface SimEvent extends Timer {
  atMs: number;
  order: number;
  owner: NodeClock | undefined;
  run: (() => void) | undefined;
}

export interface RunOptions {
  /** Simulated time at which to stop. */
  untilMs: number;
  /** Asked after every event; true ends the run early. */
  stop?: () => boolean;
  /** A run of more events than this is an endless loop: rejects. */
  eventsMax?: number;
}

export class SimClock implements Clock {
  private heap: SimEvent[] = [];
  private timeMs = 0;
  private order = 0;
  /** Events executed so far. */
  events = 0;
  /** Changes with the time and the order of every event executed: equal hashes, equal runs. */
  traceHash = 0x811c9dc5;

  nowMs(): number {
    return this.timeMs;
  }

  wallMs(): number {
    return WALL_START_MS + Math.floor(this.timeMs);
  }

  after(delayMs: number, run: () => void): Timer {
    return this.schedule(this.timeMs + Math.max(0, delayMs), run, undefined);
  }

  defer(run: () => void): void {
    this.schedule(this.timeMs, run, undefined);
  }

  /** A clock for one life of one node. `rate` is its drift: 1.01 runs one percent fast. */
  forNode(name: string, rate = 1): NodeClock {
    return new NodeClock(this, name, rate);
  }

  /** Mixes what happened into the trace hash; strings in verbose traces, numbers on hot paths. */
  mix(value: number): void {
    this.traceHash = Math.imul(this.traceHash ^ (value | 0), 0x01000193);
  }

  /** Executes events until the time, the stop condition or the end of all events; then now = untilMs or earlier. */
  run(options: RunOptions): Promise<void> {
    const lastEvent = this.events + (options.eventsMax ?? Number.POSITIVE_INFINITY);
    return new Promise((resolve, reject) => {
      const step = (): void => {
        try {
          if (!this.step(options, lastEvent)) resolve();
          else if (this.events % EVENTS_PER_VISIT_OF_EVENT_LOOP === 0) setImmediate(step);
          else queueMicrotask(afterJobs);
        } catch (error) {
          reject(error);
        }
      };
      const afterJobs = (): void => process.nextTick(step);
      queueMicrotask(afterJobs);
    });
  }

  /** Executes one event; false: the run is over. */
  private step(options: RunOptions, lastEvent: number): boolean {
    if (options.stop?.()) return false;
    const event = this.pop(options.untilMs);
    if (!event) {
      this.timeMs = Math.max(this.timeMs, options.untilMs);
      return false;
    }
    if (this.events >= lastEvent)
      throw new Error(`no end after ${options.eventsMax} events: an endless loop`);
    this.execute(event);
    return true;
  }

  /** For NodeClock. */
  schedule(atMs: number, run: () => void, owner: NodeClock | undefined): SimEvent {
    const event: SimEvent = { atMs, order: this.order++, owner, run, cancel };
    this.push(event);
    return event;
  }

  /** For NodeClock: puts back events that were due while the node was frozen. */
  reschedule(event: SimEvent): void {
    event.atMs = this.timeMs;
    event.order = this.order++;
    this.push(event);
  }

  private execute(event: SimEvent): void {
    this.timeMs = Math.max(this.timeMs, event.atMs);
    this.events++;
    this.mix(event.order);
    this.mix(event.atMs * 1e6);
    const run = event.run!;
    event.run = undefined;
    run();
  }

  /** The next event that can run now; cancelled ones and those of the dead are dropped, of the frozen set aside. */
  private pop(untilMs: number): SimEvent | undefined {
    for (;;) {
      const event = this.heap[0];
      if (!event || event.atMs > untilMs) return undefined;
      this.removeFirst();
      if (!event.run || event.owner?.dead) continue;
      if (event.owner?.frozen) {
        event.owner.hold(event);
        continue;
      }
      return event;
    }
  }

  private push(event: SimEvent): void {
    const heap = this.heap;
    let i = heap.length;
    heap.push(event);
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (!before(event, heap[parent]!)) break;
      heap[i] = heap[parent]!;
      i = parent;
    }
    heap[i] = event;
  }

  private removeFirst(): void {
    const heap = this.heap;
    const last = heap.pop()!;
    if (heap.length === 0) return;
    let i = 0;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && before(heap[child + 1]!, heap[child]!)) child++;
      if (!before(heap[child]!, last)) break;
      heap[i] = heap[child]!;
      i = child;
    }
    heap[i] = last;
  }
}

/** The clock of one life of one node. */
export class NodeClock implements Clock {
  dead = false;
  frozen = false;
  private held: SimEvent[] = [];
  private deathListeners = new Set<() => void>();

  constructor(
    readonly world: SimClock,
    readonly name: string,
    private readonly rate: number,
  ) {}

  nowMs(): number {
    return this.world.nowMs() * this.rate;
  }

  wallMs(): number {
    return this.world.wallMs();
  }

  after(delayMs: number, run: () => void): Timer {
    if (this.dead) return deadTimer;
    return this.world.schedule(this.world.nowMs() + Math.max(0, delayMs) / this.rate, run, this);
  }

  defer(run: () => void): void {
    if (!this.dead) this.world.schedule(this.world.nowMs(), run, this);
  }

  /** Nothing of this node runs any more. Listeners (the world outside) hear of it at once. */
  kill(): void {
    if (this.dead) return;
    this.dead = true;
    this.held = [];
    const listeners = [...this.deathListeners];
    this.deathListeners.clear();
    for (const listener of listeners) listener();
  }

  /** Returns the function that stops listening. */
  onDeath(listener: () => void): () => void {
    this.deathListeners.add(listener);
    return () => this.deathListeners.delete(listener);
  }

  freeze(): void {
    this.frozen = true;
  }

  thaw(): void {
    this.frozen = false;
    const held = this.held;
    this.held = [];
    for (const event of held) if (event.run) this.world.reschedule(event);
  }

  /** For SimClock. */
  hold(event: SimEvent): void {
    this.held.push(event);
  }
}

function before(a: SimEvent, b: SimEvent): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
}

function cancel(this: SimEvent): void {
  this.run = undefined;
}

const deadTimer: Timer = { cancel: () => {} };
